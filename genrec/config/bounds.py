"""Bounds of a setting, which stand in its type: `Annotated[int, Bounds(least=1)]`."""

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from genrec.errors import UserError


@dataclass(frozen=True)
class Bounds:
    """Between which numbers a setting must lie; of a list, each of its numbers."""

    least: int | float = -math.inf
    most: int | float = math.inf
    above: int | float = -math.inf
    below: int | float = math.inf

    def hold(self, value: int | float) -> bool:
        return self.least <= value <= self.most and self.above < value < self.below

    def __str__(self) -> str:
        sides = {
            "at least": self.least,
            "above": self.above,
            "at most": self.most,
            "below": self.below,
        }
        return " and ".join(f"{side} {n}" for side, n in sides.items() if math.isfinite(n))


Count = Annotated[int, Bounds(least=1)]
Positive = Annotated[float, Bounds(above=0)]
NotNegative = Annotated[float, Bounds(least=0)]
Share = Annotated[float, Bounds(least=0, most=1)]
ShareBelowOne = Annotated[float, Bounds(least=0, below=1)]


def bounds_of(kind: Any) -> Bounds | None:
    """The bounds in a type, with its extras: of a number, or of one in an optional or a tuple."""
    for part in typing.get_args(kind):
        bounds = part if isinstance(part, Bounds) else bounds_of(part)
        if bounds is not None:
            return bounds
    return None


def check_bounds(section: Any, prefix: str = "") -> None:
    """Raises UserError if a setting of a section, or of one in it, lies outside of its bounds."""
    for name, kind in typing.get_type_hints(type(section), include_extras=True).items():
        value, bounds, name = getattr(section, name), bounds_of(kind), f"{prefix}{name}"
        numbers = {}
        if dataclasses.is_dataclass(value):
            check_bounds(value, f"{name}.")
        elif isinstance(value, tuple):
            numbers = {f"{name}[{n}]": number for n, number in enumerate(value)}
        elif value is not None:
            numbers = {name: value}
        for name, number in numbers.items():
            if bounds is not None and not bounds.hold(number):
                raise UserError(f"{name} must be {bounds}, but is {number}")
