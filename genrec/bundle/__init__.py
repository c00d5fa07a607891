"""A bundle in use and in change, wherever there are JAX, NumPy and Faiss."""

from genrec.bundle.bundle import Bundle, load_bundle
from genrec.bundle.catalog_updates import add_items, allow_items, remove_items

__all__ = ["Bundle", "add_items", "allow_items", "load_bundle", "remove_items"]
