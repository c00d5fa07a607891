"""Known data sets by name: fetched from their official addresses, or from files brought by hand."""

from genrec.datasets.known import check_name, dataset_names, known_source

__all__ = ["check_name", "dataset_names", "known_source"]
