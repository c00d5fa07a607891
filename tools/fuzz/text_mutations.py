"""Hostile values, and text formats that hold them: JSON, YAML, tables of text."""

import copy
import csv
import io
import json
import random
from typing import Any

import yaml

PAYLOAD = "genrec_fuzz_payload_ran"
"""The file that planted code would leave if it ran."""
PLANTED = ("work/outside.json", "outside.json", "outside/outside.json")
"""Files outside of an input's folder (work/input) that hostile paths point at."""

HOSTILE_BYTES = (
    b"\x00" * 8,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f\x00\x00\x00\x80",
    b"\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x01\x00\x00\x00\x00\x00\x00\x00",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\r\n",
    b'"',
    b"{",
    b"[" * 100,
    b",",
    b"'",
    b"\\",
    b"../../../../etc/passwd",
    b"1e999",
    b"-1",
    b"NaN",
    b"9" * 400,
)

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    -(2**31) - 1,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    int("9" * 4000),
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    " ",
    "0",
    "-1",
    "1e999",
    "nan",
    "null",
    "a" * 70_000,
    "\x00",
    "a\x00b",
    "\n\r\t",
    "\ud800",
    "\u202e\u2028\x1b[31mred\x1b[0m",
    "../outside.json",
    "../../outside.json",
    "../../outside/outside.json",
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x",
    "s3://bucket/x",
    "*",
    "{title.__class__}",
    "{0}",
    "%s%n",
    "'; DROP TABLE items; --",
    "--help",
    "--out=/tmp/x",
    "<script>alert(1)</script>",
    f"$(touch {PAYLOAD})",
    f"__import__('os').system('touch {PAYLOAD}')",
    [],
    {},
    [[]],
    [None],
    [0] * 1000,
    {"": {}},
    {"a": [1, {"b": None}]},
)
"""Values that a careless reader believes."""

_BIG_NUMBER = "9" * 6000
"""More digits than Python turns into a number unasked."""


def hostile(rng: random.Random, value: Any) -> Any:
    """A value in place of another: anything, or one a little off."""
    kind = rng.random()
    if isinstance(value, bool) or kind < 0.5:
        return rng.choice(HOSTILE)
    if isinstance(value, int):
        off = (value + 1, value - 1, -value, value * 1000, float(value), str(value), value + 0.5)
        return rng.choice(off)
    if isinstance(value, float):
        return rng.choice((-value, value * 1e300, int(value) if abs(value) < 1e18 else 0))
    if isinstance(value, str):
        other = rng.choice([each for each in HOSTILE if isinstance(each, str)])
        return rng.choice(
            (value + other, other, value[:-1], value.upper(), value[:99] * 1000, [value])
        )
    if isinstance(value, list):
        return rng.choice(
            (value[:-1], value + value[:1], value[:999] * 30, value[:1], dict(enumerate(value)))
        )
    if isinstance(value, dict):
        return rng.choice((list(value), list(value.values()), {}, str(value)[:1000]))
    return rng.choice(HOSTILE)


def damaged_tree(rng: random.Random, tree: Any) -> Any:
    """A copy of what JSON or YAML holds, in which one to three places are hostile."""
    root = [tree]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        entries: list[tuple[Any, Any]] = []
        _entries(root, entries)
        where, key = rng.choice(entries)
        change = rng.random()
        if change < 0.65:
            # A copy: later inputs would change the hostile value, or put it into itself.
            where[key] = copy.deepcopy(hostile(rng, where[key]))
        elif change < 0.8 and where is not root:
            del where[key]
        elif isinstance(where, dict):
            name = rng.choice([each for each in HOSTILE if isinstance(each, str)])
            where[rng.choice((name, f"{key}x"))] = where[key]
        else:
            where.append(copy.deepcopy(hostile(rng, where[key])))
    return root[0] if root else None


def _entries(node: Any, entries: list[tuple[Any, Any]]) -> None:
    """Every place of a tree: its container and its key there."""
    stack = [node]
    while stack:
        here = stack.pop()
        inner = here.items() if isinstance(here, dict) else enumerate(here)
        for key, value in inner:
            entries.append((here, key))
            if isinstance(value, dict | list) and value:
                stack.append(value)


def damaged_json(rng: random.Random, contents: bytes) -> bytes:
    """JSON with hostile values, or that is hostile to its parser."""
    try:
        tree = json.loads(contents)
    except ValueError:
        tree = {}
    text = json.dumps(damaged_tree(rng, tree), ensure_ascii=rng.random() < 0.5)
    return _with_tricks(rng, text).encode("utf-8", "surrogatepass")


