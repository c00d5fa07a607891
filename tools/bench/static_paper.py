"""STATIC's constrained search, to measure genrec's beside it (Su et al. 2026, arXiv 2602.22647).

Written from the paper's description. The trie is flattened into one sparse matrix, whose rows are
the states of the trie and whose entries are pairs (token, next state), one row's behind the other.
The first two levels do without it: whether a token may be first, and whether one may follow another
and to what state that leads, are dense tables. Further down, each beam reads as many consecutive
entries as any state of that level has, and those that are not its own are masked.

Two ways to use the entries are measured. In the paper the log-probabilities of valid tokens are put
into rows as wide as the vocabulary, with -inf elsewhere, and the best of all beams' rows are chosen
("scattered"). The code that was released chooses among the entries themselves ("entries"), and on
the dense level among the best tokens of each beam.

Array shapes: B histories, M beams, K tokens of the vocabulary, the same at every level, R entries.
"""

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

DENSE = 2
"""Levels with tables in place of the matrix."""

Lists = tuple[Int[Array, "B M L"], Float[Array, "B M"]]


class Entries(NamedTuple):
    """Tokens that may come next after each beam, and the states they lead to."""

    tokens: Int[Array, "B M R"]
    states: Int[Array, "B M R"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Matrix:
    """The tuples that there are. E entries, S states that have any.

    Attributes:
        first: bool (K,), whether a tuple begins with the token.
        second: bool (K, K), whether one begins with both tokens.
        state: int32 (K, K), what those lead to.
        begin: int32 (S + 1,), where each state's entries begin.
        entries: int32 (E, 2), token and next state.
        bursts: the most entries of a state, for each level below the dense ones.
    """

    first: Bool[Array, " K"]
    second: Bool[Array, "K K"]
    state: Int[Array, "K K"]
    begin: Int[Array, " S"]
    entries: Int[Array, "E 2"]
    bursts: tuple[int, ...] = field(metadata={"static": True})


def build_matrix(codes: np.ndarray, size: int) -> Matrix:
    """The matrix of int (N, L) distinct tuples of tokens below `size`; L is at least 3."""
    number = np.zeros(len(codes), np.int64)
    for column in codes.T:
        number = number * size + column
    number.sort()
    levels = codes.shape[1]
    prefixes = [number]
    for _ in range(levels - 1):
        above = prefixes[0] // size
        prefixes.insert(0, above[np.diff(above, prepend=-1) > 0])

    first, second = np.zeros(size, bool), np.zeros(size * size, bool)
    state = np.zeros(size * size, np.int32)
    first[prefixes[0]] = True
    second[prefixes[1]] = True
    state[prefixes[1]] = np.arange(len(prefixes[1]))

    entries, begins, bursts = [], [], []
    states, total = 0, 0  # of the levels above; entries so far
    for above, here in itertools.pairwise(prefixes[1:]):
        begin = np.searchsorted(here, above * size)
        bursts.append(int(np.diff(begin, append=len(here)).max()))
        begins.append(total + begin)
        states, total = states + len(above), total + len(here)
        entries.append(np.stack([here % size, states + np.arange(len(here))], axis=1))
    return Matrix(
        jnp.asarray(first),
        jnp.asarray(second.reshape(size, size)),
        jnp.asarray(state.reshape(size, size)),
        jnp.asarray(np.append(np.concatenate(begins), total).astype(np.int32)),
        jnp.asarray(np.concatenate(entries).astype(np.int32)),
        tuple(bursts),
    )


def static_search(
    matrix: Matrix, logits: list[Float[Array, "B M K"]], *, beam: int, scattered: bool
) -> Lists:
    """The best tuples under fixed logits for each place among the beams; scores of -inf are none.

    Args:
        scattered: as in the paper; otherwise as in the code that was released.
    """
    gained = jnp.where(matrix.first, jax.nn.log_softmax(logits[0][:, 0]), -jnp.inf)
    score, token = jax.lax.top_k(gained, min(beam, gained.shape[1]))
    state, written = token, [token]
    for level in range(1, len(logits)):
        gained = jax.nn.log_softmax(logits[level][:, : token.shape[1]])
        if level < DENSE:
            entries, gained = _dense(matrix, token, gained, beam, scattered)
        else:
            entries, gained = _sparse(matrix, state, gained, level, scattered)
        total = (score[:, :, None] + gained).reshape(len(score), -1)
        score, chosen = jax.lax.top_k(total, min(beam, total.shape[1]))
        origin, place = chosen // gained.shape[2], chosen % gained.shape[2]
        if entries is None:  # any token of the vocabulary, from the dense tables
            state = matrix.state[jnp.take_along_axis(token, origin, axis=1), place]
            token = place
        elif scattered:
            entry = _entry(entries.tokens, origin, place)
            state = _chosen(entries.states, origin * entries.states.shape[2] + entry)
            token = place
        else:
            token, state = _chosen(entries.tokens, chosen), _chosen(entries.states, chosen)
        written = [jnp.take_along_axis(earlier, origin, axis=1) for earlier in written]
        written.append(token)
    return jnp.stack(written, axis=-1), score


def _dense(
    matrix: Matrix,
    token: Int[Array, "B M"],
    gained: Float[Array, "B M K"],
    beam: int,
    scattered: bool,
) -> tuple[Entries | None, Float[Array, "B M _"]]:
    """The second level's candidates and what they gain; None where those are all tokens."""
    gained = jnp.where(matrix.second[token], gained, -jnp.inf)
    if scattered:
        return None, gained
    gained, tokens = jax.lax.top_k(gained, min(beam, gained.shape[2]))
    return Entries(tokens, matrix.state[token[:, :, None], tokens]), gained


def _sparse(
    matrix: Matrix,
    state: Int[Array, "B M"],
    gained: Float[Array, "B M K"],
    level: int,
    scattered: bool,
) -> tuple[Entries, Float[Array, "B M _"]]:
    """The entries of each beam's state, and what they or all tokens gain."""
    offset = jnp.arange(matrix.bursts[level - DENSE], dtype=jnp.int32)[None, None]
    begin, end = matrix.begin[state], matrix.begin[state + 1]
    entries = matrix.entries.at[begin[:, :, None] + offset].get(mode="clip")
    valid = offset < (end - begin)[:, :, None]
    tokens = jnp.where(valid, entries[..., 0], gained.shape[2] + offset)  # none such
    read = jnp.take_along_axis(gained, entries[..., 0], axis=2)
    read = jnp.where(valid, read, -jnp.inf)
    if scattered:
        row, place = jnp.arange(len(state))[:, None, None], jnp.arange(state.shape[1])[:, None]
        nothing = jnp.full_like(gained, -jnp.inf)
        read = nothing.at[row, place[None], tokens].set(read, mode="drop", unique_indices=True)
    return Entries(tokens, entries[..., 1]), read


def _entry(
    tokens: Int[Array, "B M R"], origin: Int[Array, "B M"], token: Int[Array, "B M"]
) -> Int[Array, "B M"]:
    """Which entry of the beam that it comes from holds a token."""
    theirs = jnp.take_along_axis(tokens, origin[:, :, None], axis=1)
    return (theirs == token[:, :, None]).argmax(axis=2)


def _chosen(values: Array, chosen: Int[Array, "B M"]) -> Int[Array, "B M"]:
    return jnp.take_along_axis(values.reshape(len(values), -1), chosen, axis=1)
