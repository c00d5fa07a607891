"""From a finished run to a bundle: a folder with all that answering needs, and nothing else."""

from genrec.export.export import export_bundle

__all__ = ["export_bundle"]
