"""From a finished run to a folder: a bundle, with all that answering needs, or its weights."""

from genrec.export.export import export_bundle
from genrec.export.huggingface import export_huggingface
from genrec.export.parameters import export_parameters

__all__ = ["export_bundle", "export_huggingface", "export_parameters"]
