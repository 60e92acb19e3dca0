"""The inversion with e4e's options: deltas that begin in turn, a discriminator, and who uses such a run."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.pretrained import inversion as pretrained
from faceswap_jax.tasks import transfer
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.inversion import Task
from faceswap_jax.train import train
from tests.support.frozen import write_networks
from tests.support.runs import assert_equal, saved_state
from tests.support.sharded import on_one_and_on_eight
from tests.support.tiny_latent import (
    BATCH,
    SIDE,
    inversion_config,
    task_and_state,
    transfer_config,
)
from tests.support.tiny_run import rows

POOL = 2 * BATCH
ADVERSARY = {"loss.adversarial": 0.1, "loss.penalty": 0.1, "loss.penalty_every": 2}
ADVERSARY |= {"discriminator.learning_rate": 0.01, "discriminator.pool": POOL}
BOTH = ADVERSARY | {"model.deltas": True, "deltas.start": 2, "deltas.every": 3, "loss.delta": 1.0}
ALL_BEGUN = 100  # steps


@pytest.fixture(scope="module")
def given():
    return task_and_state("inversion", **BOTH, learning_rate=0.05)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)}


@pytest.fixture(scope="module")
def step(given):
    task, _ = given
    return jax.jit(task.steps(task.phases[0])["regularised"])


def after_steps(state, count):
    return replace(state, step=jnp.int32(count))


def has_moved(before, after) -> bool:
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before, after)
    return not all(jax.tree.leaves(same))


def test_deltas_begin_one_after_the_other(given, batch, step):
    task, state = given
    begun = [int(task._begun(after_steps(state, count))) for count in range(12)]
    assert begun == [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4]

    # The heads of the others learn nothing.
    after, _ = step(after_steps(state, 3), batch)
    old, new = state.params["encoder"], after.params["encoder"]
    heads = [f"style_{k}" for k in range(4)]
    assert [has_moved(old[name], new[name]) for name in heads] == [True, True, False, False]


def test_both_sides_learn_and_the_loss_is_that_of_the_encoder(given, batch, step):
    _, state = given
    after, metrics = step(state, batch)
    assert has_moved(state.params["encoder"], after.params["encoder"])
    # Adam's first step
    moves = jax.tree.map(
        lambda a, b: np.abs(a - b).max(),
        state.params["discriminator"],
        after.params["discriminator"],
    )
    np.testing.assert_allclose(jax.tree.leaves(moves), 0.01, rtol=1e-2)
    for name in ("generator", "judges"):
        jax.tree.map(np.testing.assert_array_equal, state.extras[name], after.extras[name])

    of_pictures = metrics["l2"] + 0.8 * metrics["features"] + 0.1 * metrics["identity"]
    expected = of_pictures + metrics["delta"] + 0.1 * metrics["adversarial"]
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    told = {"loss", "first/loss", "l2", "features", "identity", "delta", "adversarial"}
    assert set(metrics) == told | {"discriminator", "penalty"}


def test_deltas_shrink_and_styles_are_told_apart(given, batch, step):
    _, state = given
    state = after_steps(state, ALL_BEGUN)
    _, first = step(state, batch)
    for _ in range(15):
        state, last = step(state, batch)
    assert last["delta"] < 0.8 * first["delta"]
    assert last["discriminator"] < first["discriminator"]


def test_penalties_are_now_and_then():
    task = Task(inversion_config(**ADVERSARY))
    phase = task.phases[0]
    names = ["regularised", "train", "regularised", "train"]
    assert [task.step_name(phase, n) for n in range(4)] == names
    assert set(task.steps(phase)) == set(names)
    for changes in ({}, ADVERSARY | {"loss.penalty": 0.0}):
        without = Task(inversion_config(**changes))
        assert set(without.steps(phase)) == {without.step_name(phase, 0)} == {"train"}


def test_only_a_discriminator_adds_to_the_state():
    def leaves(**changes):
        task = Task(inversion_config(**changes))
        state = abstract_state(task, task.phases[0])
        found = jax.tree_util.tree_leaves_with_path(state)
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): x.shape for path, x in found
        }

    plain = leaves()
    assert leaves(**{"model.deltas": True}) == plain
    added = dict(leaves(**BOTH).items() - plain.items())
    assert added.pop("extras/pool") == (POOL, 6)
    places = {"/".join(name.split("/")[:2]) for name in added}
    assert places == {"params/discriminator", "opt/discriminator"}


@pytest.mark.slow
def test_eight_devices_do_what_one_does(given, batch, step):
    _, state = given
    state = after_steps(state, ALL_BEGUN)
    ends = [
        (after.params, after.extras["pool"], metrics)
        for after, metrics in on_one_and_on_eight(step, state, batch)
    ]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=5e-3, atol=1e-4), *ends)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deltas.start": -1}, "config.deltas.start is -1; give 0 or more"),
        ({"deltas.every": 0}, "config.deltas.every is 0; give 1 or more"),
        ({"loss.delta": -1.0}, "config.loss.delta is -1.0; give 0 or more"),
        ({"loss.penalty_every": 0}, "config.loss.penalty_every is 0; give 1 or more"),
        ({"discriminator.learning_rate": 0.0}, "learning_rate is 0.0; give a positive number"),
        (ADVERSARY | {"discriminator.pool": 4}, "config.discriminator.pool is 4; give 8 or more"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(inversion_config(**changes))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The frozen networks of trainings, by their fields."""
    folder = tmp_path_factory.mktemp("inversion") / "networks"
    write_networks(folder, "eyes", SIDE)
    return {f"networks.{name}": str(folder / name) for name in ("generator", "identity")}


@pytest.fixture(scope="module")
def run(networks, tmp_path_factory):
    """A training that has been stopped and continued."""
    folder = tmp_path_factory.mktemp("run") / "run"
    for steps in (2, 3):
        assert train(inversion_config(**BOTH, **networks, steps=steps), folder)
    return folder


def test_a_run_is_used_as_any_other(run):
    assert ["penalty" in row for row in rows(run)] == [True, False, True]
    shape, weights = pretrained.load_for(str(run), "eyes")
    assert shape.encoder.deltas
    fresh = jax.eval_shape(lambda: pretrained.init(shape, jax.random.key(0)))
    assert jax.tree.map(np.shape, fresh) == jax.tree.map(np.shape, weights)
    # After two steps the first delta has begun; the others are nothing yet.
    kernels = [weights["params"][f"style_{k}"]["styles"]["kernel"] for k in range(4)]
    assert [bool(kernel.any()) for kernel in kernels] == [True, True, False, False]

    c = transfer_config()
    c.shapes.inversion = pretrained.described(shape)
    model = transfer.Task(c).model
    assert model.inversion.encoder == shape.encoder and not model.motion.deltas


@pytest.mark.slow
def test_a_continued_run_is_one_that_never_stopped(run, networks, tmp_path):
    assert train(inversion_config(**BOTH, **networks, steps=3), tmp_path)
    continued = saved_state(run)
    assert_equal(saved_state(tmp_path), continued)
    assert continued.opt["discriminator"].count == 3 and continued.extras["pool"].all()


def test_a_run_of_an_older_version_is_told():
    c = inversion_config()
    del c.model.deltas
    with pytest.raises(InputError, match=r"config.model.deltas is missing.*an older version"):
        pretrained.shape(c)
