"""The interactions: read from the user's files, checked, and filtered step by step.

The SQL runs on every engine. Each step makes a table of interactions from the one before it, with
the columns line (the row they were read from), u and i (numbers of user and item, whose ids are in
the tables user_ids and item_ids), ts (microseconds since 1970) and, where the user named such a
column, position and rating.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from genrec.config import Columns
from genrec.data.query_engine import EMPTY, BadRows, FileTable, QueryEngine, literal
from genrec.errors import UserError

# The cells as they are written, with their line and file, to show what is wrong with a row.
_RAW = "(SELECT {line} AS line, CAST({cell} AS STRING) AS cell, {file} AS file FROM {table}) AS raw"
# Times in whole microseconds, which compare several times faster than decimals. What is out of
# range stays out of it, but within the type.
_MARKED = """
SELECT line, user_id, item_id, ts, position, rating, CASE {cases} ELSE 0 END AS fault
FROM (
  SELECT line, user_id, item_id, position, rating,
    CASE WHEN number > {latest} THEN ({latest} + 1) * {unit}
      WHEN number < 0 THEN -1
      WHEN number IS NOT NULL THEN CAST(FLOOR(number * {unit}) AS BIGINT)
      ELSE moment END AS ts
  FROM (
    SELECT {line} AS line, CAST({user} AS STRING) AS user_id, CAST({item} AS STRING) AS item_id,
      {number} AS number, {moment} AS moment, {position} AS position, {rating} AS rating
    FROM {table}
  ) AS cells
) AS typed
"""
_FAULTS = """
SELECT fault, COUNT(*), MIN(line) FROM marked WHERE fault > 0 GROUP BY fault ORDER BY fault
"""
# Numbers stand for the ids from here on: every step is several times faster.
_NUMBERED_IDS = """
SELECT {name}, {number} AS number
FROM (SELECT {name} FROM marked WHERE fault = 0 GROUP BY {name}) AS ids
"""
_SOUND = """
SELECT line, user_ids.number AS u, item_ids.number AS i, ts{more}
FROM marked
JOIN user_ids ON user_ids.user_id = marked.user_id
JOIN item_ids ON item_ids.item_id = marked.item_id
WHERE fault = 0
"""

_RATED = "SELECT {columns} FROM {events} WHERE rating >= {least}"
_DESCRIBED = """
SELECT {columns} FROM {events} WHERE i IN (
  SELECT number FROM item_ids WHERE item_id IN (SELECT id FROM described)
)
"""
_FIRST_OF_EACH = """
SELECT {columns} FROM (
  SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {order}) AS nth FROM {events}
) AS ranked
WHERE nth <= {most}
"""
_RARE = "SELECT {who} FROM {events} GROUP BY {who} HAVING COUNT(*) < {least}"
_FREQUENT = """
SELECT {columns} FROM {events} AS events
WHERE NOT EXISTS (SELECT 1 FROM rare_u WHERE rare_u.u = events.u)
  AND NOT EXISTS (SELECT 1 FROM rare_i WHERE rare_i.i = events.i)
