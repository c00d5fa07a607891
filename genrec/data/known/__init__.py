"""Known data sets by name: fetched from their official addresses, or from files brought by hand."""

from genrec.data.known.sources import data_source, dataset_names, known_source

__all__ = ["data_source", "dataset_names", "known_source"]
