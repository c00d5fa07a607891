"""When a level of a tokenizer has collapsed: it uses hardly any of its codes."""

from collections.abc import Sequence

from genrec.errors import UserError

_NOTHING_LEFT = 0.01
"""Share of the vectors' energy below which a level's input holds nothing worth telling apart."""


def collapsed(
    used: Sequence[float],
    codebook_sizes: Sequence[int],
    energy: Sequence[float],
    distinct: int,
    threshold: float,
) -> list[int]:
    """The levels that use less than a share `threshold` of the codes that they could use.

    A level is not blamed for codes that the data cannot fill, nor for having nothing to do because
    the levels before it caught everything.

    Args:
        used: for each level, the share of its codes in use.
        codebook_sizes: K_l for each of the L levels.
        energy: for each level, what was left over before it as a share of all.
        distinct: how many different vectors there are.
        threshold: in 0…1.
    """
    return [
        level
        for level, size in enumerate(codebook_sizes)
        if used[level] * size < threshold * min(size, distinct)
        and (level == 0 or energy[level] > _NOTHING_LEFT)
    ]


def collapse_error(level: int, used: float, codebook_sizes: Sequence[int], when: str) -> UserError:
    """What to say of a level that collapsed."""
    size = codebook_sizes[level]
    return UserError(
        f"the tokenizer collapsed: {when} level {level} uses {round(used * size)} of {size} codes: "
        "lower tokenizer.learning_rate or tokenizer.codebook_sizes (tokenizer.collapse is the "
        "share that is tolerated)"
    )
