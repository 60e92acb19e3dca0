"""Scores of motion: what they say of results whose motion is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.losses import motion

PART = (tuple(range(6)),)


@pytest.fixture(scope="module")
def truth():
    return jax.random.uniform(jax.random.key(0), (2, 8, 24, 24, 3))


@pytest.fixture(scope="module")
def landmarks():
    x = jnp.linspace(6, 16, 68)
    points = jnp.stack([x, jnp.full(68, 12.0)], -1)
    return jnp.broadcast_to(points, (2, 8, 68, 2))


def scores(truth, result, landmarks):
    measured = {"mouth": motion.moments(truth, result, landmarks, PART)}
    return motion.scores([measured, measured])


def test_a_perfect_result_has_amplitude_and_correlation_of_one(truth, landmarks):
    found = scores(truth, truth, landmarks)
    assert found == pytest.approx(
        {"motion/mouth_amplitude": 1, "motion/mouth_correlation": 1}, abs=1e-5
    )


def test_half_the_motion_in_another_colour_has_half_the_amplitude(truth, landmarks):
    found = scores(truth, 0.3 + truth / 2, landmarks)
    assert found == pytest.approx(
        {"motion/mouth_amplitude": 0.5, "motion/mouth_correlation": 1}, abs=1e-5
    )


def test_a_mean_expression_of_each_persona_has_no_amplitude(truth, landmarks):
    still = jnp.broadcast_to(truth.mean(1, keepdims=True), truth.shape)
    found = scores(truth, still, landmarks)
    assert found["motion/mouth_amplitude"] < 1e-3 and abs(found["motion/mouth_correlation"]) < 1e-2


def test_a_foreign_motion_has_no_correlation(truth, landmarks):
    other = jax.random.uniform(jax.random.key(1), truth.shape)
    found = scores(truth, other, landmarks)
    assert abs(found["motion/mouth_correlation"]) < 0.3 and found["motion/mouth_amplitude"] > 0.8


def test_only_the_part_counts(truth, landmarks):
    rows = np.arange(24)
    far = jnp.asarray((rows < 2) | (rows > 22))[:, None, None]
    changed = jnp.where(far, 0.0, truth)
    found = scores(truth, changed, landmarks)
    assert found == pytest.approx(
        {"motion/mouth_amplitude": 1, "motion/mouth_correlation": 1}, abs=1e-5
    )


def test_where_the_truth_does_not_move_there_is_nothing_to_follow(truth, landmarks):
    still = jnp.broadcast_to(truth[:, :1], truth.shape)
    assert scores(still, truth, landmarks) == {
        "motion/mouth_amplitude": 0,
        "motion/mouth_correlation": 0,
    }
