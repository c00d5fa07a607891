"""A side of bench_decoding.py: Hugging Face's T5 and its own beam search, with genrec's weights.

See `genrec.export.t5` for the weights. Here T5's stacks have a table each, so that a code has one
token, where an exported folder needs one to be read and one to be written.
"""

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from transformers import (  # pyright: ignore[reportMissingImports]
    T5Config,
    T5ForConditionalGeneration,
)

from bench.training_work import StepWork, timed
from bench.turns import Answer, Measure, serve

START, FIRST_CODE = 0, 1
FEW = 32
"""Users of a call to warm up with: a large one takes too long to be thrown away."""
BEAMS_AT_ONCE = 3_200
"""More than these are split: each has keys and values of the history of its own, 1 MB of them."""

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
            self.model = t5(dict(weights), settings["t5"], attention)

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
            lists = self._generate(histories[first : first + size], beam, with_scores)
            items += lists[0]
            scores += lists[1]
        return items, scores

    @torch.inference_mode()
    def _generate(
        self, histories: np.ndarray, beam: int, with_scores: bool
    ) -> tuple[list[list[int]], list[list[float]]]:
        rows = len(histories)
        tokens = torch.from_numpy(self.tokens[histories].reshape(rows, -1))
        output: Any = self.model.generate(
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
        written = output.sequences[:, 1:].tolist()
        items = [self.items.get(tuple(each), -1) for each in written]
        scores = output.sequences_scores.tolist() if with_scores else [0.0] * len(items)
        starts = range(0, rows * beam, beam)
        return [items[i : i + beam] for i in starts], [scores[i : i + beam] for i in starts]

    def calls(self, beam: int, batch: int) -> Iterator[StepWork]:
        """Recommends to one batch of users whenever it is asked for the next, first to a few."""
        users = len(self.histories)
        self(self.histories[: min(batch, FEW)], beam)
        yield StepWork(min(batch, FEW), 0, 0, 0)
        for first in itertools.count(0, batch):
            self(self.histories[np.arange(first, first + batch) % users], beam)
            yield StepWork(batch, 0, 0, 0)


def t5(weights: Weights, sizes: dict[str, Any], attention: str) -> T5ForConditionalGeneration:
    """The model that computes what genrec's does, with T5's own weights."""
    config = T5Config(
        vocab_size=len(weights["lm_head.weight"]),
        dropout_rate=0.0,
        pad_token_id=START,
        decoder_start_token_id=START,
        attn_implementation=attention,
        **sizes,
    )
    model = T5ForConditionalGeneration(config).eval()
    for stack in (model.encoder, model.decoder):  # a table each, not the shared one
        stack.set_input_embeddings(torch.nn.Embedding(config.vocab_size, config.d_model))
    tensors = {name: torch.from_numpy(np.array(x, np.float32)) for name, x in weights.items()}
    model.load_state_dict(tensors, strict=True)
    return model


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
