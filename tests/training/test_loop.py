import functools
import os
import shutil
import signal
import threading
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.checkpoints import Checkpoints
from genrec.config import TrainingConfig
from genrec.errors import UserError
from genrec.sequences.histories import Histories
from genrec.training import loop
from genrec.training.steps import compile_training, weights
from small import small_model
from small_training import IDENTITY, NUM_ITEMS, SETTINGS, build, build_tiger, lines, run


@functools.cache
def compiled(build, settings, mesh, *, total, seed):
    return compile_training(build, settings, mesh, total=total, seed=seed)


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    """Trainings that differ in what happens between their steps share the program of a step."""

    def shared(build, settings, mesh, *, total, seed):
        of_the_loop = {"epochs": 1, "validate_every": 1, "checkpoint_every": 1, "patience": None}
        return compiled(build, replace(settings, **of_the_loop), mesh, total=total, seed=seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "compile_training", shared)
        yield


def final(folder, recipe=build):
    """The last checkpoint's weights and their average, and its position."""
    params = nnx.as_pure(nnx.state(recipe(nnx.Rngs(0)), nnx.Param))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        like = {"params": params, "average": params}
        state, position = checkpoints.restore(checkpoints.latest or 0, like)
    return jax.device_get(state), position


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


@pytest.fixture(scope="module")
def finished_tiger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiger")
    run(folder, build=build_tiger)
    return folder


def test_training_learns_what_comes_next(finished):
    log = lines(finished)
    losses = [line["loss"] for line in log if "loss" in line]
    assert [line["epoch"] for line in log if "loss" in line] == [1, 2, 3, 4]
    assert [line["epoch"] for line in log if "validation" in line] == [2, 4]
    # Two codes of 4 and 3 by chance cost log 12 nats.
    assert losses[0] < np.log(12) + 0.7
    assert losses[-1] < 0.7 * losses[0]
    assert all(line["targets_per_second"] >= 0 for line in log if "loss" in line)


def test_tensorboard_has_the_numbers_of_the_log(finished):
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    seen = []
    for path in (finished / "tensorboard").iterdir():
        data = path.read_bytes()
        while data:  # a record: its length, a checksum, itself, another checksum
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            seen += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    for line in lines(finished):
        if "loss" in line:
            assert (line["step"], "loss", np.float32(line["loss"])) in seen
        else:
            assert (line["step"], "validation/ndcg_10", 0.5) in seen


def test_the_tiger_recipe_learns_by_the_same_loop(finished_tiger):
    losses = [line["loss"] for line in lines(finished_tiger) if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]


def test_bfloat16_computes_and_float32_is_kept(tmp_path):
    def rough(rngs):
        return small_model((4, 3), NUM_ITEMS, rngs, d_model=16, dtype="bfloat16")

    run(tmp_path, build=rough)
    losses = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]
    state, _ = final(tmp_path, rough)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float32")}


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(finished, tmp_path):
    run(tmp_path / "same")
    assert same(final(finished)[0], final(tmp_path / "same")[0])
    run(tmp_path / "other", seed=4)
    assert not same(final(finished)[0], final(tmp_path / "other")[0])


class Interrupted(Exception):
    pass


def test_a_training_killed_while_it_validates_ends_with_the_same_weights(finished, tmp_path):
    def interrupt(_):
        if not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Interrupted
        return {"ndcg@10": 0.5}

    settings = replace(SETTINGS, checkpoint_every=3)
    with pytest.raises(Interrupted):
        run(tmp_path, settings, validate=interrupt)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"epoch": 2, "lo')  # as a kill in the middle of a line leaves it
    run(tmp_path, settings, validate=interrupt)
    assert same(final(finished), final(tmp_path))
    assert without_rates(lines(tmp_path)) == without_rates(lines(finished))


def without_rates(log):
    return [{key: line[key] for key in line if key != "targets_per_second"} for line in log]


@pytest.mark.parametrize(
    ("number", "recipe", "name"),
    [(signal.SIGINT, build, "finished"), (signal.SIGTERM, build_tiger, "finished_tiger")],
)
def test_a_signal_writes_a_checkpoint_in_the_middle_of_an_epoch(
    tmp_path, request, number, recipe, name
):
    whole, halves = request.getfixturevalue(name), tmp_path / "halves"
    timer = threading.Timer(0, lambda: None)

    def signalled(_):
        nonlocal timer
        # Soon after this validation, so in the middle of the next epochs or at their end.
        timer = threading.Timer(0.005, os.kill, (os.getpid(), number))
        timer.start()
        return {"ndcg@10": 0.5}

    before = signal.getsignal(number)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"step \d+ is kept"):
            run(halves, build=recipe, validate=signalled)
    finally:
        timer.join()
    assert signal.getsignal(number) is before
    run(halves, build=recipe)
    assert same(final(whole, recipe), final(halves, recipe))


