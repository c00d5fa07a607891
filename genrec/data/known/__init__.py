"""Known data sets by name: fetched from their official addresses, or from files brought by hand."""

from genrec.data.known.sources import check_name, data_source, dataset_names, known_source

__all__ = ["check_name", "data_source", "dataset_names", "known_source"]
