"""What became of a catalogue."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What became of a catalogue.

    Attributes:
        items: how many may be recommended now.
        added: how many came.
        known: how many were named that are in the catalogue already; they stay as they are.
        returned: how many of these had been removed, and are back with the codes they had.
        removed: how many went.
        drift: how well the codebooks fit what came after the training, for people; None where no
            item has come.
    """

    items: int
    added: int = 0
    known: int = 0
    returned: int = 0
    removed: int = 0
    drift: str | None = None
