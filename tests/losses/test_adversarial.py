"""Adversarial losses against their formulas, and the gradient penalty against a known slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.losses import adversarial
from faceswap_jax.losses.adversarial import ADVERSARIES

RNG = np.random.default_rng(0)
REAL = [RNG.normal(size=(3, 4, 4)), RNG.normal(size=(3, 2, 2))]
FAKE = [RNG.normal(size=(3, 4, 4)), RNG.normal(size=(3, 2, 2))]


def probability(verdict):
    return 1 / (1 + np.exp(-verdict))


EXPECTED = {
    "cross_entropy": (
        lambda r, f: -np.log(probability(r)) - np.log(1 - probability(f)),
        lambda r, f: -np.log(probability(f)),
    ),
    "hinge": (
        lambda r, f: np.maximum(1 - r, 0) + np.maximum(1 + f, 0),
        lambda r, f: -f,
    ),
    "relativistic": (
        lambda r, f: -np.log(probability(r - f)),
        lambda r, f: -np.log(probability(f - r)),
    ),
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_each_scale_counts_alike(name):
    for loss, formula in zip(ADVERSARIES[name], EXPECTED[name], strict=True):
        of_scales = [formula(r, f).mean() for r, f in zip(REAL, FAKE, strict=True)]
        found = adversarial.mean(loss, REAL, FAKE)
        np.testing.assert_allclose(found, np.mean(of_scales), rtol=1e-5)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_both_sides_pull_at_the_fake_in_opposite_directions(name):
    sides = ADVERSARIES[name]
    down, up = (jax.grad(lambda f, loss=loss: loss(0.3, f))(0.1) for loss in sides)
    assert down > 0 > up


def test_told_apart_is_the_fraction_of_pairs_in_which_the_real_one_wins():
    real = [jnp.array([[[1.0, 2.0], [3.0, 4.0]]])]
    fake = [jnp.array([[[0.0, 5.0], [2.0, 9.0]]])]
    assert adversarial.told_apart(real, fake) == 0.5


def test_the_verdict_on_an_image_counts_scales_alike():
    expected = (REAL[0].mean((1, 2)) + REAL[1].mean((1, 2))) / 2
    np.testing.assert_allclose(adversarial.of_images(REAL), expected, rtol=1e-5)


def test_the_penalty_is_the_squared_slope_of_an_image_on_average():
    slopes = RNG.normal(size=(3, 4, 4, 2)).astype(np.float32)

    def judge(images):
        # Two scales, of which the second adds nothing to the slope
        return [(slopes * images).sum(-1), jnp.zeros((3, 1, 1))]

    found = adversarial.gradient_penalty(judge, jnp.ones((3, 4, 4, 2)))
    np.testing.assert_allclose(found, (slopes**2).sum((1, 2, 3)).mean(), rtol=1e-5)


def test_so_is_that_of_vectors():
    slopes = RNG.normal(size=(3, 5)).astype(np.float32)
    found = adversarial.gradient_penalty(lambda w: [(slopes * w).sum(-1)], jnp.ones((3, 5)))
    np.testing.assert_allclose(found, (slopes**2).sum(1).mean(), rtol=1e-5)
