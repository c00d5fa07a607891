import json
import shutil

import jax
import numpy as np
import pytest
from small import small_model

from genrec.config import TrainingConfig
from genrec.data.histories import Histories
from genrec.errors import UserError
from genrec.training import Checkpoints, train
from genrec.training.loop import _compile
from genrec.training.packing import epoch_batches

NUM_ITEMS = 12
CODES = np.stack([np.arange(NUM_ITEMS) % 4, np.arange(NUM_ITEMS) // 4], axis=1).astype(np.int32)
SETTINGS = TrainingConfig(
    epochs=4, rows=2, row_length=16, learning_rate=1e-2, validate_every=2, validation_beam=10
)


def histories():
    """Users who go round the catalogue from where they start."""
    return Histories.of(
        [(start + np.arange(5 + start % 4)) % NUM_ITEMS for start in range(NUM_ITEMS)]
    )


def build(rngs):
    return small_model((4, 3), NUM_ITEMS, rngs, d_model=16, dropout=0.2, item_embedding=False)


def run(folder, settings=SETTINGS, *, validate=lambda _: {"ndcg@10": 0.5}, fingerprint="a", seed=3):
    return train(
        build,
        CODES,
        histories(),
        settings,
        max_history=8,
        seed=seed,
        folder=folder,
        fingerprint=fingerprint,
        validate=validate,
    )


def final_params(folder, epochs=SETTINGS.epochs):
    init, _ = _compile(build, SETTINGS, total=100, seed=0)
    with Checkpoints(folder / "checkpoints", "a") as checkpoints:
        return jax.device_get(checkpoints.restore(epochs, {"params": init()["params"]}))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


def test_training_learns_what_comes_next(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert ["validation" in line for line in lines] == [False, True, False, True]
    # Two codes of 4 and 3 by chance cost log 12 nats.
    assert lines[0]["loss"] < np.log(12) + 0.5
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(finished, tmp_path):
    run(tmp_path / "same")
    assert same(final_params(finished), final_params(tmp_path / "same"))
    run(tmp_path / "other", seed=4)
    assert not same(final_params(finished), final_params(tmp_path / "other"))


class Interrupted(Exception):
    pass


def test_an_interrupted_training_ends_with_the_same_weights(finished, tmp_path):
    def interrupt(_):
        if not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Interrupted
        return {"ndcg@10": 0.5}

    with pytest.raises(Interrupted):
        run(tmp_path, validate=interrupt)  # at the end of epoch 2, before its checkpoint
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"epoch": 2, "lo')  # as a kill in the middle of a line leaves it
    run(tmp_path, validate=interrupt)
    assert same(final_params(finished), final_params(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]


def test_the_best_epoch_by_validation_is_kept_beside_the_last(tmp_path):
    scores = iter([0.3, 0.1])
    assert run(tmp_path, validate=lambda _: {"ndcg@10": next(scores)}) == 2
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {2, 4}


def test_a_checkpoint_of_other_settings_is_refused(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(UserError, match="other settings or data"):
        run(tmp_path / "run", fingerprint="b")


def test_weights_that_were_never_trained_are_not_evaluated(tmp_path):
    with (
        Checkpoints(tmp_path / "checkpoints", "a") as checkpoints,
        pytest.raises(UserError, match="no validated checkpoint"),
    ):
        _ = checkpoints.best


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    settings = TrainingConfig(
        epochs=3, rows=2, row_length=16, learning_rate=1e38, clip=1e30, validate_every=1
    )
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at epoch \d+, batch \d+"):
        run(tmp_path, settings)


def test_histories_without_a_next_item_are_refused(tmp_path):
    with pytest.raises(UserError, match="no target"):
        train(
            build,
            CODES,
            Histories.of([[1], []]),
            SETTINGS,
            max_history=8,
            seed=0,
            folder=tmp_path,
            fingerprint="a",
            validate=lambda _: {"ndcg@10": 0.0},
        )


def test_an_epoch_compiles_the_step_once():
    init, step = _compile(build, SETTINGS, total=100, seed=0)
    state = init()
    batches = epoch_batches(histories(), rows=2, row_length=16, max_history=8, seed=0, epoch=0)
    for batch in batches:
        state, _ = step(state, CODES, batch)
    assert int(state["step"]) > 1
    assert step._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]
