"""The import graph of the package in numbers: rooms, floors, imports upwards, circles.

    pip install grimp
    python tools/import_graph.py
    python tools/import_graph.py --package ../before/genrec genrec

A room is a folder or a loose module at the top of the package. The rooms' imports are put in order
from the ground up: a room stands one floor above the highest that it imports. Where rooms import
each other in a circle there is no such order; "imports upwards" are the fewest imports found whose
removal leaves one. The order that this package keeps is a contract in pyproject.toml, which
`lint-imports` checks.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import grimp
from rich.console import Console
from rich.table import Table

Arrows = dict[str, set[str]]
"""For each room the rooms that it imports."""


@dataclass(frozen=True)
class Figures:
    """What is counted of a package.

    Attributes:
        folders: at the top of the package.
        loose_modules: at the top of the package, without `__init__` and `__main__`.
        lines: of all modules.
        imports_between_rooms: of one module by a module of another room.
        arrows: pairs of rooms of which one imports the other.
        floors: length of the longest way along arrows, without the imports upwards.
        imports_upwards: each as "importer -> imported".
        circles: the rooms of each, by name.
    """

    folders: int
    loose_modules: int
    modules: int
    lines: int
    imports_between_rooms: int
    arrows: int
    floors: int
    imports_upwards: list[str]
    circles: list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--package", type=Path, nargs="+", default=[Path("genrec")], help="folders, side by side"
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    figures = {str(path): count(path) for path in arguments.package}
    show(figures)
    if arguments.json:
        contents = {path: asdict(entry) for path, entry in figures.items()}
        arguments.json.write_text(json.dumps(contents, indent=2) + "\n")


def count(package: Path) -> Figures:
    """Counts the package in the folder `package`; its modules are read, not imported."""
    package = package.resolve()
    sys.path.insert(0, str(package.parent))
    try:
        graph = grimp.build_graph(package.name, cache_dir=None)
    finally:
        sys.path.pop(0)
    graph.remove_module(f"{package.name}.__main__")
    top = package.name  # which names what is public, of every room
    for module in graph.find_modules_directly_imported_by(top):
        graph.remove_import(importer=top, imported=module)
    for module in graph.find_modules_that_directly_import(top):
        graph.remove_import(importer=module, imported=top)
    rooms = {module.split(".")[1] for module in graph.modules - {top}}
    imports = imports_between_rooms(graph)
    upwards = graph.nominate_cycle_breakers(top)
    for importer, imported in upwards:
        graph.remove_import(importer=importer, imported=imported)
    downwards = arrows_of(rooms, imports_between_rooms(graph))
    files = sorted(package.rglob("*.py"))
    return Figures(
        folders=sum((package / room).is_dir() for room in rooms),
        loose_modules=sum(not (package / room).is_dir() for room in rooms),
        modules=len(files),
        lines=sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files),
        imports_between_rooms=imports.total(),
        arrows=len(imports),
        floors=max(floor(room, downwards) for room in rooms),
        imports_upwards=sorted(f"{importer} -> {imported}" for importer, imported in upwards),
        circles=circles(arrows_of(rooms, imports)),
    )


def imports_between_rooms(graph: grimp.ImportGraph) -> Counter[tuple[str, str]]:
    """How many imports lead from one room to another, by the two rooms."""
    imports: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            rooms = module.split(".")[1], imported.split(".")[1]
            if rooms[0] != rooms[1]:
                imports[rooms] += 1
    return imports


def arrows_of(rooms: set[str], imports: Counter[tuple[str, str]]) -> Arrows:
    arrows: Arrows = {room: set() for room in rooms}
    for importer, imported in imports:
        arrows[importer].add(imported)
    return arrows


def floor(room: str, arrows: Arrows) -> int:
    """1 for a room that imports no other; else one more than the highest that it imports."""
    return 1 + max((floor(imported, arrows) for imported in arrows[room]), default=0)


def circles(arrows: Arrows) -> list[list[str]]:
    """The largest groups of rooms in which every room reaches every other."""

    def reached(start: str) -> set[str]:
        rooms, waiting = set(), [start]
        while waiting:
            new = arrows[waiting.pop()] - rooms
            rooms |= new
            waiting += new
        return rooms

    below = {room: reached(room) for room in arrows}
    groups = {
        tuple(sorted(other for other in below[room] if room in below[other]))
        for room in arrows
        if room in below[room]
    }
    return [list(group) for group in sorted(groups)]


def show(figures: dict[str, Figures]) -> None:
    """A column for each package; below it what there should be none of, by name."""
    table = Table("", title_justify="left")
    for path in figures:
        table.add_column(path, justify="right")
    for name in Figures.__dataclass_fields__:
        values = [getattr(entry, name) for entry in figures.values()]
        cells = [f"{len(value) if isinstance(value, list) else value:,}" for value in values]
        table.add_row(name.replace("_", " "), *cells)
    console = Console(highlight=False)
    console.print(table)
    for path, entry in figures.items():
        for arrow in entry.imports_upwards:
            console.print(f"{path}, upwards: {arrow}", soft_wrap=True)
        for group in entry.circles:
            console.print(f"{path}, a circle: {', '.join(group)}", soft_wrap=True)


if __name__ == "__main__":
    main()
