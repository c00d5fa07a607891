"""Line charts as inline SVG: they need no script, print as vectors, and take the page's colours.

Everything is drawn with classes and no colour of its own, so that the style sheet decides what is
light or dark. Each chart comes with its figures as a table, for those who cannot see it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from genrec.report.page import environment

Number = int | float

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 384, 10, 186
_FRAME = {"width": 400, "height": 230, "left": _LEFT, "right": _RIGHT, "bottom": _BOTTOM}
_MOST_POINTS = 240
"""Of a line; more could not be told apart."""
_MOST_ROWS = 16
"""Of a table beside a chart."""
_LEAST_RANGE = 1e-300
"""A smaller one counts as none: a quarter of it may be 0."""


@dataclass(frozen=True)
class Series:
    """One line: points in the order of x.

    Attributes:
        dots: whether every point is marked, and shows its figures when it is pointed at.
        colour: number of its colour; None for its number among the chart's lines.
    """

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    dots: bool = False
    colour: int | None = None


@dataclass(frozen=True)
class Chart:
    """A drawing, and what it shows as text: number of the colour and name of each line, a table of
    some of the points, and a remark to stand below it."""

    title: str
    svg: Markup
    legend: list[tuple[int, str]]
    header: list[str]
    rows: list[list[str]]
    note: str


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x: str,
    form: str = ".3g",
    zero: bool = False,
    note: str = "",
) -> Chart:
    """A chart of one or several lines over a common axis.

    Args:
        title: what it shows; unique on the page.
        series: at least one, with at least one point each.
        x: name of the horizontal axis.
        form: format of the figures.
        zero: whether the vertical axis reaches to 0, whatever the figures.
    """
    series = [_thinned(line) for line in series]
    xs = [value for line in series for value in line.x]
    ys = [value for line in series for value in line.y]
    low_x, high_x = min(xs), max(xs)
    spanned = [0.0, *ys] if zero else ys
    ticks = _ticks(min(spanned), max(spanned))
    low_y, high_y = min(ticks[0], *ys), max(ticks[-1], *ys)

    def across(value: Number) -> str:
        share = (value - low_x) / (high_x - low_x) if high_x > low_x else 0.5
        return f"{_LEFT + share * (_RIGHT - _LEFT):.1f}"

    def up(value: Number) -> str:
        share = (value - low_y) / (high_y - low_y) if high_y > low_y else 0.5
        return f"{_BOTTOM - share * (_BOTTOM - _TOP):.1f}"

    x_ticks = _ticks(low_x, high_x, 5) if high_x > low_x else [low_x]
    x_ticks = [tick for tick in x_ticks if low_x <= tick <= high_x]
    if all(float(value).is_integer() for value in xs):  # there is no half step
        x_ticks = [tick for tick in x_ticks if float(tick).is_integer()]
    lines, legend = [], []
    for number, line in enumerate(series):
        colour = number if line.colour is None else line.colour
        legend.append((colour, line.name))
        points = [
            (across(a), up(b), f"{line.name}, {x} {a:,.10g}: {b:{form}}")
            for a, b in zip(line.x, line.y, strict=True)
        ]
        path = " ".join(f"{point_x},{point_y}" for point_x, point_y, _ in points)
        lines.append((colour, path, points if line.dots or len(points) == 1 else []))
    description = "; ".join(
        f"{line.name} from {line.y[0]:{form}} at {x} {line.x[0]:,.10g} "
        f"to {line.y[-1]:{form}} at {line.x[-1]:,.10g}"
        for line in series
    )
    drawing = environment().get_template("chart.svg")
    svg = drawing.render(
        title=title,
        key="c-" + "".join(sign if sign.isalnum() else "-" for sign in title.lower()),
        description=description,
        axis=x,
        x_ticks=[(across(tick), _short(tick)) for tick in x_ticks],
        y_ticks=[(up(tick), _short(tick)) for tick in ticks],
        lines=lines,
        **_FRAME,
    )
    header = [x, *(line.name for line in series)]
    return Chart(title, Markup(svg.rstrip()), legend, header, _rows(series, form), note)


def _thinned(line: Series) -> Series:
    """The mean of every few points where there are too many to see."""
    size = math.ceil(len(line.x) / _MOST_POINTS)
    if size == 1:
        return line

    def means(values: Sequence[Number]) -> list[Number]:
        parts = [values[start : start + size] for start in range(0, len(values), size)]
        return [sum(part) / len(part) for part in parts]

    return Series(line.name, means(line.x), means(line.y), line.dots, line.colour)


def _ticks(low: Number, high: Number, count: int = 4) -> list[Number]:
    """About `count` round numbers that hold the range between them."""
    if not high - low > _LEAST_RANGE:
        spread = abs(high) / 10 if abs(high) > 100 * _LEAST_RANGE else 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _short(value: Number) -> str:
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if sign == 'k' else limit):.4g}{sign}"
    return f"{value:.4g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"


def _rows(series: Sequence[Series], form: str) -> list[list[str]]:
    """Some of the points, evenly spread, the first and the last among them."""
    lines = [dict(zip(line.x, line.y, strict=True)) for line in series]
    xs = sorted({value for line in series for value in line.x})
    if len(xs) > _MOST_ROWS:
        last = len(xs) - 1
        xs = [xs[round(n * last / (_MOST_ROWS - 1))] for n in range(_MOST_ROWS)]
    return [
        [f"{x:,.10g}", *(f"{line[x]:{form}}" if x in line else "" for line in lines)] for x in xs
    ]