"""
_NEW_AT_LAST = """
SELECT {columns} FROM (
  SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY u ORDER BY {order}) AS nth FROM {events}
) AS ranked
WHERE nth = 1 OR i NOT IN (
  SELECT number FROM item_ids WHERE item_id IN (SELECT item_id FROM new_items)
)
"""
_SIZE = "SELECT COUNT(*), COUNT(DISTINCT u), COUNT(DISTINCT i) FROM {events}"
_MOMENT = "SELECT ts FROM {events} ORDER BY ts LIMIT 1 OFFSET {offset}"

# The last second of the year 9999. In milliseconds it is reached in 1978.
_LATEST = 253_402_300_799


@dataclass(frozen=True)
class Step:
    """A step of the preparation: what it keeps, for people, and how many are left after it."""

    name: str
    interactions: int
    users: int
    items: int


class Events:
    """A table of interactions that becomes smaller step by step.

    Attributes:
        name: name of the table after the latest step.
        steps: the steps so far, with what each left.
        order: the time order of a user's interactions, as the keys of an ORDER BY.
    """

    def __init__(self, db: QueryEngine, name: str, more: list[str]):
        """`more` names the columns besides line, u, i and ts: position and rating, or neither."""
        self.db, self.name = db, name
        self.steps: list[Step] = []
        key = ["ts", *(["position"] if "position" in more else []), "line"]
        self.order, self._latest_first = ", ".join(key), ", ".join(f"{name} DESC" for name in key)
        self._columns = ", ".join(["line", "u", "i", "ts", *more])
        self._made = 0

    def keep(self, step: str, sql: str, **values: Any) -> None:
        """Keeps the rows of a query over {events}, and records the step under a name."""
        self._narrow(sql, **values)
        self._record(step)

    def core(self, k: int) -> int:
        """Drops users and items with fewer than k interactions until there are none.

        Returns:
            How many rounds it took.
        """
        rounds = 0
        while self._without_rare(k, k):
            rounds += 1
        self._record(f"{k}-core", narrowed=rounds > 0)
        return rounds

    def long_enough(self, least: int) -> None:
        dropped = self._without_rare(least, 0)
        self._record(f"user has {least} or more", narrowed=dropped)

    def _without_rare(self, users: int, items: int) -> bool:
        """Drops users and items with fewer interactions, once; says whether there were any.

        Counting them first costs little, and most often saves a copy of the whole table.
        """
        rare = 0
        for who, least in (("u", users), ("i", items)):
            table = f"rare_{who}"
            self.db.create(table, _RARE.format(who=who, events=self.name, least=least))
            rare += self.db.run(f"SELECT COUNT(*) FROM {table}")[0][0]
        if rare:
            self._narrow(_FREQUENT)
        return rare > 0

    def _narrow(self, sql: str, **values: Any) -> None:
        name = f"events{self._made % 2}"
        self.db.create(name, sql.format(columns=self._columns, events=self.name, **values))
        self.name, self._made = name, self._made + 1

    def _record(self, step: str, narrowed: bool = True) -> None:
        """Adds a step; `narrowed` says whether it dropped anything."""
        size = dataclasses.astuple(self.steps[-1])[1:] if self.steps else ()
        if narrowed:
            (size,) = self.db.run(_SIZE.format(events=self.name))
        self.steps.append(Step(step, *size))

    def rated(self, least: float) -> None:
        exact = f"CAST({least!r} AS DECIMAL(28, 9))"
        self.keep(f"rating of {least:g} or more", _RATED, least=exact)

    def described(self) -> None:
        self.keep("item is in the items file", _DESCRIBED)

    def once(self, which: Literal["first", "last"]) -> None:
        """Keeps the first or the last interaction of each user with each item."""
        order = self.order if which == "first" else self._latest_first
        step = f"{which} time of a user and an item"
        self.keep(step, _FIRST_OF_EACH, by="u, i", order=order, most=1)

    def recent(self, most: int) -> None:
        step = f"latest {most:,} of a user"
        self.keep(step, _FIRST_OF_EACH, by="u", order=self._latest_first, most=most)

    def without(self, share: float, seed: int) -> int:
        """Makes some items new, drawn at random: only a user's last interactions are kept of them.

        Args:
            share: share of the items drawn, among those that are the last of some user.

        Returns:
            How many items were drawn.
        """
        last = _FIRST_OF_EACH.format(
            columns="i", by="u", order=self._latest_first, most=1, events=self.name
        )
        sql = f"SELECT item_id FROM item_ids WHERE number IN ({last})"
        # Sorted here, because engines differ in how they collate.
        ids = self.db.fetch(sql).sort_by("item_id")["item_id"]
        count = max(1, round(share * len(ids)))
        drawn = np.random.default_rng(seed).choice(len(ids), count, replace=False)
        self.db.create_from("new_items", pa.table({"item_id": ids.take(np.sort(drawn))}))
        self.keep(f"{count:,} items made new", _NEW_AT_LAST, order=self._latest_first)
        return count

    def moments(self, share: float) -> tuple[int, int]:
        """Two moments in seconds since 1970 that cut off the ends of all interactions.

        About `share` of them come after the second moment, and as many between the two.
        """
        count = self.steps[-1].interactions
        offsets = (min(count - 1, int(count * (1 - part * share))) for part in (2, 1))
        first, second = (
            self.db.run(_MOMENT.format(events=self.name, offset=offset))[0][0] // 1_000_000
            for offset in offsets
        )
        return first, second


def read_events(
    db: QueryEngine,
    table: FileTable,
    columns: Columns,
    *,
    milliseconds: bool = False,
    on_bad_rows: BadRows = "error",
) -> tuple[Events, dict[str, int]]:
    """Reads the interactions: the rows that have a user, an item and a time.

    Returns:
        The interactions; and how many rows were left out, by the name of what was wrong.

    Raises:
        UserError: a column is missing, or a row cannot be used and `on_bad_rows` is "error".
    """
    for role in ("user", "item", "timestamp", "position", "rating"):
        if (name := getattr(columns, role)) is not None:
            table.require(name, f"data.columns.{role}")
    unit, latest = (1_000, _LATEST * 1_000) if milliseconds else (1_000_000, _LATEST)
    faults = _faults(columns, milliseconds)
    cases = " ".join(f"WHEN {fault.condition} THEN {n}" for n, fault in enumerate(faults, 1))
    cells = {"line": table.line, "table": table.sql, "moment": "CAST(NULL AS BIGINT)"}
    cells |= {"user": table.quoted(columns.user), "item": table.quoted(columns.item)}
    numbers = {"number": "timestamp", "position": "position", "rating": "rating"}
    cells |= {name: _number(table, getattr(columns, role)) for name, role in numbers.items()}
    if columns.timestamp not in table.whole:
        text = f"CAST({table.quoted(columns.timestamp)} AS STRING)"
        cells["moment"] = f"CAST({db.microseconds.format(text)} AS BIGINT)"
    with db.reading(table.location):
        db.create("marked", _MARKED.format(**cells, cases=cases, unit=unit, latest=latest))
    counts = [(faults[number - 1], count, line) for number, count, line in db.run(_FAULTS)]
    if counts and on_bad_rows == "error":
        raise _refusal(db, table, counts)
    for name in ("user_id", "item_id"):
        db.create(f"{name}s", _NUMBERED_IDS.format(name=name, number=db.unique))
    more = [role for role in ("position", "rating") if getattr(columns, role) is not None]
    events = Events(db, "marked", more)
    events.keep("read", _SOUND, more="".join(f", {role}" for role in more))
    db.drop("marked")
    return events, {fault.name: count for fault, count, _ in counts}


def _number(table: FileTable, name: str | None) -> str:
    """SQL of a column as a number, NULL where a cell is no number; 0 if `name` is None."""
    if name is None:
        return "0"
    if name in table.whole:
        return f"TRY_CAST({table.quoted(name)} AS BIGINT)"
    return f"TRY_CAST({table.quoted(name)} AS DECIMAL(28, 9))"


class _Fault(NamedTuple):
    """What may be wrong with a row; without the column there is no such fault."""

    name: str
    condition: str  # SQL over the cells of _MARKED
    column: str | None  # to blame, as the user calls it
    complaint: str  # about the column


def _faults(columns: Columns, milliseconds: bool) -> list[_Fault]:
    unit = "milliseconds" if milliseconds else "seconds"
    no_time = f"is neither a number of {unit} since 1970 nor a date"
    after, late = (_LATEST + 1) * 1_000_000, "is beyond the year 9999"
    if not milliseconds:
        late += "; if these are milliseconds, say so (data.timestamp_unit), and mix no units:"
    return [
        _Fault("no user", EMPTY.format("user_id"), columns.user, "is empty"),
        _Fault("no item", EMPTY.format("item_id"), columns.item, "is empty"),
        _Fault("no time", "ts IS NULL", columns.timestamp, no_time),
        _Fault("time before 1970", "ts < 0", columns.timestamp, "is negative"),
        _Fault("time beyond 9999", f"ts >= {after}", columns.timestamp, late),
        _Fault("no position", "position IS NULL", columns.position, "is not a number"),
        _Fault("no rating", "rating IS NULL", columns.rating, "is not a number"),
    ]


def _refusal(db: QueryEngine, table: FileTable, faults: list[tuple[_Fault, int, int]]) -> UserError:
    """The error for rows that cannot be used: it shows the first row of the first kind of fault;
    each kind comes with its number of rows and its first line."""
    (fault, count, line), *others = faults
    assert fault.column is not None
    cell, file = table.quoted(fault.column), table.file or "NULL"
    raw = _RAW.format(line=table.line, cell=cell, file=file, table=table.sql)
    ((value, file),) = db.run(f"SELECT cell, file FROM {raw} WHERE line = {line}")
    first, of_file = 0, ""
    if file is not None:
        ((first,),) = db.run(f"SELECT MIN(line) FROM {raw} WHERE file = {literal(file)}")
        of_file = f" of {file}"
    where = f"row {line - first + 1}" + (f" ({value!r})" if value else "") + of_file
    more = "".join(f"; {other.name} in {_rows(number)}" for other, number, _ in others)
    return UserError(
        f"{table.location}: column {fault.column!r} {fault.complaint} in {_rows(count)}, first in "
        f"{where}{more}; mend them, or leave them out with data.on_bad_rows drop"
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
