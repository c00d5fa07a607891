"""Interactions and items: read, cleaned, ordered and split."""

from genrec.data.catalogue import read_new_items
from genrec.data.dataset import Dataset, HeldOut, load_dataset
from genrec.data.prepare import Published, Source, prepare
from genrec.data.report import counts_table, steps_table

__all__ = [
    "Dataset",
    "HeldOut",
    "Published",
    "Source",
    "counts_table",
    "load_dataset",
    "prepare",
    "read_new_items",
    "steps_table",
]
