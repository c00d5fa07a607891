"""Lines and tables that commands print."""

from collections.abc import Sequence
from pathlib import Path
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


def stage_line(name: str, summary: str, outcome: "Outcome") -> str:
    """What a stage made and how long it took, with rich's markup; `name` may be empty."""
    took = "done before" if outcome.skipped else f"{outcome.seconds:.1f} s"
    heading = f"[bold]{name:<9}[/] " if name else ""
    return f"{heading}{escape(summary)} [dim]({took})[/]"


def print_examples(examples: "Sequence[Example]") -> None:
    for example in examples:
        console.show(f"[bold]User {escape(example.user_id)}[/] last had")
        lines = [*(f"  {title}" for title in example.recent), "then, held out"]
        console.say("\n".join([*lines, f"  {example.target}", "and is recommended"]))
        console.show(list_table(example.titles, example.item_ids, example.scores), wrap=True)


def change_lines(change: "Change", append: Path | None, remove: Sequence[str]) -> list[str]:
    """How a catalogue was changed by --append FILE or --remove ITEMS, for people."""
    known = f"; {change.known:,} were there already" * bool(change.known)
    back = f"; {change.returned:,} that had been removed are back" * bool(change.returned)
    return [
        *([f"{change.added:,} items added{known}{back}"] if append else []),
        *([f"{change.removed:,} items removed"] if remove else []),
        f"{change.items:,} items may be recommended now",
        *([change.drift] if change.drift else []),
    ]


def branch_table(branches: "Sequence[Branch]", titles: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("codes")
    table.add_column("items", justify="right")
    table.add_column("commonest words", overflow="fold")
    table.add_column("such as", overflow="fold")
    for branch in branches:
        examples = "\n".join(escape(titles[item]) for item in branch.items[:2])
        prefix = ",".join(map(str, branch.prefix))
        table.add_row(prefix, f"{len(branch.items):,}", escape(", ".join(branch.words)), examples)
    return table


def list_table(
    titles: Sequence[str],
    item_ids: Sequence[str],
    scores: Sequence[float],
    codes: Sequence[Sequence[int]] | None = None,
    why: Sequence[str] | None = None,
) -> Table:
    """A ranked list; with each item's codes, and a sentence why it is there, where given."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("item id", overflow="fold")
    table.add_column("score", justify="right")
    if codes is not None:
        table.add_column("codes")
    if why is not None:
        table.add_column("why", overflow="fold")
    for rank, (title, item_id, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1):
        more = [] if codes is None else [" ".join(map(str, codes[rank - 1]))]
        more += [] if why is None else [escape(why[rank - 1])]
        table.add_row(str(rank), escape(title), escape(item_id), f"{score:.3f}", *more)
    return table


def compared_table(recommenders: "Sequence[RecommenderResults]", protocol: str) -> Table:
    from genrec.evaluation.compare import METRICS

    table = Table(box=box.SIMPLE_HEAD, caption=f"{protocol}, test items", caption_justify="left")
    for title in ("recommender", "seeds", *(metric.replace("@", " @ ") for metric in METRICS)):
        table.add_column(title, justify="left" if title == "recommender" else "right")
    for recommender in recommenders:
        spreads = [recommender.spread(metric) for metric in METRICS]
        figures = (
            f"{recommender.mean(metric):.4f}" + (f" ± {spread:.4f}" if spread is not None else "")
            for metric, spread in zip(METRICS, spreads, strict=True)
        )
        table.add_row(escape(recommender.name), ", ".join(map(str, recommender.seeds)), *figures)
    return table
