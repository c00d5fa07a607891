"""Small drawings as SVG, light or dark as the reader has it, the same bytes every time."""

from collections.abc import Sequence
from html import escape

_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.small { font-size: 11px; fill: #59636e; }
.strong { font-weight: 600; }
.code { font-family: ui-monospace, Menlo, Consolas, monospace; }
.line { stroke: #8c959f; stroke-width: 1.2; fill: none; }
.on { stroke: #0969da; stroke-width: 3; fill: none; }
.box { fill: #f6f8fa; stroke: #8c959f; }
.chosen { fill: #ddf4ff; stroke: #0969da; stroke-width: 2; }
.none { fill: none; stroke: #d1d9e0; }
.a { fill: #54aeff; stroke: none; } .b { fill: #f0b37e; stroke: none; }
.c { fill: #8ddb8c; stroke: none; } .d { fill: #d2a8ff; stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; }
  .line { stroke: #656c76; } .on { stroke: #4493f8; }
  .box { fill: #212830; stroke: #656c76; } .none { stroke: #3d444d; }
  .chosen { fill: #12314f; stroke: #4493f8; }
  .a { fill: #1f6feb; } .b { fill: #9a5b1e; } .c { fill: #2c7a3a; } .d { fill: #7d4fc0; }
}
"""
COLOURS = ("a", "b", "c", "d")


class Drawing:
    """Shapes and words on a page of `width`; its height follows what is drawn."""

    def __init__(self, width: int, title: str):
        self._width, self._title, self._height = width, title, 0.0
        self._parts: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """Words on the line y; `anchor` says which point of them is at x."""
        self._height = max(self._height, y + 6)
        how = f' class="{kind}"' if kind else ""
        how += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}"{how}>{escape(words)}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, kind: str = "box", round: float = 4
    ) -> None:
        self._height = max(self._height, y + height + 2)
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round:g}" '
            f'class="{kind}"/>'
        )

    def line(self, points: Sequence[tuple[float, float]], kind: str = "line") -> None:
        corners = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline points="{corners}" class="{kind}"/>')

    def arrow(self, x: float, y: float, to: float) -> None:
        """From left to right."""
        self.line([(x, y), (to, y)])
        self.line([(to - 6, y - 4), (to, y), (to - 6, y + 4)])

    def labelled(
        self, x: float, y: float, width: float, lines: Sequence[str], kind: str = "box"
    ) -> None:
        """A box with centred lines, the first of them strong."""
        self.box(x, y, width, 14 + 17 * len(lines), kind)
        for number, words in enumerate(lines):
            how = "small" if number else "strong"
            self.text(x + width / 2, y + 20 + 17 * number, words, how, "middle")

    def svg(self) -> str:
        height = round(self._height + 4)
        title = escape(self._title)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {height}" '
            f'width="{self._width}" height="{height}" role="img" aria-label="{title}">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n"
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )
