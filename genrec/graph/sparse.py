"""Sparse matrices of weights from item to item, a row for each item that an edge leaves."""

import numpy as np
import scipy.sparse as sp


def strongest(matrix: sp.csr_array, most: int) -> sp.csr_array:
    """The matrix with the `most` largest entries of each row alone, of equal ones the first."""
    row, column, weight = entries(matrix)
    kept = np.sort(by_weight(row, column, weight)[rank_in_run(row) < most])
    return sp.csr_array((weight[kept], (row[kept], column[kept])), shape=matrix.shape)


def with_top_of_one(matrix: sp.csr_array) -> sp.csr_array:
    """float32: each row of positive entries divided by its largest."""
    degrees = np.diff(matrix.indptr)
    tops = np.maximum.reduceat(matrix.data, matrix.indptr[:-1][degrees > 0])
    data = (matrix.data / np.repeat(tops, degrees[degrees > 0])).astype(np.float32)
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def without_diagonal(matrix: sp.csr_array, first: int) -> sp.csr_array:
    """The rows from item `first` on, without the edges from an item to itself."""
    row, column, weight = entries(matrix)
    kept = row + first != column
    return sp.csr_array((weight[kept], (row[kept], column[kept])), shape=matrix.shape)


def entries(matrix: sp.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 rows and columns, in ascending order, and the weights there."""
    matrix.sort_indices()
    row = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
    return row, np.asarray(matrix.indices, np.int64), np.asarray(matrix.data)


def by_weight(row: np.ndarray, column: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """int64: the order row by row, the largest weight first, of equal ones the first column."""
    return np.lexsort((column, np.negative(weight), row))


def rank_in_run(ordered: np.ndarray) -> np.ndarray:
    """int64: for each entry of an ascending array, how many equal ones precede it."""
    return np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
