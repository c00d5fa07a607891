"""Interactions and items: read, cleaned, ordered and split."""

from genrec.data.catalogue import read_new_items
from genrec.data.dataset import Dataset, HeldOut, load_dataset
from genrec.data.histories import Histories, hash_user_ids
from genrec.data.names import ItemNames
from genrec.data.prepare import Published, Source, prepare
from genrec.data.report import counts_table, steps_table

__all__ = [
    "Dataset",
    "HeldOut",
    "Histories",
    "ItemNames",
    "Published",
    "Source",
    "counts_table",
    "hash_user_ids",
    "load_dataset",
    "prepare",
    "read_new_items",
    "steps_table",
]
