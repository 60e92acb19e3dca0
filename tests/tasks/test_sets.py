"""Scores of sets: over all batches, by the features that are asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.losses import distributions
from faceswap_jax.state import State
from faceswap_jax.tasks.sets import key_of, set_distance

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
