"""Draws the pictures of docs/how-it-works.md into docs/pictures.

    python tools/draw_docs.py

What they show is made by the same functions as a run: the codes by a `Tokenizer`, the tree by
`build_trie`, the packed rows by `epoch_batches`, the attention mask by the encoder, and the shares
by `next_code_shares`. Only what goes in is made up: a catalogue of 12 films with a few attributes,
the codebooks, the histories' lengths and the dense head's scores. So the pictures are the same on
every machine.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from docs.svg import COLOURS, Drawing
from genrec.config import ModelConfig
from genrec.model import EncoderDecoder
from genrec.semantic_ids.collisions import SemanticIds, disambiguate
from genrec.semantic_ids.trie import Trie, build_trie, children_of, path_to
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue
from genrec.sequences.packing import Batch, Plan, epoch_batches
from genrec.storage.files import replacing
from genrec.tokenizer import Tokenizer
from genrec.training.distillation import next_code_shares

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
FILMS = {  # space, horror, action, animation, song, romance, comedy; the dense head's score
    "Alien": ((1, 1, 0.1, 0, 0, 0, 0), 1.0),
    "Aliens": ((1, 0.9, 0.3, 0, 0, 0, 0), 3.2),
    "Star Wars": ((1, 0, 0.3, 0, 0, 0, 0), 1.3),
    "Star Trek": ((1, 0, 0.2, 0, 0, 0, 0), 2.4),
    "Die Hard": ((0.1, 0, 1, 0, 0, 0, 0), 2.2),
    "The Terminator": ((0.3, 0.2, 1, 0, 0, 0, 0), 2.5),
    "Toy Story": ((0.1, 0, 0, 1, 0, 0, 0.3), 0.6),
    "Aladdin": ((0, 0, 0, 1, 1, 0, 0.1), -0.2),
    "The Lion King": ((0, 0, 0, 1, 0.9, 0, 0), 0.1),
    "Ghost": ((0, 0.2, 0, 0, 0, 1, 0), -0.3),
    "Pretty Woman": ((0, 0, 0, 0, 0, 1, 0.9), -0.6),
    "Sleepless in Seattle": ((0, 0, 0, 0, 0, 1, 1), -0.4),
}
CODEBOOKS = (
    ((0.6, 0.3, 0.5, 0, 0, 0, 0), (0, 0, 0, 1, 0.4, 0, 0.1), (0, 0, 0, 0, 0, 1, 0.5)),
    (
        (0.4, 0.7, -0.3, 0, 0, 0, -0.5),
        (-0.4, -0.3, 0.5, 0, -0.4, 0, 0),
        (0.4, -0.3, -0.2, 0, 0.6, 0, 0.4),
    ),
)
LENGTHS = (9, 3, 2, 5, 12, 2, 4, 3, 7, 2, 6, 3)
ROW = 16
BEAM = 2


@dataclass(frozen=True)
class Films:
    """The films with their semantic IDs, the trie of these, and histories that are packed."""

    titles: list[str]
    ids: SemanticIds
    trie: Trie
    histories: Histories
    batch: Batch

    def codes_of(self, title: str) -> str:
        return " ".join(map(str, self.ids.codes[self.titles.index(title)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=PICTURES)
    out = parser.parse_args().out
    for name, text in drawn().items():
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def drawn() -> dict[str, str]:
    """Every picture by the name of its file."""
    films = made()
    pictures: dict[str, Callable[[Films], str]] = {
        "steps.svg": steps,
        "semantic-ids.svg": semantic_ids,
        "packing.svg": packing,
        "attention.svg": attention,
        "search.svg": search,
        "distillation.svg": distillation,
    }
    return {name: draw(films) for name, draw in pictures.items()}


def made() -> Films:
    vectors = np.array([attributes for attributes, _ in FILMS.values()], np.float32)
    books = {level: jnp.array(book, jnp.float32) for level, book in enumerate(CODEBOOKS)}
    width, sizes = vectors.shape[1], tuple(map(len, CODEBOOKS))
    tokenizer = Tokenizer(
        {"codebooks": books}, np.zeros(width, np.float32), 1.0, None, width, sizes
    )
    ids = disambiguate(tokenizer.encode(vectors), sizes)
    rng = np.random.default_rng(0)
    histories = Histories.of([rng.integers(0, len(FILMS), length) for length in LENGTHS])
    plan = Plan(True, rows=4, row_length=ROW, max_history=ROW)
    (batch,) = epoch_batches(histories, plan, seed=0, epoch=0)
    return Films(list(FILMS), ids, jax.device_put(build_trie(ids.codes)), histories, batch)


def steps(films: Films) -> str:
    page = Drawing(720, "An item's text becomes codes; a history becomes the next item's codes")
    page.text(8, 18, "1  Once for each item", "strong")
    page.labelled(8, 28, 150, ["item", "Aliens. Space, horror"])
    page.labelled(210, 28, 150, ["vector", "of its text"])
    page.labelled(412, 28, 130, ["tokenizer", "vector → codes"])
    page.labelled(594, 28, 118, ["semantic ID", films.codes_of("Aliens")], "chosen")
    for x, to in ((158, 210), (360, 412), (542, 594)):
        page.arrow(x, 52, to - 4)
    page.text(8, 106, "2  For each history", "strong")
    history = ("Star Wars", "Alien")
    for number, title in enumerate(history):
        page.labelled(8, 116 + 58 * number, 150, [title, films.codes_of(title)])
        page.arrow(158, 140 + 58 * number, 206)
    page.labelled(210, 138, 150, ["encoder", "a vector for each item,", "states that look back"])
    page.labelled(412, 146, 130, ["decoder", "one code at a time"])
    page.labelled(594, 146, 118, ["next codes", films.codes_of("Aliens")], "chosen")
    page.arrow(360, 170, 408)
    page.arrow(542, 170, 590)
    page.text(8, 250, "3  To answer", "strong")
    page.labelled(8, 260, 150, ["next codes", "their probabilities"])
    page.labelled(210, 260, 332, ["beam search down the trie", "only codes that some item has"])
    page.labelled(594, 260, 118, ["items", "Aliens, Star Trek, …"], "chosen")
    page.arrow(158, 284, 206)
    page.arrow(542, 284, 590)
    return page.svg()


_COLUMN, _LINE, _TOP = 128, 27, 44


def _points(films: Films) -> list[list[tuple[float, float]]]:
    """Where each node of each level stands: the leaves under each other, the others between."""
    trie, levels = films.trie, films.trie.levels
    count = len(films.titles)
    rows = np.arange(count, dtype=float).tolist()
    points = [[(70.0 + _COLUMN * levels, _TOP + _LINE * row) for row in rows]]
    for level in range(levels - 1, -1, -1):
        begins = np.asarray(trie.children[level])
        above = 1 if level == 0 else len({tuple(c[:level]) for c in films.ids.codes})
        heights = [y for _, y in points[0]]
        middles = [
            (heights[begins[node]] + heights[begins[node + 1] - 1]) / 2 for node in range(above)
        ]
        points.insert(0, [(70.0 + _COLUMN * level, y) for y in middles])
    return points


def _tree(
    films: Films,
    title: str,
    words: Callable[[int, int], str],
    kept: list[set[int]],
    right: Callable[[int], str],
) -> str:
    """The trie from the left to the right.

    Args:
        words: what stands above the line to a node of a level.
        kept: by level the nodes to mark.
        right: what stands behind a leaf's title.
    """
    page, trie = Drawing(720, title), films.trie
    points = _points(films)
    for level in range(trie.levels):
        page.text(70 + _COLUMN * (level + 1), 18, f"code {level + 1}", "small", "middle")
        begins = np.asarray(trie.children[level])
        for parent, (x, y) in enumerate(points[level]):
            for node in range(begins[parent], begins[parent + 1]):
                to = points[level + 1][node]
                kind = "on" if node in kept[level] else "line"
                page.line([(x + 14, y), (x + 52, to[1]), (to[0] - 14, to[1])], kind)
                page.text(x + 58, to[1] - 4, words(level, node), "small")
    page.labelled(30, points[0][0][1] - 16, 80, ["all items"])
    for level in range(trie.levels):
        for node, (x, y) in enumerate(points[level + 1]):
            page.box(x - 14, y - 10, 28, 20, "chosen" if node in kept[level] else "box")
            page.text(x, y + 4.5, str(np.asarray(trie.codes[level])[node]), "code", "middle")
    for leaf, (x, y) in enumerate(points[-1]):
        item = int(np.asarray(trie.item)[leaf])
        strong = "strong" if leaf in kept[-1] else ""
        page.text(x + 24, y + 4.5, films.titles[item], strong)
        page.text(712, y + 4.5, right(leaf), "small", "end")
    return page.svg()


def semantic_ids(films: Films) -> str:
    codes = films.ids.codes

    def words(level: int, node: int) -> str:
        return ""

    def right(leaf: int) -> str:
        return " ".join(map(str, codes[int(np.asarray(films.trie.item)[leaf])]))

    shared = [set() for _ in range(films.trie.levels)]
    return _tree(films, "The tree of semantic IDs of twelve films", words, shared, right)


def _shares(films: Films) -> list[dict[int, float]]:
    """By level, the dense head's share of every node among those with the same parent."""
    trie, count = films.trie, len(films.titles)
    head = np.array([score for _, score in FILMS.values()], np.float32)
    item = np.asarray(trie.item)
    scores = np.where(item >= 0, head[np.maximum(item, 0)], -np.inf).astype(np.float32)
    leaves = jnp.arange(count, dtype=jnp.int32)[None]
    scores = jnp.broadcast_to(jnp.asarray(scores), (1, count, len(scores)))
    shares = []
    for children, share in next_code_shares(scores, leaves, trie, trie.levels):
        valid = np.asarray(children.valid)
        nodes, values = np.asarray(children.node)[valid], np.asarray(share)[valid]
        shares.append(dict(zip(nodes.tolist(), values.tolist(), strict=True)))
    return shares


