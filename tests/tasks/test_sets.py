"""Scores of sets: over all batches, by the features that are asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import stylegan2 as stylegan2_experiment
from faceswap_jax.losses import distributions
from faceswap_jax.state import State
from faceswap_jax.tasks import stylegan2
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.sets import key_of, set_distance
from tests.support.frozen import GENERATOR, IDENTITY, write_identity

STATE = State(jnp.int32(0), jax.random.key(0), {"brightness": jnp.float32(0.2)}, {})


def see(state, images):
    """Mean colours and how they vary."""
    return jnp.concatenate([images.mean((1, 2)), images.std((1, 2))], 1)


def make(state, batch):
    shape = batch["image"].shape
    return jax.random.uniform(key_of(batch), shape) + state.params["brightness"]


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return [{"image": rng.integers(0, 256, (6, 4, 4, 3), np.uint8)} for _ in range(3)]


def test_all_batches_together_are_a_set(batches):
    evaluator = set_distance(see, make, len(batches), "colours")
    measured = [jax.device_get(jax.jit(evaluator.measure)(STATE, batch)) for batch in batches]
    scores = evaluator.summarise(measured)

    real = np.concatenate([see(STATE, batch["image"] / np.float32(255)) for batch in batches])
    made = np.concatenate([see(STATE, make(STATE, batch).clip(0, 1)) for batch in batches])
    expected = distributions.compare(real, made)
    assert scores.keys() == {f"colours/{name}" for name in expected}
    for name, value in expected.items():
        assert scores[f"colours/{name}"] == pytest.approx(value, rel=1e-4)


def test_every_batch_has_a_key_of_its_own(batches):
    turned = {"image": batches[0]["image"][::-1]}
    keys = {int(jax.random.key_data(key_of(batch))[-1]) for batch in [*batches, turned]}
    assert len(keys) == 4
    assert key_of(batches[0]) == key_of(jax.tree.map(jnp.asarray, batches[0]))


def test_stylegan2_is_scored_by_held_out_people_with_the_network_that_is_named(tmp_path):
    write_identity(tmp_path / "identity", alignment="ffhq")
    c = stylegan2_experiment.get_config()
    c.data.update(kind="puppets", held_out=0.4, test=8, sets=3)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 4, "resolution": 16})
    c.model.update(GENERATOR)
    c.networks.sets = str(tmp_path / "identity")
    task = stylegan2.Task(stylegan2.Task.resolve(c))
    phase = task.phases[0]
    _, sets = task.evaluators(phase)
    assert sets.batches == 3

    state = abstract_state(task, phase)
    given = jax.eval_shape(task.frozen_inputs)
    assert jax.tree.map(np.shape, given["sets"]) == jax.tree.map(np.shape, state.extras["sets"])
    batch = {"image": np.zeros((8, 16, 16, 3), np.uint8)}
    measured = jax.eval_shape(sets.measure, state, batch)
    assert measured["real"].shape == measured["made"].shape == (8, sum(IDENTITY["channels"]))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), measured)
    names = {"frechet", "kernel", "precision", "recall"}
    assert set(sets.summarise([zeros] * 3)) == {f"feature_distance/{name}" for name in names}
    # Without a network there is none.
    c.networks.sets = ""
    assert len(stylegan2.Task(c).evaluators(phase)) == 1
