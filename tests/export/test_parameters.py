"""What is exported under plain names suffices to compute every score, as its README says."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from genrec.errors import UserError
from genrec.export import export_parameters
from genrec.model.weights import flat
from small_loaded import TIGER, random_run
from small_run import ITEMS
from tensors import read_tensors

IDS = [f"i{n:03}" for n in range(ITEMS)]
FUSED = (
    *("model.item_head=true", "model.content=true", "model.look_ahead=true"),
    *("model.repeats=true", "model.time_gaps=true", "decoding.dense_share=0.5"),
)
SASREC = ("model.codes=false", "model.item_head=true", "decoding.dense_share=1.0")
RECIPES = {"codes": (), "fused": FUSED, "sasrec": SASREC, "tiger": TIGER}


class Reference:
    """The README's text in NumPy, in float64, one history at a time."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        self.model, self.sizes = config["model"], config["codebook_sizes"]
        self.items = load_file(folder / "items.safetensors")
        self.names = json.loads((folder / "items.json").read_text())
        loaded = load_file(folder / "model.safetensors")
        self.weights = {name: value.astype(np.float64) for name, value in loaded.items()}
        self.heads = self.model["heads"]
        self.vectors = np.zeros((config["items"], self.model["d_model"]))
        if self.model["codes"]:
            for level, codes in enumerate(self.items["codes"].T):
                self.vectors += self.row(f"codes.{level}", codes)
        if "item.embedding" in self.weights:
            own = self.row("item", np.arange(config["items"]))
            self.vectors += np.where(self.items["seen"][:, None], own, 0)
        if "content.kernel" in self.weights:
            self.vectors += self.items["content"] @ self.weights["content.kernel"]

    def row(self, name: str, numbers: Any) -> np.ndarray:
        return self.weights[f"{name}.embedding"][numbers] * self.model["d_model"] ** 0.5

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * self.weights[f"{name}.scale"]

    def attend(self, query, key, value, bias, mask) -> np.ndarray:
        query, key, value = (
            np.moveaxis(x.reshape(len(x), self.heads, -1), 1, 0) for x in (query, key, value)
        )
        scores = query @ np.swapaxes(key, 1, 2) / query.shape[-1] ** 0.5 + bias
        scores = np.exp(np.where(mask, scores, -np.inf))
        read = scores / scores.sum(-1, keepdims=True) @ value
        return np.moveaxis(read, 0, 1).reshape(read.shape[1], -1)

    def by_itself(self, x: np.ndarray, layer: str, kind: str, output: str, bias, mask):
        inner = self.norm(x, f"{layer}.{kind}_norm")
        all_three = inner @ self.weights[f"{layer}.query_key_value.kernel"]
        query, key, value = np.split(all_three, 3, axis=1)
        return (
            x
            + self.attend(query, key, value, bias, mask) @ self.weights[f"{layer}.{output}.kernel"]
        )

    def forward(self, x: np.ndarray, layer: str) -> np.ndarray:
        up, down = (self.weights[f"{layer}.feed_forward.{part}.kernel"] for part in ("up", "down"))
        return x + np.maximum(self.norm(x, f"{layer}.feed_forward_norm") @ up, 0) @ down

    def encode(self, history: Sequence[int], seconds: Sequence[int] | None, user: str | None):
        history = list(history)[-self.model["max_history"] :]
        if self.model["tokens"] == "items":
            x = self.vectors[history]
            if "gap.embedding" in self.weights:
                gaps = np.zeros(len(history), int)
                if seconds is not None:
                    apart = np.diff(np.array(seconds[-len(history) :]))
                    gaps[1:] = 1 + np.floor(np.log2(1 + apart))
                x = x + self.row("gap", gaps)
        else:
            codes = self.items["codes"][history]
            each = [self.row(f"codes.{level}", column) for level, column in enumerate(codes.T)]
            x = np.stack(each, axis=1).reshape(-1, self.model["d_model"])
        if user is not None and "user.embedding" in self.weights:
            hashed = hashlib.blake2b(user.encode(), digest_size=4).digest()
            count = len(self.weights["user.embedding"])
            x = np.concatenate([self.row("user", [int.from_bytes(hashed, "little") % count]), x])
        causal = self.model["encoder"] == "causal"
        place = np.arange(len(x))
        later = place[None] - place[:, None]
        n, distance = (32 if causal else 16), np.abs(later)
        far = np.log(2 * np.maximum(distance, 1) / n) / np.log(256 / n) * n / 2
        bucket = np.where(distance < n / 2, distance, np.minimum(n / 2 + np.floor(far), n - 1))
        bucket = bucket.astype(int) + (0 if causal else 16 * (later > 0))
        bias = np.moveaxis(self.weights["relative_positions.bias.embedding"][bucket], 2, 0)
        mask = later <= 0 if causal else np.ones_like(later, bool)
        for layer in range(self.model["encoder_layers"]):
            name = f"encoder.{layer}"
            x = self.forward(self.by_itself(x, name, "attention", "output", bias, mask), name)
        return self.norm(x, "encoder_norm")

    def decode(self, states: np.ndarray, codes: np.ndarray) -> np.ndarray:
        levels = len(self.sizes)
        x = self.row("begin", np.arange(levels))
        if self.model["encoder"] == "causal":
            x = x + states[-1]
        for level in range(1, levels):
            x[level] += self.row(f"codes.{level - 1}", codes[level - 1])
        apart = np.arange(levels)[:, None] - np.arange(levels)[None]
        bias = np.moveaxis(self.weights["level_bias.embedding"][np.maximum(apart, 0)], 2, 0)
        for layer in range(self.model["decoder_layers"]):
            name = f"decoder.{layer}"
            x = self.by_itself(x, name, "self", "self_output", bias, apart >= 0)
            query = self.norm(x, f"{name}.cross_norm") @ self.weights[f"{name}.query.kernel"]
            both = states @ self.weights[f"{name}.key_value.kernel"]
            key, value = np.split(both, 2, axis=1)
            read = self.attend(query, key, value, 0.0, True)
            x = self.forward(x + read @ self.weights[f"{name}.cross_output.kernel"], name)
        return self.norm(x, "decoder_norm")

    def log_p_of_codes(self, states: np.ndarray, item: int, had: set[int]) -> float:
        every, total = self.items["codes"], 0.0
        codes, x = every[item], self.decode(states, every[item])
        for level in range(len(self.sizes)):
            logits = x[level] @ self.weights[f"logits.{level}.kernel"]
            if self.model["look_ahead"] and level:
                logits = logits + [
                    self.ahead(x[level], level, np.append(codes[:level], code), had)
                    for code in range(self.sizes[level])
                ]
            total += logits[codes[level]] - np.log(np.exp(logits).sum())
        return total

    def ahead(self, x: np.ndarray, level: int, prefix: np.ndarray, had: set[int]) -> float:
        below = np.flatnonzero((self.items["codes"][:, : level + 1] == prefix).all(axis=1))
        there = np.intersect1d(below, self.items["open"])
        if not len(there):
            return -np.inf
        counts = np.where(self.items["seen"][below], 1.0, 1e-6)
        mean = counts @ self.vectors[below] / counts.sum()
        query = x @ self.weights[f"queries_ahead.{level - 1}.kernel"]
        more = query @ mean / self.model["d_model"] ** 0.5
        if self.model["repeats"]:
            share = len(had & set(there.tolist())) / len(there)
            more += (x @ self.weights[f"ahead_again.{level - 1}.kernel"])[0] * share
        return more

    def scores(self, history, seconds, user, dense_share: float) -> dict[str, float]:
        """Of every open item, by its id."""
        states = self.encode(history, seconds, user)
        had = set(history[-self.model["max_history"] :])
        found = dict.fromkeys(self.items["open"].tolist(), 0.0)
        if dense_share < 1:
            for item in found:
                found[item] += (1 - dense_share) * self.log_p_of_codes(states, item, had)
        if dense_share > 0:
            query = states[-1] @ self.weights["item_query.kernel"]
            logits = self.vectors @ query / self.model["d_model"] ** 0.5
            if self.model["repeats"]:
                logits[sorted(had)] += (states[-1] @ self.weights["item_again.kernel"])[0]
            for item in found:
                found[item] += dense_share * (logits[item] - np.log(np.exp(logits).sum()))
        return {self.names["item_id"][item]: score for item, score in found.items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_scores_are_those_of_the_run(tiny_run, tmp_path, recipe):
    wide = ("decoding.beam=40", "model.heads=2", "model.head_dim=12", "model.encoder_layers=2")
    run = random_run(tiny_run, *RECIPES[recipe], *wide, removed=(3, 30))
    export_parameters(run, tmp_path / "out")
    reference = Reference(tmp_path / "out")
    rng = np.random.default_rng(0)
    histories = [rng.choice(IDS, n).tolist() for n in (1, 5, 20)]
    seconds = [np.cumsum(rng.integers(0, 10**5, len(row))).tolist() for row in histories]
    how = {"timestamps": seconds, "user_ids": ["u1", "u2", "u3"]}
    ids, scores = run.recommend(histories, k=38, exclude_history=False, **how)
    place = {name: item for item, name in enumerate(reference.names["item_id"])}
    share = run.recommender.options.dense_share
    for n, history in enumerate(histories):
        read = [place[name] for name in history]
        expected = reference.scores(read, seconds[n], how["user_ids"][n], share)
        found = dict(zip(ids[n], scores[n], strict=True))
        assert found.keys() == expected.keys()
        for name, score in expected.items():
            assert found[name] == pytest.approx(score, abs=2e-4), name


@pytest.mark.parametrize("recipe", RECIPES)
def test_all_parameters_are_there_and_told_of(tiny_run, tmp_path, recipe):
    run = random_run(tiny_run, *RECIPES[recipe])
    for _ in range(2):  # the second in place of the first
        export_parameters(run, tmp_path / "out")
    params = flat(run.recommender.params)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == params.keys()
    readme = (tmp_path / "out" / "README.md").read_text()
    for name, value in params.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
        shape = " x ".join(map(str, value.shape))
        assert f"| `{name}` | {shape} | " in readme
    export_parameters(run, tmp_path / "half", dtype="bfloat16")
    half = read_tensors(tmp_path / "half" / "model.safetensors")
    for name, value in half.items():
        assert value.dtype.name == "bfloat16"
        np.testing.assert_allclose(value.astype(np.float32), params[name], rtol=2**-8)


def test_other_folders_are_left_alone(tiny_run, tmp_path):
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="holds something else"):
        export_parameters(random_run(tiny_run), tmp_path)
    assert (tmp_path / "config.json").read_text() == "[]"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["safetensors", "--update"], "--format safetensors goes without --update"),
        (["safetensors", "--room=0.5"], "--format safetensors goes without --room"),
        (["huggingface", "--allow", "x.txt"], "--format huggingface goes without --allow"),
        (["safetensors", "--decoding.beam", "5"], "goes without --decoding.beam"),
        (
            ["huggingface", "--decoding.dense-share=1", "--update"],
            "goes without --decoding.dense-share, --update",
        ),
        (["huggingface"], "this run would need model.tokens codes, model.encoder bidirectional"),
        (["pickle"], "format should be bundle, safetensors or huggingface, but is 'pickle'"),
    ],
)
def test_mistakes_are_told_in_one_line(command, tiny_run, tmp_path, arguments, complaint):
    out = str(tmp_path / "out")
    _, complaints = command("export", str(tiny_run), "--out", out, "--format", *arguments, status=2)
    assert len(complaints) == 1
    assert complaint in complaints[0]
    assert not (tmp_path / "out").exists()


def test_the_command(command, tiny_run, tmp_path):
    out = tmp_path / "out"
    shown, complaints = command(
        "export", str(tiny_run), "--out", str(out), "--format", "safetensors", "--dtype", "bfloat16"
    )
    assert complaints == []
    held = read_tensors(out / "model.safetensors")
    count = sum(value.size for value in held.values())
    assert shown == f"{out}: {count:,} parameters under {len(held)} names, 40 items\n"
    assert {value.dtype.name for value in held.values()} == {"bfloat16"}