def search(films: Films) -> str:
    """Beam search, with the shares standing in for what a decoder says."""
    shares, trie = _shares(films), films.trie
    beams, kept = {0: 1.0}, []
    for level in range(trie.levels):
        reached = {}
        for parent, probability in beams.items():
            children = children_of(trie, level, jnp.int32(parent))
            for node in np.asarray(children.node)[np.asarray(children.valid)].tolist():
                reached[node] = probability * shares[level][node]
        beams = dict(sorted(reached.items(), key=lambda entry: -entry[1])[:BEAM])
        kept.append(set(beams))
    seen = [set(range(len(share))) if not level else set() for level, share in enumerate(shares)]
    for level in range(1, trie.levels):
        begins = np.asarray(trie.children[level])
        for parent in kept[level - 1]:
            seen[level] |= set(range(begins[parent], begins[parent + 1]))

    def words(level: int, node: int) -> str:
        return f"{shares[level][node]:.2f}" if node in seen[level] else ""

    def right(leaf: int) -> str:
        return f"{beams[leaf]:.2f}" if leaf in beams else ""

    return _tree(films, "Beam search of width 2 down the trie", words, kept, right)


def distillation(films: Films) -> str:
    """What the dense head says of every item, summed from the leaves to the prefixes."""
    shares, trie = _shares(films), films.trie
    target = films.titles.index("Aliens")
    leaf = int(np.asarray(trie.leaf)[target])
    way = [int(node) for _, node in path_to(trie, jnp.int32(leaf))]
    begins = [np.asarray(children) for children in trie.children]
    scores = np.exp([score for _, score in FILMS.values()])
    of_leaf = (scores / scores.sum())[np.asarray(trie.item)[: len(films.titles)]]
    above = [0, *way[:-1]]

    def words(level: int, node: int) -> str:
        first, last = begins[level][above[level]], begins[level][above[level] + 1]
        return f"{shares[level][node]:.2f}" if first <= node < last else ""

    def right(leaf: int) -> str:
        return f"{of_leaf[leaf]:.2f}"

    title = "The dense head's probabilities of the items, summed over the trie"
    return _tree(films, title, words, [{node} for node in way], right)


