"""Tokenizers beside each other: time, error, use of codes, uniqueness; and how fast they encode.

    python tools/bench_tokenizer.py --vectors ../shared/data/beauty/embeddings_all-MiniLM-L6-v2.npy

Each is fitted to the same vectors, in a process of its own, in turns; `vector-quantize-pytorch` and
Faiss' ResidualQuantizer are the rivals (pip install vector-quantize-pytorch; without it, its row is
left out). The error is ‖x − x̂‖² / ‖x − mean‖² over all items; "held out" is the same for a tenth of
the items by a second fit to the others, not timed. With --set, one tokenizer of these settings.

    python tools/bench_tokenizer.py --parts encoding --items 5_000_000

writes synthetic items to a file and has the RQ-VAE encode them from there: items a second, and the
most memory that the process had.

    python tools/bench_tokenizer.py --parts drift \\
        --others ../shared/data/sports/embeddings_all-MiniLM-L6-v2.npy

what `genrec tokenize RUN --append` would say of new items: held-out ones of the same catalogue,
those of another, and half of each.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from bench.turns import peak_memory
from genrec.config import TokenizerConfig
from genrec.storage.files import write_json

SIZES = (256, 256, 256)
BATCH, STEPS = 256, 2000
KINDS = {
    "genrec, RQ-VAE": {},
    "genrec, RQ-VAE with EMA": {"codebooks": "ema"},
    "genrec, RQ-VAE with rotation": {"gradient": "rotation"},
    "genrec, RQ-VAE with Sinkhorn": {"sinkhorn": 0.003},
    "genrec, residual k-means": {"kind": "rqkmeans"},
    "genrec, RVQ": {"kind": "rvq"},
    "genrec, RVQ with EMA": {"kind": "rvq", "codebooks": "ema"},
    "genrec, OPQ": {"kind": "opq"},
}
FAISS, TORCH = "Faiss, ResidualQuantizer", "vector-quantize-pytorch, ResidualVQ"

Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Vectors float32 (N, D) → their codes (N, L), and what these decode to (N, D)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--vectors",
        type=Path,
        default=Path("../shared/data/beauty/embeddings_all-MiniLM-L6-v2.npy"),
        help="float32 (N, D), .npy",
    )
    parser.add_argument(
        "--parts", nargs="+", choices=("fit", "encoding", "drift"), default=("fit",)
    )
    parser.add_argument("--set", help="YAML, such as {noise: 0, hidden: [512, 256]}")
    parser.add_argument("--others", type=Path, help="vectors of another catalogue, for the drift")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=5_000_000, help="of the encoding")
    parser.add_argument("--scratch", type=Path, help="folder for them: 1.5 KB an item")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--encode", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        settings = yaml.safe_load(arguments.set) if arguments.set else KINDS.get(arguments.one, {})
        settings |= {name: tuple(v) for name, v in settings.items() if isinstance(v, list)}
        print(json.dumps(measure_fit(arguments.one, settings, np.load(arguments.vectors))))
        return
    if arguments.encode:
        print(json.dumps(measure_encoding(arguments.vectors, arguments.encode)))
        return
    figures: dict[str, Any] = {"vectors": str(arguments.vectors)}
    if "fit" in arguments.parts:
        there = importlib.util.find_spec("vector_quantize_pytorch") is not None
        names, flags = [*KINDS, FAISS, *[TORCH] * there], []
        if arguments.set:
            names, flags = [f"genrec, {arguments.set}"], ["--set", arguments.set]
        rounds = [
            {name: _child(arguments.vectors, "--one", name, *flags) for name in names}
            for _ in range(arguments.rounds)
        ]
        figures["fit"] = [
            _over_rounds(name, [answers[name] for answers in rounds]) for name in names
        ]
        show(figures["fit"], arguments.vectors)
    if "encoding" in arguments.parts:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            file = Path(folder) / "items.npy"
            write_items(arguments.vectors, file, arguments.items)
            figures["encoding"] = _child(arguments.vectors, "--encode", str(file))
        print(
            "{items:,} items: {per_second:,.0f} a second, {memory:.2f} GiB at most".format(
                **figures["encoding"]
            )
        )
    if "drift" in arguments.parts:
        if arguments.others is None:
            parser.error("--parts drift needs --others")
        figures["drift"] = measure_drift(np.load(arguments.vectors), np.load(arguments.others))
        show_drift(figures["drift"])
    if arguments.json:
        write_json(arguments.json, figures)


def measure_fit(name: str, settings: dict[str, Any], vectors: np.ndarray) -> dict[str, Any]:
    """Fits one tokenizer; its seconds and memory, and the health of its codes."""
    rivals = {FAISS: fit_faiss, TORCH: fit_torch}
    fit = rivals[name] if name in rivals else fit_genrec(settings)
    started = time.perf_counter()
    encode = fit(vectors)
    seconds = time.perf_counter() - started
    codes, rebuilt = encode(vectors)
    order = np.random.default_rng(0).permutation(len(vectors))
    held, seen = order[: len(order) // 10], order[len(order) // 10 :]
    unseen = fit(vectors[seen])(vectors[held])[1]
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    return {
        "seconds": seconds,
        "error": _error(vectors, rebuilt, vectors.mean(axis=0)),
        "held_out_error": _error(vectors[held], unseen, vectors[seen].mean(axis=0)),
        "used": [len(np.unique(codes[:, level])) / k for level, k in enumerate(SIZES)],
        "distinct": len(sizes) / len(codes),
        "alone": int(np.count_nonzero(sizes == 1)) / len(codes),
    }


def fit_genrec(settings: dict[str, Any]) -> Callable[[np.ndarray], Encode]:
    from genrec.tokenizer import fit_tokenizer

    config = TokenizerConfig(**settings, codebook_sizes=SIZES, batch_size=BATCH, steps=STEPS)

    def fit(vectors: np.ndarray) -> Encode:
        tokenizer, _ = fit_tokenizer(vectors, config, seed=0)

        def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            codes = tokenizer.encode(x)
            return codes, tokenizer.decode(codes)

        return encode

    return fit


def fit_faiss(vectors: np.ndarray) -> Encode:
    """Progressive training and a beam of five in encoding, as Faiss has it by default."""
    import faiss

    mean = vectors.mean(axis=0)
    quantizer: Any = faiss.ResidualQuantizer(vectors.shape[1], len(SIZES), 8)
    quantizer.train(vectors - mean)

    def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = quantizer.compute_codes(x - mean)
        return codes, quantizer.decode(codes) + mean

    return encode


def fit_torch(vectors: np.ndarray) -> Encode:
    """With k-means initialisation and revival of dead codes, which are off by default there."""
    import torch  # pyright: ignore[reportMissingImports]
    from vector_quantize_pytorch import ResidualVQ  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    mean = vectors.mean(axis=0)
    scale = np.sqrt(np.mean((vectors - mean) ** 2))
    x = torch.from_numpy((vectors - mean) / scale)
    quantizer = ResidualVQ(
        dim=x.shape[1],
        num_quantizers=len(SIZES),
        codebook_size=SIZES[0],
        kmeans_init=True,
        decay=0.99,
        threshold_ema_dead_code=1,
    )
    quantizer.train()
    # K-means looks at the first batch only, so that one is all items.
    quantizer(x[None])
    for _ in range(STEPS):
        quantizer(x[torch.randint(len(x), (BATCH,))][None])
    quantizer.eval()

    @torch.no_grad()
    def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rebuilt, codes, _ = quantizer(torch.from_numpy((rows - mean) / scale)[None])
        return codes[0].numpy(), rebuilt[0].numpy() * scale + mean

    return encode


def measure_drift(vectors: np.ndarray, others: np.ndarray) -> list[dict[str, Any]]:
    """The gain of refitting for new items of three kinds, each drawn three times."""
    from genrec.tokenizer import gain_of_refitting

    rows = []
    for count in (50, 200, 1000):
        gains_by_kind: dict[str, list[float]] = {
            "its own": [],
            "the other's": [],
            "half of each": [],
        }
        for seed in range(3):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(vectors))
            foreign = others[rng.permutation(len(others))[:count]]
            seen, own = vectors[order[count:]], vectors[order[:count]]
            half = np.concatenate([own[: count // 2], foreign[count // 2 :]])
            for kind, new in zip(gains_by_kind, (own, foreign, half), strict=True):
                gains_by_kind[kind].append(gain_of_refitting(seen, new, SIZES, seed=seed))
        rows += [
            {"new": count, "of": kind, "gains": gains} for kind, gains in gains_by_kind.items()
        ]
    return rows


def show_drift(rows: list[dict[str, Any]]) -> None:
    table = Table(title="what refitting would gain, three draws", title_justify="left")
    for name in ("new items", "of", "least", "median", "most"):
        table.add_column(name, justify="right")
    for row in rows:
        gains = row["gains"]
        cells = [f"{f(gains):.1%}" for f in (min, statistics.median, max)]
        table.add_row(f"{row['new']:,}", row["of"], *cells)
    Console(highlight=False).print(table)


def write_items(vectors: Path, file: Path, count: int) -> None:
    """Writes `count` items: the vectors again and again, each time with other noise."""
    sample = np.load(vectors)
    rng, spread = np.random.default_rng(0), 0.5 * sample.std(axis=0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, sample.shape[1])}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, count, len(sample)):
            size = min(len(sample), count - start)
            noise = rng.standard_normal((size, sample.shape[1]), np.float32)
            (sample[:size] + spread * noise).astype("<f4").tofile(stream)


def measure_encoding(vectors: Path, file: Path) -> dict[str, Any]:
    """Encodes a file of items by an RQ-VAE of the default shape."""
    from genrec.tokenizer import fit_tokenizer

    config = TokenizerConfig(codebook_sizes=SIZES, steps=100)
    tokenizer, _ = fit_tokenizer(np.load(vectors), config, seed=0)
    items = np.load(file, mmap_mode="r")
    tokenizer.encode(items[:10])  # compiles
    started = time.perf_counter()
    codes = tokenizer.encode(items)
    seconds = time.perf_counter() - started
    return {
        "items": len(codes),
        "seconds": seconds,
        "per_second": len(codes) / seconds,
        "memory": peak_memory() / 2**30,
    }


def show(rows: list[dict[str, Any]], vectors: Path) -> None:
    table = Table(title=f"{vectors.name}, {'x'.join(map(str, SIZES))}", title_justify="left")
    table.add_column("")
    for name in ("fit, s", "error", "held out", "codes used", "distinct tuples", "items alone"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['seconds']:.1f}",
            f"{row['error']:.3f}",
            f"{row['held_out_error']:.3f}",
            " ".join(f"{100 * used:.1f}" for used in row["used"]) + " %",
            f"{row['distinct']:.1%}",
            f"{row['alone']:.1%}",
        )
    Console(highlight=False).print(table)


def _child(vectors: Path, *arguments: str) -> dict[str, Any]:
    """What this script prints in a process of its own."""
    command = [sys.executable, __file__, "--vectors", str(vectors), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _over_rounds(name: str, fits: list[dict[str, Any]]) -> dict[str, Any]:
    """The same each time but for the seconds, of which the median counts."""
    seconds = [each["seconds"] for each in fits]
    return {**fits[-1], "name": name, "seconds": statistics.median(seconds), "rounds": seconds}


def _error(vectors: np.ndarray, rebuilt: np.ndarray, mean: np.ndarray) -> float:
    return float(np.sum((vectors - rebuilt) ** 2) / np.sum((vectors - mean) ** 2))


if __name__ == "__main__":
    main()
