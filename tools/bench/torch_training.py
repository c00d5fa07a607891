"""A side of bench_training.py: TIGER as the open re-implementations train it, in PyTorch.

Hugging Face's T5 on windows: every prefix of a history is a row, an item is a token for each of its
codes, a hashed user token comes first. Rows are padded to the longest window there may be, or
("grouped") sorted by length as the Hugging Face trainer's `group_by_length` does and padded to the
longest of their batch.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from transformers import (  # pyright: ignore[reportMissingImports]
    T5Config,
    T5ForConditionalGeneration,
)

from bench.training_work import (
    AT_ONCE,
    TRAINING,
    StepWork,
    TrainingLog,
    decoder_flops,
    encoder_flops,
    evenly,
    matmul_size,
    timed,
    timed_matmul,
)
from bench.turns import Answer, Measure, serve

PADDING, FIRST_CODE = 0, 1


class Windows:
    """Every prefix of every history, its last `max_history` items only, as tokens of T5."""

    def __init__(self, log: TrainingLog, max_history: int, user_tokens: int):
        begins = np.cumsum(log.lengths) - log.lengths
        user = np.repeat(np.arange(len(log.lengths)), log.lengths)
        position = np.arange(len(log.items))
        self.targets = position[position > begins[user]]
        user = user[self.targets]
        self.lengths = np.minimum(self.targets - begins[user], max_history)
        offsets = FIRST_CODE + np.cumsum(log.codebook_sizes) - log.codebook_sizes
        self.code_tokens = (log.codes + offsets)[log.items]
        first_user = FIRST_CODE + int(log.codebook_sizes.sum())
        self.user_tokens = first_user + log.users[user] % user_tokens
        self.vocabulary = first_user + user_tokens

    def batch(self, rows: np.ndarray, width: int) -> dict[str, torch.Tensor]:
        """The windows with these numbers, padded to `width` items."""
        lengths, targets = self.lengths[rows][:, None], self.targets[rows][:, None]
        slots = np.arange(width)
        filled = slots < lengths
        source = np.where(filled, targets - lengths + slots, targets)
        tokens = np.where(filled[..., None], self.code_tokens[source], PADDING)
        tokens = np.c_[self.user_tokens[rows], tokens.reshape(len(rows), -1)]
        arrays = {
            "input_ids": tokens,
            "attention_mask": tokens != PADDING,
            "labels": self.code_tokens[targets[:, 0]],
        }
        return {name: torch.from_numpy(x.astype(np.int64)) for name, x in arrays.items()}

    def batches(
        self, size: int, padded_to: int | None, seed: int
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Whole batches of shuffled windows, epoch after epoch."""
        generator = np.random.default_rng(seed)
        while True:
            order = generator.permutation(len(self.targets))
            order = order[: len(order) // size * size]
            if padded_to is None:
                blocks = np.split(order, range(AT_ONCE * size, len(order), AT_ONCE * size))
                order = np.concatenate([b[np.argsort(self.lengths[b])] for b in blocks])
            batches = order.reshape(-1, size)
            for rows in evenly(batches, lambda rows: int(self.lengths[rows].max())):
                yield self.batch(rows, padded_to or int(self.lengths[rows].max()))


class Training:
    """T5 of TIGER's size and AdamW, in float32 (on a GPU with TF32 products, as in JAX)."""

    def __init__(self, settings: Answer, vocabulary: int):
        torch.set_num_threads(settings["threads"])
        torch.set_float32_matmul_precision("high" if settings["device"] == "gpu" else "highest")
        torch.manual_seed(0)
        self.device = torch.device("cuda" if settings["device"] == "gpu" else "cpu")
        config = T5Config(
            vocab_size=vocabulary,
            dropout_rate=settings["dropout"],
            feed_forward_proj="relu",
            pad_token_id=PADDING,
            decoder_start_token_id=PADDING,
            eos_token_id=None,
            use_cache=False,
            attn_implementation=settings["attention"],
            **settings["size"],
        )
        self.config = config
        self.model = T5ForConditionalGeneration(config).train().to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            fused=True,
        )
        self.forward = torch.compile(self.model) if settings["compile"] else self.model

    def step(self, batch: dict[str, torch.Tensor]) -> StepWork:
        on_device = {name: x.to(self.device, non_blocking=True) for name, x in batch.items()}
        self.optimizer.zero_grad(set_to_none=True)
        self.forward(**on_device).loss.backward()
        self.optimizer.step()
        rows, length = batch["input_ids"].shape
        levels, size = batch["labels"].shape[1], self.config
        shared = (size.d_model, size.num_heads * size.d_kv, size.d_ff)
        flops = (
            encoder_flops(length, size.num_layers, *shared)
            + decoder_flops(length, 1, levels, size.num_decoder_layers or 0, *shared)
            + 2 * levels * size.d_model * size.vocab_size
        )
        filled = int(batch["attention_mask"].sum())
        return StepWork(rows, filled, rows * length, TRAINING * rows * flops)

    def finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def prepare(settings: Answer) -> tuple[Answer, Measure]:
    """Gets ready for "matmul", "train" (padded or grouped windows) or "tune"."""
    if settings["work"] == "matmul":
        return prepare_matmul(settings)
    if settings["work"] == "tune":
        return prepare_choice(settings)
    windows = windows_of(settings)
    training = Training(settings, windows.vocabulary)
    width = settings["max_history"] if settings["padded"] else None
    steps = map(training.step, windows.batches(settings["batch"], width, seed=0))
    start = time.perf_counter()
    for _ in range(2):
        next(steps)
    training.finish()
    ready = {"preparation_seconds": time.perf_counter() - start}

    def measure(seconds: float) -> Answer:
        return timed(steps, training.finish, seconds) | device_memory(training.device)

    return ready | {"parameters": sum(p.numel() for p in training.model.parameters())}, measure


def windows_of(settings: Answer) -> Windows:
    log = TrainingLog.load(Path(settings["log"]))
    return Windows(log, settings["max_history"], settings["user_tokens"])


def prepare_matmul(settings: Answer) -> tuple[Answer, Measure]:
    torch.set_num_threads(settings["threads"])
    torch.set_float32_matmul_precision("high" if settings["device"] == "gpu" else "highest")
    device = torch.device("cuda" if settings["device"] == "gpu" else "cpu")
    size = matmul_size(settings["device"])
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    out = torch.empty_like(left)

    def multiply() -> None:
        torch.matmul(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize()

    multiply()
    return {}, lambda seconds: timed_matmul(multiply, size, seconds)


def prepare_choice(settings: Answer) -> tuple[Answer, Measure]:
    """Finds out which batch and which attention are fastest here, on padded windows."""
    windows = windows_of(settings)
    candidates: dict[tuple[str, int], Any] = {}
    for attention in settings["attentions"]:
        training = Training({**settings, "attention": attention}, windows.vocabulary)
        for batch in settings["batches"]:
            steps = map(training.step, windows.batches(batch, settings["max_history"], seed=0))
            next(steps)
            candidates[attention, batch] = (steps, training.finish)

    def measure(seconds: float) -> Answer:
        speeds, others = [], 0.0
        for (attention, batch), (steps, finish) in candidates.items():
            answer = timed(steps, finish, seconds)
            others = max(others, answer["others"])
            speed = answer["targets"] / answer["seconds"]
            speeds.append({"attention": attention, "batch": batch, "targets_per_second": speed})
        return {"speeds": speeds, "others": others}

    return {}, measure


def device_memory(device: torch.device) -> Answer:
    if device.type == "cpu":
        return {}
    return {"device_memory": torch.cuda.max_memory_allocated()}


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    serve(prepare)