def packing(films: Films) -> str:
    page = Drawing(720, "Twelve histories, padded and packed")
    cell, lengths = 18, [length - 1 for length in LENGTHS]
    longest = max(lengths)
    filled = sum(lengths) / (longest * len(lengths))
    page.text(8, 18, f"Padded to the longest: {filled:.0%} filled", "strong")
    for row, length in enumerate(lengths):
        for slot in range(longest):
            kind = COLOURS[row % 4] if slot < length else "none"
            page.box(8 + cell * slot, 30 + cell * row, cell - 3, cell - 3, kind, 2)
    segments = np.asarray(films.batch.inputs.segments)
    rows = segments[(segments >= 0).any(axis=1)]
    left = 300
    share = (rows >= 0).mean()
    page.text(left, 18, f"Packed into rows of {ROW}: {share:.0%} filled", "strong")
    for row, slots in enumerate(rows):
        for slot, segment in enumerate(slots):
            kind = COLOURS[segment % 4] if segment >= 0 else "none"
            page.box(left + cell * slot, 30 + cell * row, cell - 3, cell - 3, kind, 2)
    page.text(left, 50 + cell * len(rows), "A colour is a history; the last item of each is only")
    page.text(left, 68 + cell * len(rows), "a target, so one of n items fills n - 1 slots.")
    return page.svg()


