"""What several commands print, and the tables of them all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from genrec.cli import console

if TYPE_CHECKING:
    from genrec.evaluation.compare import RecommenderResults
    from genrec.evaluation.examples import Example
    from genrec.pipeline import Outcome
    from genrec.recommend.catalog import Change
    from genrec.semantic_ids.branches import Branch


def stage_line(name: str, said: str, outcome: "Outcome") -> str:
    """What became of a stage, with rich's markup."""
    took = "done before" if outcome.skipped else f"{outcome.seconds:.1f} s"
    first = f"[bold]{name:<9}[/] " if name else ""
    return f"{first}{escape(said)} [dim]({took})[/]"


def print_examples(examples: "Sequence[Example]") -> None:
    for example in examples:
        console.show(f"[bold]User {escape(example.user_id)}[/] last had")
        for title in example.recent:
            console.say(f"  {title}")
        console.say("then, held out")
        console.say(f"  {example.target}")
        console.say("and is recommended")
        console.show(list_table(example.titles, example.item_ids, example.scores), wrap=True)


def change_lines(change: "Change", *, appended: bool = False, removed: bool = False) -> list[str]:
    """What became of a catalogue, for people."""
    known = f"; {change.known:,} were there already" * bool(change.known)
    back = f"; {change.returned:,} that had been removed are back" * bool(change.returned)
    return [
        *([f"{change.added:,} items added{known}{back}"] if appended else []),
        *([f"{change.removed:,} items removed"] if removed else []),
        f"{change.items:,} items may be recommended now",
        *([change.drift] if change.drift else []),
    ]


def branch_table(found: "Sequence[Branch]", titles: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("codes")
    table.add_column("items", justify="right")
    table.add_column("commonest words", overflow="fold")
    table.add_column("such as", overflow="fold")
    for branch in found:
        examples = "\n".join(escape(titles[item]) for item in branch.items[:2])
        spelt = ",".join(map(str, branch.prefix))
        table.add_row(spelt, f"{len(branch.items):,}", escape(", ".join(branch.words)), examples)
    return table


def list_table(
    titles: Sequence[str],
    item_ids: Sequence[str],
    scores: Sequence[float],
    codes: Sequence[Sequence[int]] | None = None,
) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("item id", overflow="fold")
    table.add_column("score", justify="right")
    if codes is not None:
        table.add_column("codes")
    for place, (title, item_id, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1):
        spelt = [] if codes is None else [" ".join(map(str, codes[place - 1]))]
        table.add_row(str(place), escape(title), escape(item_id), f"{score:.3f}", *spelt)
    return table


def compared_table(found: "Sequence[RecommenderResults]", protocol: str) -> Table:
    from genrec.evaluation.compare import METRICS

    table = Table(box=box.SIMPLE_HEAD, caption=f"{protocol}, test items", caption_justify="left")
    for title in ("recommender", "seeds", *(metric.replace("@", " @ ") for metric in METRICS)):
        table.add_column(title, justify="left" if title == "recommender" else "right")
    for each in found:
        spreads = [each.spread(metric) for metric in METRICS]
        figures = (
            f"{each.mean(metric):.4f}" + (f" ± {spread:.4f}" if spread is not None else "")
            for metric, spread in zip(METRICS, spreads, strict=True)
        )
        table.add_row(escape(each.name), ", ".join(map(str, each.seeds)), *figures)
    return table