def _with_tricks(rng: random.Random, text: str) -> str:
    """What json.dumps does not write, in place of some value."""
    trick = rng.random()
    if trick > 0.2:
        return text
    deep = rng.choice((1000, 5000, 100_000))
    values = (
        _BIG_NUMBER,
        f"-{_BIG_NUMBER}",
        "1e999",
        "-Infinity",
        "NaN",
        "1." + "0" * 5000 + "1",
        "[" * deep + "]" * deep,
        '{"a":' * deep + "1" + "}" * deep,
        "[" * deep,
        '"\\ud800"',
        '"\\u0000"',
    )
    starts = [at + 1 for at, sign in enumerate(text) if sign in ":[,"]
    if not starts or trick < 0.03:
        return rng.choice(values)
    start = rng.choice(starts)
    stops = [at for at in (text.find(sign, start) for sign in ",]}") if at >= 0]
    stop = min(stops, default=len(text))
    changed = f"{text[:start]}{rng.choice(values)}{text[stop:]}"
    if trick < 0.06 and text.startswith("{"):  # a key twice
        return f"{text[:-1]}, {text[1:]}"
    return changed


def damaged_lines(rng: random.Random, contents: bytes) -> bytes:
    """JSON lines, one or some of which are hostile."""
    lines = contents.splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        number = rng.randrange(len(lines))
        lines[number] = damaged_json(rng, lines[number])
    if rng.random() < 0.1:
        lines *= 20
    return b"\n".join(lines) + b"\n"


_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
"""Ten lines that are a thousand million values."""
_YAML_VALUES = (
    f"!!python/object/apply:os.system ['touch {PAYLOAD}']",
    f"!!python/object/new:os.system ['touch {PAYLOAD}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!binary gIGCgw==",
    "!!binary '='",
    "!!timestamp 2020-99-99",
    "2020-13-45",
    "!!int x",
    "!!float ''",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "!unknown x",
    "*nowhere",
    "&self [*self]",
    "&self {a: *self}",
    "0x" + "f" * 5000,
    _BIG_NUMBER,
    "1" + ":59" * 3000,
    "1_" * 3000 + "1",
    ".inf",
    ".nan",
    "1e999",
    "~",
    "yes",
    "2020-01-01",
    "? [a, b] : c",
    "{? [a, b] : c}",
    "{? {a: b} : c}",
    "{1: 2, null: 3, 2.5: 4}",
    "{<<: 3}",
    "{<<: [{a: 1}]}",
    "[" * 2000 + "]" * 2000,
    "{a: " * 2000 + "}" * 2000,
    "|\n  text\n more",
    '"\\ud800"',
    '"\\x00"',
    "\t",
    "@",
    "%TAG",
)


def damaged_yaml(rng: random.Random, contents: bytes) -> bytes:
    """YAML with hostile values, tags, aliases or nesting."""
    way = rng.random()
    try:
        tree = yaml.safe_load(contents)
    except yaml.YAMLError:
        tree = {}
    if way < 0.5:
        text = yaml.safe_dump(damaged_tree(rng, tree), allow_unicode=rng.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")
    text = contents.decode()
    if way < 0.55:
        head, name = rng.choice(((_ALIASES, "j"), (_ALIASES, "d"), (_ALIASES, "b")))
        section = rng.choice(("seed", "data", "tokenizer", "text"))
        return f"{head}{text}\n{section}: *{name}\n".encode()
    if way < 0.6:
        return (text + rng.choice(("\n---\n", "\n...\nx", "\n%YAML 9.9\n")) + text).encode()
    lines = text.splitlines()
    number = rng.randrange(len(lines))
    key = lines[number].split(":")[0]
    value = rng.choice(_YAML_VALUES)
    lines[number] = f"{key}: {value}" if rng.random() < 0.9 else value
    return "\n".join(lines).encode()


def damaged_table(rng: random.Random, contents: bytes) -> bytes:
    """A table of text with hostile cells, rows or names of columns."""
    rows = list(csv.reader(io.StringIO(contents.decode())))
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rng.randrange(len(rows)) if rng.random() < 0.8 else 0
        change = rng.random()
        if change < 0.7 and rows[row]:
            cell = rng.randrange(len(rows[row]))
            value = hostile(rng, rows[row][cell])
            rows[row][cell] = value if isinstance(value, str) else json.dumps(value)
        elif change < 0.8:
            rows[row] = rows[row][:-1]
        elif change < 0.9:
            rows[row] = [*rows[row], "more"]
        else:
            rows.insert(row, rows[rng.randrange(len(rows))])
    stream = io.StringIO()
    sign = rng.choice((",", ",", ",", ";", "\t"))
    csv.writer(stream, delimiter=sign, quoting=rng.choice((0, 0, 0, 1))).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")
