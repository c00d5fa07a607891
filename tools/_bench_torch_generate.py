"""A side of bench_decoding.py: Hugging Face's T5 and its own beam search, with genrec's weights.

What differs between the two models is folded into the weights, so that they compute the same:

- T5 does not scale attention scores: the scale goes into the queries' weights;
- genrec scales embeddings: so are T5's tables;
- genrec has a table for each level, T5 one vocabulary: every level gets tokens of its own;
- genrec's decoder adds a vector for the level to the code before: that goes into the rows of the
  decoder's table, which is one of its own, for each code has one place in a tuple. The token that
  T5 begins with is the first level's vector;
- T5's relative positions are genrec's in the encoder, and in the decoder distances between levels.
"""

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from _bench_turns import Answer, Measure, serve
from _bench_work import Step, timed
from transformers import (  # pyright: ignore[reportMissingImports]
    T5Config,
    T5ForConditionalGeneration,
)

START, FIRST_CODE = 0, 1
FEW = 32
"""Users of a call to warm up with: a large one takes too long to be thrown away."""
BEAMS_AT_ONCE = 3_200
"""More than these are split: each has keys and values of the history of its own, 1 MB of them."""
BUCKETS = 32

Weights = dict[str, np.ndarray]


class Generator:
    """T5 that recommends items: `generate` with a prefix function over the tuples there are."""

    def __init__(self, settings: Answer, attention: str):
        with np.load(settings["task"]) as task:
            codes, sizes = task["codes"], task["codebook_sizes"]
            self.histories = task["histories"]
        self.levels = codes.shape[1]
        self.tokens = FIRST_CODE + codes + np.cumsum(sizes) - sizes
        self.items = {tokens: item for item, tokens in enumerate(map(tuple, self.tokens.tolist()))}
        children: dict[tuple[int, ...], set[int]] = {}
        for tokens in self.items:
            for level, token in enumerate(tokens):
                children.setdefault(tokens[:level], set()).add(token)
        self.children = {prefix: sorted(tokens) for prefix, tokens in children.items()}
        with np.load(settings["weights"]) as weights:
            self.model = t5(dict(weights), settings["size"], attention)

    def allowed(self, _: int, prefix: torch.Tensor) -> list[int]:
        """The tokens that may come next. A prefix that nothing begins with has no chance anyway."""
        return self.children.get(tuple(prefix.tolist()[1:]), [START])

    def __call__(
        self, histories: np.ndarray, beam: int, *, with_scores: bool = False
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Items for each history, best first; and their scores if asked for, which takes longer."""
        items, scores = [], []
        size = max(1, BEAMS_AT_ONCE // beam)
        for first in range(0, len(histories), size):
            found = self._generate(histories[first : first + size], beam, with_scores)
            items += found[0]
            scores += found[1]
        return items, scores

    @torch.inference_mode()
    def _generate(
        self, histories: np.ndarray, beam: int, with_scores: bool
    ) -> tuple[list[list[int]], list[list[float]]]:
        rows = len(histories)
        tokens = torch.from_numpy(self.tokens[histories].reshape(rows, -1))
        found: Any = self.model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=self.levels,
            num_beams=beam,
            num_return_sequences=beam,
            prefix_allowed_tokens_fn=self.allowed,
            renormalize_logits=True,  # over the allowed tokens
            length_penalty=0.0,  # the plain sum
            early_stopping=False,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=with_scores,
        )
        written = found.sequences[:, 1:].tolist()
        items = [self.items.get(tuple(each), -1) for each in written]
        scores = found.sequences_scores.tolist() if with_scores else [0.0] * len(items)
        starts = range(0, rows * beam, beam)
        return [items[i : i + beam] for i in starts], [scores[i : i + beam] for i in starts]

    def calls(self, beam: int, batch: int) -> Iterator[Step]:
        """Recommends to one batch of users whenever it is asked for the next, first to a few."""
        users = len(self.histories)
        self(self.histories[: min(batch, FEW)], beam)
        yield Step(min(batch, FEW), 0, 0, 0)
        for first in itertools.count(0, batch):
            self(self.histories[np.arange(first, first + batch) % users], beam)
            yield Step(batch, 0, 0, 0)


def t5(weights: Weights, size: dict[str, int], attention: str) -> T5ForConditionalGeneration:
    """The model that computes what genrec's does."""
    state = t5_state(weights, size)
    config = T5Config(
        vocab_size=len(state["lm_head.weight"]),
        dropout_rate=0.0,
        feed_forward_proj="relu",
        pad_token_id=START,
        decoder_start_token_id=START,
        eos_token_id=None,
        tie_word_embeddings=False,
        relative_attention_num_buckets=BUCKETS,
        relative_attention_max_distance=128,
        attn_implementation=attention,
        **size,
    )
    model = T5ForConditionalGeneration(config).eval()
    for stack in (model.encoder, model.decoder):  # a table each, not the shared one
        stack.set_input_embeddings(torch.nn.Embedding(config.vocab_size, config.d_model))
    tensors = {name: torch.from_numpy(np.array(x, np.float32)) for name, x in state.items()}
    model.load_state_dict(tensors, strict=True)
    return model


def t5_state(weights: Weights, size: dict[str, int]) -> Weights:
    """genrec's weights by T5's names, see above."""
    levels = len(weights["begin/embedding"])
    scale = np.float32(size["d_model"] ** 0.5)
    begin = weights["begin/embedding"] * scale
    codes = [weights[f"codes/{level}/embedding"] * scale for level in range(levels)]
    read = np.concatenate([np.zeros_like(begin[:1]), *codes])
    # The last level's codes are followed by none.
    folded = [codes[level] + begin[level + 1] for level in range(levels - 1)]
    heads = [weights[f"logits/{level}/kernel"].T for level in range(levels)]
    distances = np.zeros((BUCKETS, size["num_heads"]), np.float32)
    distances[:levels] = weights["level_bias/embedding"]
    positions = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    state = {
        "shared.weight": read,
        "encoder.embed_tokens.weight": read,
        "decoder.embed_tokens.weight": np.concatenate([begin[:1], *folded, codes[-1]]),
        "lm_head.weight": np.concatenate([np.zeros_like(heads[0][:1]), *heads]),
        f"encoder.{positions}": weights["relative_positions/bias/embedding"],
        f"decoder.{positions}": distances,
        "encoder.final_layer_norm.weight": weights["encoder_norm/scale"],
        "decoder.final_layer_norm.weight": weights["decoder_norm/scale"],
    }

    def attention(name: str, norm: str, query_key_value: list[np.ndarray], output: str) -> None:
        query, key, value = query_key_value
        layer, kind = name.rsplit(".", 1)
        scaled = query * np.float32(size["d_kv"] ** -0.5)
        parts = {"q": scaled, "k": key, "v": value, "o": weights[f"{output}/kernel"]}
        state.update({f"{layer}.{kind}.{part}.weight": x.T for part, x in parts.items()})
        state[f"{layer}.layer_norm.weight"] = weights[f"{norm}/scale"]

    def feed_forward(layer: str, name: str) -> None:
        state[f"{layer}.DenseReluDense.wi.weight"] = weights[f"{name}/up/kernel"].T
        state[f"{layer}.DenseReluDense.wo.weight"] = weights[f"{name}/down/kernel"].T
        state[f"{layer}.layer_norm.weight"] = weights[f"{name}_norm/scale"]

    for i in range(size["num_layers"]):
        mine, theirs = f"encoder/{i}", f"encoder.block.{i}.layer"
        parts = np.split(weights[f"{mine}/query_key_value/kernel"], 3, axis=1)
        attention(f"{theirs}.0.SelfAttention", f"{mine}/attention_norm", parts, f"{mine}/output")
        feed_forward(f"{theirs}.1", f"{mine}/feed_forward")
    for i in range(size["num_decoder_layers"]):
        mine, theirs = f"decoder/{i}", f"decoder.block.{i}.layer"
        parts = np.split(weights[f"{mine}/query_key_value/kernel"], 3, axis=1)
        attention(f"{theirs}.0.SelfAttention", f"{mine}/self_norm", parts, f"{mine}/self_output")
        parts = np.split(weights[f"{mine}/key_value/kernel"], 2, axis=1)
        parts = [weights[f"{mine}/query/kernel"], *parts]
        attention(
            f"{theirs}.1.EncDecAttention", f"{mine}/cross_norm", parts, f"{mine}/cross_output"
        )
        feed_forward(f"{theirs}.2", f"{mine}/feed_forward")
    return state


def prepare(settings: Answer) -> tuple[Answer, Measure]:
    """Gets ready, with the attention that is faster here."""
    torch.set_num_threads(settings["threads"])
    torch.set_float32_matmul_precision("highest")
    candidates = {name: Generator(settings, name) for name in ("eager", "sdpa")}
    seconds = {name: [] for name in candidates}
    for _ in range(3):
        for name, generator in candidates.items():
            start = time.perf_counter()
            generator(generator.histories[:FEW], min(settings["beams"]))
            seconds[name].append(time.perf_counter() - start)
    attention = min(seconds, key=lambda name: min(seconds[name]))
    generator = candidates[attention]

    def measure(request: Answer) -> Answer:
        if "users" in request:
            histories = generator.histories[: request["users"]]
            items, scores = generator(histories, request["beam"], with_scores=True)
            return {"items": items, "scores": scores}
        steps = generator.calls(request["beam"], request["batch"])
        return timed(steps, lambda: None, request["seconds"])

    return {"attention": attention, "attention_seconds": seconds}, measure


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    serve(prepare)
