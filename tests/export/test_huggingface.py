"""Hugging Face's T5 computes what the run computes, from the exported folder alone."""

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genrec.errors import UserError
from genrec.export import export_huggingface
from genrec.recommend.requests import Requests
from genrec.sequences.padding import request_batches
from small_loaded import TIGER, random_run
from small_run import ITEMS
from tensors import read_tensors

IDS = [f"i{n:03}" for n in range(ITEMS)]
USERS = [f"u{n}" for n in range(8)]


@pytest.fixture(scope="module")
def peers() -> tuple[Any, Any]:
    """torch and transformers."""
    found = []
    for name in ("torch", "transformers"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(importlib.import_module(name))
            except ImportError:
                pytest.skip(f"{name} is not installed (pip install 'genrec[bench]')")
    return found[0], found[1]


def drawn(count: int = 8, most: int = 30) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [rng.choice(IDS, rng.integers(1, most + 1)).tolist() for _ in range(count)]


def program(folder: Path) -> dict[str, Any]:
    """What the program in the folder's README defines."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert code.count('Path("FOLDER")') == 1
    defined: dict[str, Any] = {}
    exec(code.replace('Path("FOLDER")', f"Path({str(folder)!r})"), defined)
    return defined


@pytest.mark.parametrize("users", [None, USERS], ids=["nobody", "users"])
@pytest.mark.parametrize("levels", ["several", "reading far"])
def test_logits_agree(tiny_run, tmp_path, peers, users, levels):
    torch, transformers = peers
    more = ["model.heads=4", "model.head_dim=6", "model.encoder_layers=2", "model.decoder_layers=2"]
    # So far that distances are in the buckets that stand for several.
    far = ["model.max_history=60"] if levels == "reading far" else []
    run = random_run(tiny_run, *TIGER, *more, *far)
    export_huggingface(run, tmp_path / "t5")
    ids = json.loads((tmp_path / "t5" / "semantic_ids.json").read_text())
    model = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "t5").eval()
    tokens = program(tmp_path / "t5")["tokens"]

    histories, rng = drawn(most=70), np.random.default_rng(1)
    resolved = run.resolve(Requests(users, histories))
    sizes = ids["codebook_sizes"]
    codes = rng.integers(0, sizes, (len(histories), len(sizes))).astype(np.int32)
    recommender, longest = run.recommender, run.config.model.max_history
    [(rows, batch)] = request_batches(resolved.histories, longest, len(histories))

    @jax.jit
    def decoded(params, inputs, codes):
        mine = recommender.structure.model(params)
        encoded = mine.encode(inputs, recommender.catalogue, every_position=False)
        return mine.decode(codes, encoded)

    logits = decoded(recommender.params, batch.inputs, codes[rows, None])
    wanted = [np.asarray(x)[:, 0] for x in logits]

    written = codes + np.array(ids["offsets"]) + ids["written"]
    begun = np.column_stack([np.full(len(codes), ids["start"]), written[:, :-1]])
    read = [tokens(*each) for each in zip(histories, users or [None] * 8, strict=True)]
    width = max(map(len, read)) + 2
    for side in ("behind", "before"):
        padding = [[ids["pad"]] * (width - len(row)) for row in read]
        pairs = zip(read, padding, strict=True)
        table = torch.tensor([row + pad if side == "behind" else pad + row for row, pad in pairs])
        with torch.inference_mode():
            found = model(
                input_ids=table,
                attention_mask=(table != ids["pad"]).long(),
                decoder_input_ids=torch.from_numpy(begun),
            ).logits.numpy()
        for level, (offset, size) in enumerate(zip(ids["offsets"], sizes, strict=True)):
            here = slice(offset + ids["written"], offset + ids["written"] + size)
            np.testing.assert_allclose(found[rows, level, here], wanted[level], atol=1e-4, rtol=0)
            # They must differ from row to row, or they would agree whatever is read.
            assert wanted[level].std(axis=0).min() > 0.3


@pytest.mark.parametrize("normalise", ["codes", "allowed"])
@pytest.mark.parametrize("beam", [1, 10])
def test_its_program_gives_the_same_lists(tiny_run, tmp_path, peers, beam, normalise):
    how = [f"decoding.beam={beam}", f"decoding.normalise={normalise}", "evaluation.top_k=1"]
    run = random_run(tiny_run, *TIGER, *how, removed=(3, 4))
    export_huggingface(run, tmp_path / "t5")
    recommend = program(tmp_path / "t5")["recommend"]
    histories = drawn()
    lists = {}
    for users in (None, USERS):
        found = recommend(histories, users, k=beam)
        ids, scores = run.recommend(histories, k=beam, exclude_history=False, user_ids=users)
        lists[users is None] = ids
        assert [[item for item, _ in row] for row in found] == ids
        for row, points in zip(found, scores, strict=True):
            np.testing.assert_allclose([score for _, score in row], points, atol=1e-4)
        assert not {run.item_ids[3], run.item_ids[4]} & {item for row in ids for item in row}
    assert lists[True] != lists[False]


def test_bfloat16(tiny_run, tmp_path, peers):
    torch, transformers = peers
    run = random_run(tiny_run, *TIGER)
    export_huggingface(run, tmp_path / "whole")
    export_huggingface(run, tmp_path / "half", dtype="bfloat16")
    whole, half = (read_tensors(tmp_path / x / "model.safetensors") for x in ("whole", "half"))
    model = transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path / "half", torch_dtype="auto"
    )
    assert {x.dtype for x in model.parameters()} == {torch.bfloat16}
    for name, value in half.items():
        np.testing.assert_array_equal(value, whole[name].astype(jnp.bfloat16))


def test_what_the_folder_holds(tiny_run, tmp_path):
    """Without torch: tokens, and the rows of the vocabulary that they name."""
    run = random_run(tiny_run, *TIGER, removed=(3,))
    for _ in range(2):  # the second in place of the first
        export_huggingface(run, tmp_path / "t5")
    ids = json.loads((tmp_path / "t5" / "semantic_ids.json").read_text())
    table = read_tensors(tmp_path / "t5" / "model.safetensors")["shared.weight"]
    params, scale = run.recommender.params, 32**0.5
    assert list(ids["items"]) == run.item_ids
    assert ids["removed"] == [run.item_ids[3]]
    for n, tokens in enumerate(ids["items"].values()):
        for level, (token, code) in enumerate(zip(tokens, run.codes[n], strict=True)):
            embedding = params["codes"][level]["embedding"][code] * scale
            np.testing.assert_allclose(table[token], embedding, rtol=1e-6)
    users = ids["users"]
    assert len(table) == users["first"] + users["count"]
    np.testing.assert_allclose(
        table[users["first"] :], params["user"]["embedding"] * scale, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ([], "would need model.tokens codes, model.encoder bidirectional"),
        ([*TIGER, "decoding.temperature=1.0"], "would need decoding.temperature null"),
        ([*TIGER, "decoding.unseen_share=0.1"], "would need decoding.unseen_share 0"),
        ([*TIGER, "tokenizer.collisions=none"], "need tokenizer.collisions code or reassign"),
        ([*TIGER, "model.look_ahead=true"], "would need model.look_ahead false"),
    ],
)
def test_other_recipes_are_refused(tiny_run, tmp_path, settings, complaint):
    with pytest.raises(UserError, match=complaint):
        export_huggingface(random_run(tiny_run, *settings), tmp_path / "t5")
    assert not (tmp_path / "t5").exists()


def test_other_folders_are_left_alone(tiny_run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="holds something else"):
            export_huggingface(random_run(tiny_run, *TIGER), out)
    assert (tmp_path / "mine.txt").read_text() == "mine"