def test_the_best_checkpoint_by_validation_is_kept_beside_the_last(tmp_path):
    scores = iter([0.3, 0.1, 0.1, 0.1])
    settings = replace(SETTINGS, validate_every=1)
    best = run(tmp_path, settings, validate=lambda _: {"ndcg@10": next(scores)})
    validated = [line["step"] for line in lines(tmp_path) if "validation" in line]
    assert best == validated[0]
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    assert kept == {validated[0], *validated[-2:]}


def test_training_stops_early_when_patience_runs_out_and_stays_stopped(tmp_path):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    settings = replace(SETTINGS, epochs=9, validate_every=1, patience=2)

    def validate(_):
        return {"ndcg@10": next(scores)}

    best = run(tmp_path, settings, validate=validate)
    validated = [line["step"] for line in lines(tmp_path) if "validation" in line]
    assert len(validated) == 4
    assert best == validated[1]
    assert run(tmp_path, settings, validate=validate) == best
    assert next(scores) == 0.9


def test_the_average_is_what_is_validated_and_follows_the_weights(tmp_path):
    seen = []

    def validate(params):
        seen.append(params)
        return {"ndcg@10": 0.5}

    run(tmp_path, validate=validate)
    state, _ = final(tmp_path)
    assert same(seen[-1], state["average"])
    assert same(weights(state), state["average"])
    assert not same(state["params"], state["average"])


def test_a_checkpoint_of_other_settings_is_refused_and_told_apart(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(UserError, match=r"seed was 3, now 4"):
        run(tmp_path / "run", identity=IDENTITY | {"seed": 4})


@pytest.mark.parametrize("rate", [1e38, 1e30])
def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, rate):
    settings = TrainingConfig(
        epochs=3, rows=2, row_length=16, learning_rate=rate, clip=1e30, checkpoint_every=1
    )
    with pytest.raises(UserError, match=r"the (loss|gradient) is (nan|inf) at epoch \d+, batch \d"):
        run(tmp_path, settings)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        params = nnx.as_pure(nnx.state(build(nnx.Rngs(0)), nnx.Param))
        state, _ = checkpoints.restore(checkpoints.latest or 0, {"params": params})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_histories_without_a_next_item_are_refused(tmp_path):
    with pytest.raises(UserError, match="no target"):
        run(tmp_path, histories=Histories.of([[1], []]))


@pytest.mark.parametrize("recipe", [build, build_tiger])
def test_an_epoch_compiles_one_step_for_each_width_of_a_batch(tmp_path, monkeypatch, recipe):
    steps, widths = [], set()

    def spy(*args, **kwargs):
        init, step = compile_training(*args, **kwargs)
        steps.append(step)

        def counted(state, catalogue, order, batch):
            widths.add(batch.inputs.items.shape[1])
            return step(state, catalogue, order, batch)

        return init, counted

    monkeypatch.setattr(loop, "compile_training", spy)
    run(tmp_path, build=recipe)
    assert len(widths) == (1 if recipe is build else 3)
    assert steps[0]._cache_size() == len(widths)


def test_parts_of_a_batch_give_the_gradient_of_the_whole(tmp_path):
    def quiet(rngs):
        return small_model((4, 3), NUM_ITEMS, rngs, dropout=0.0)

    settings = replace(SETTINGS, rows=6, average=0.0)
    for accumulate in (1, 3):
        run(
            tmp_path / str(accumulate),
            replace(settings, accumulate=accumulate),
            build=quiet,
        )
    whole, parts = (
        [line["loss"] for line in lines(tmp_path / str(n)) if "loss" in line] for n in (1, 3)
    )
    assert np.allclose(whole, parts, rtol=1e-4)


def test_matrices_decay_and_norms_do_not(tmp_path):
    # Nothing is learned at this rate, and a step takes 0.1 of what decays.
    settings = replace(SETTINGS, average=0.0, epochs=1, warmup=0.0)
    run(tmp_path, replace(settings, learning_rate=1e-9, weight_decay=1e8))
    first: Any = nnx.as_pure(nnx.state(build(nnx.Rngs(3)), nnx.Param))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        state, _ = checkpoints.restore(checkpoints.latest or 0, {"params": first})
    last: Any = state["params"]
    scales = (each["decoder_norm"]["scale"] for each in (first, last))
    assert jnp.allclose(*scales, atol=1e-6)
    before, after = (jnp.abs(each["codes"][0]["embedding"]).sum() for each in (first, last))
    assert after < 0.9 * before
