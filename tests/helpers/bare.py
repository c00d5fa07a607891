"""A process in which nothing but a bundle's own needs can be imported."""

BLOCKER = """
import sys
from importlib.machinery import PathFinder
allowed = {"genrec", "jax", "jaxlib", "numpy", "faiss", "ml_dtypes", "opt_einsum", "scipy",
           "flatbuffers", "packaging"}
class Finder:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path)
        installed = spec and spec.origin and "site-packages" in spec.origin
        if installed and name.split(".")[0] not in allowed:
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
import genrec
"""