def attention(films: Films) -> str:
    sizes = films.ids.codebook_sizes
    settings = ModelConfig(d_model=8, encoder_layers=1, heads=2, d_ff=16)
    model = EncoderDecoder(
        settings, num_items=len(films.titles), codebook_sizes=sizes, rngs=nnx.Rngs(0)
    )
    encoded = model.encode(films.batch.inputs, Catalogue(films.ids.codes), every_position=True)
    segments = np.asarray(films.batch.inputs.segments)
    row = int(np.argmax(segments.max(axis=1)))  # the one with most histories
    mask, of_slot = np.asarray(encoded.mask)[row], segments[row]
    page, cell, left, top = Drawing(720, "What each position of a packed row sees"), 18, 96, 48
    page.text(left, 18, "is seen", "small")
    page.text(8, top + 12, "position", "small")
    for slot, segment in enumerate(of_slot):
        kind = COLOURS[segment % 4] if segment >= 0 else "none"
        page.box(left + cell * slot, 26, cell - 3, cell - 3, kind, 2)
        page.box(left - 24, top + cell * slot, cell - 3, cell - 3, kind, 2)
    for query, sees in enumerate(mask):
        for slot, there in enumerate(sees):
            seen = there and of_slot[query] >= 0
            kind = COLOURS[of_slot[query] % 4] if seen else "none"
            page.box(left + cell * slot, top + cell * query, cell - 3, cell - 3, kind, 2)
    x = left + cell * ROW + 24
    for number, words in enumerate(
        [
            "One row of the packed batch; neighbours of",
            "one colour are a history. A position sees",
            "itself and what came before it there, never",
            "what comes after, and nothing of the others.",
            "",
            "So the state at every position may be asked",
            "for the item that came next: one pass trains",
            "all of them.",
        ]
    ):
        page.text(x, top + 14 + 20 * number, words)
    return page.svg()


if __name__ == "__main__":
    main()
