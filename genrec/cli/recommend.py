"""The commands that use runs: recommend from one, compare several."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from genrec.cli import console
from genrec.cli.arguments import Compare, Recommend
from genrec.cli.commands import Call
from genrec.cli.parsing import settings_under
from genrec.cli.tables import compared_table, list_table, print_examples
from genrec.errors import UserError
from genrec.progress import progress

if TYPE_CHECKING:
    import numpy as np

    from genrec.recommend.explanation import Explanation
    from genrec.recommend.requests import ResolvedRequests
    from genrec.runs.loaded import LoadedRun

AT_ONCE = 8192
"""Requests of a file that are read, answered and written together."""


def recommend(command: Recommend, call: Call) -> None:
    _check(command)
    decoding = settings_under(command.run / "config.yaml", command, call.named).decoding
    if command.unconstrained and decoding.temperature is not None:
        raise UserError("--unconstrained goes without decoding.temperature")

    from genrec.evaluation.examples import draw_examples
    from genrec.recommend.request_files import read_names
    from genrec.runs.folder import config_of, require
    from genrec.runs.loaded import load_run

    console.tell_compilations()
    if command.history is None and command.histories is None and not command.all:
        config = config_of(command.run)
        require(command.run, config, "evaluate")
        k, width = command.k, config.decoding.beam
        if not 1 <= k <= width:
            raise UserError(f"k is {k}, but the lists of {command.run} have {width} items")
        shown = draw_examples(command.run, seed=config.seed, k=k)
        print_examples(shown)
        console.document({"examples": [dataclasses.asdict(each) for each in shown]})
        return
    run = load_run(command.run, decoding)
    if command.why:
        run.check_experts()
    if command.allow or command.exclude:
        allow = None if command.allow is None else read_names(command.allow)
        exclude = [] if command.exclude is None else read_names(command.exclude)
        run = run.restricted(allow=allow, exclude=exclude)
    document = _answer(command, run)
    if command.unconstrained:
        console.say(f"{document['invalid_share']:.1%} of the codes found are no item's")
        console.say(f"for them the nearest item stands in (Faiss {run.resolver_index})")
    if command.out:
        console.say(f"{document['users']:,} lists are in {command.out}")
    console.document(document)


def _check(command: Recommend) -> None:
    """Raises UserError for flags that do not go together."""
    given = (command.history is not None, command.histories is not None, command.all)
    rules = {
        "give one of --history, --histories and --all": sum(given) <= 1,
        "lists for all users go to a file: name it with --out": not command.all or command.out,
        f"{command.out} is a folder: name a file with --out": not (
            command.out is not None and command.out.is_dir()
        ),
        "recommend to whom? give --history, --histories or --all": any(given)
        or not (command.out or command.exclude or command.allow or command.codes),
        "--why goes with --history, and with neither --out nor --unconstrained": not command.why
        or (given[0] and not command.out and not command.unconstrained),
        f"{command.run} is not a run: make one with `genrec run CONFIG`": (
            command.run / "config.yaml"
        ).exists(),
    }
    for rule, kept in rules.items():
        if not kept:
            raise UserError(rule)


def _answer(command: Recommend, run: "LoadedRun") -> dict[str, Any]:
    """Writes or shows all lists; returns them as a document, or the name of their file."""
    from genrec.decoding import writing_lists
    from genrec.recommend.requests import log_notices

    total, requests = _requests(command, run)
    codes = run.codes if command.codes else None
    options = {"k": command.k, "exclude_history": not command.include_history}
    invalid, lists = 0.0, []
    with contextlib.ExitStack() as stack:
        write = bar = None
        if command.out:
            write = stack.enter_context(writing_lists(command.out, run.item_ids, codes))
            bar = stack.enter_context(progress("recommend", total, "user"))
        for some in requests:
            log_notices(some.notices)
            why = None
            if command.unconstrained:
                items, scores, share = run.recommend_freely(some, **options)
                invalid += share * len(items)
            else:
                found = run.recommend_items(some, partial=total > AT_ONCE, **options)
                items, scores = found.items, found.scores
                log_notices(found.notices)
                why = run.explain_lists(some, found) if command.why else None
            users = [""] * len(items) if some.user_ids is None else some.user_ids
            if write is not None and bar is not None:
                write(users, items, scores)
                bar.advance(len(items))
            else:
                lists += _show_lists(run, users, items, scores, codes, why)
    document: dict[str, Any] = {"users": total, "k": command.k}
    document |= {"out": command.out} if command.out else {"lists": lists}
    return document | ({"invalid_share": invalid / max(total, 1)} if command.unconstrained else {})


def _requests(command: Recommend, run: "LoadedRun") -> "tuple[int, Iterator[ResolvedRequests]]":
    """How many lists are wanted, and for whom, some at once."""
    from genrec.recommend.request_files import count_requests, read_requests
    from genrec.recommend.requests import Requests

    if command.all:
        return len(run.dataset.user_ids), iter(run.everybody(AT_ONCE))
    if command.histories:
        requests = read_requests(command.histories, AT_ONCE)
        return count_requests(command.histories), map(run.resolve, requests)
    return 1, iter([run.resolve(Requests(None, [command.history or ()]))])


def _show_lists(
    run: "LoadedRun",
    users: "Sequence[str] | np.ndarray",
    items: "np.ndarray",
    scores: "np.ndarray",
    codes: "np.ndarray | None",
    why: "list[list[Explanation]] | None",
) -> list[dict[str, Any]]:
    """Shows a list for each user, and returns them as they stand in the document."""
    from genrec.recommend.base import named_lists

    documents = []
    lists = zip(*named_lists(run.item_ids, items, scores), strict=True)
    reasons = [None] * len(items) if why is None else why
    for user, row, (ids, points), reason in zip(users, items, lists, reasons, strict=True):
        if user:
            console.show(f"[bold]{escape(user)}[/]", wrap=True)
        tuples = None if codes is None else codes[row[row >= 0]].tolist()
        titles = [run.titles[item] for item in ids]
        words = None if reason is None else [each.words for each in reason]
        console.show(list_table(titles, ids, points, tuples, words), wrap=True)
        columns = {"item_id": ids, "title": titles, "score": points}
        columns |= {} if tuples is None else {"codes": tuples}
        columns |= {} if reason is None else {"why": map(dataclasses.asdict, reason)}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        documents.append({"user_id": user or None, "items": rows})
    return documents


def compare(command: Compare, call: Call) -> None:
    if len(command.runs) < 2:
        raise UserError("compare what? name at least two runs")

    from genrec.evaluation.compare import (
        METRICS,
        difference,
        load_recommenders,
        plot,
        to_json,
        verdict,
    )

    protocol = "unfiltered" if command.unfiltered else "filtered"
    recommenders = load_recommenders(command.runs, protocol)
    console.show(compared_table(recommenders, protocol), wrap=True)
    first, *others = recommenders
    for other in others:
        for metric in METRICS:
            console.say(verdict(first, other, metric, difference(first, other, metric)))
    if command.plot:
        plot(recommenders, protocol, command.plot)
    console.document(to_json(recommenders, protocol))
