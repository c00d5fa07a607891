"""Detecting collapsed levels of a tokenizer: those that use hardly any of their codes."""

from collections.abc import Sequence

from genrec.errors import UserError

_NEGLIGIBLE = 0.01
"""A level whose input has a smaller share of the vectors' energy cannot collapse."""


def collapsed(
    used: Sequence[float],
    codebook_sizes: Sequence[int],
    energy: Sequence[float],
    distinct: int,
    threshold: float,
) -> list[int]:
    """The levels that use less than a share `threshold` of the codes that they could use.

    A level can use at most as many codes as there are distinct vectors. It has not collapsed if the
    levels before it have left hardly anything to quantize.

    Args:
        used: for each level, the share of its codes in use.
        energy: for each level, the mean square of the residuals before it, relative to the vectors.
        distinct: the number of distinct vectors.
        threshold: in 0…1.
    """
    return [
        level
        for level, size in enumerate(codebook_sizes)
        if used[level] * size < threshold * min(size, distinct)
        and (level == 0 or energy[level] > _NEGLIGIBLE)
    ]


def collapse_error(level: int, used: float, codebook_sizes: Sequence[int], when: str) -> UserError:
    """The error for a level that has collapsed; `when` is such as "in the end"."""
    size = codebook_sizes[level]
    return UserError(
        f"the tokenizer collapsed: {when} level {level} uses {round(used * size)} of {size} codes: "
        "lower tokenizer.learning_rate or tokenizer.codebook_sizes (tokenizer.collapse is the "
        "share that is tolerated)"
    )
