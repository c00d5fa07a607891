"""What commands print as tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from genrec.compare import Compared
    from genrec.core.changes import Change
    from genrec.evaluation.examples import Example
    from genrec.tokenizer import Branch


def print_examples(console: Console, examples: "Sequence[Example]") -> None:
    for example in examples:
        console.print(f"[bold]User {escape(example.user_id)}[/] last had", soft_wrap=True)
        for title in example.recent:
            console.print(f"  {title}", soft_wrap=True, markup=False)
        console.print("then, held out", soft_wrap=True)
        console.print(f"  {example.target}", soft_wrap=True, markup=False)
        console.print("and is recommended")
        console.print(list_table(example.titles, example.item_ids, example.scores))


def print_added(console: Console, change: "Change") -> None:
    known = f"; {change.known:,} were there already" * bool(change.known)
    back = f"; {change.returned:,} that had been removed are back" * bool(change.returned)
    console.print(f"{change.added:,} items added{known}{back}", soft_wrap=True)


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


def compared_table(found: "Sequence[Compared]", protocol: str) -> Table:
    from genrec.compare import METRICS

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
