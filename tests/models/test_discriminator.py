"""The discriminator: scales see smaller images, patches see a part, and an image nothing of another."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.models import discriminator
from faceswap_jax.models.discriminator import DiscriminatorConfig
from tests.support.drawn import drawn

CONFIG = DiscriminatorConfig(channels=(4, 6), scales=2)


@pytest.fixture(scope="module")
def params():
    return drawn(partial(discriminator.init, CONFIG), seed=0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 16, 16, 3), np.float32)


def test_every_scale_judges_patches_of_an_image_half_as_large(params, images):
    first, second = discriminator.apply(CONFIG, params, images)
    assert first.shape == (2, 4, 4) and second.shape == (2, 2, 2)

    # The second sees means of 2 x 2 pixels.
    means = images.reshape(2, 8, 2, 8, 2, 3).mean((2, 4))
    alone = DiscriminatorConfig(CONFIG.channels, scales=1)
    (seen,) = discriminator.apply(alone, {"scale_0": params["scale_1"]}, means)
    np.testing.assert_allclose(seen, second, atol=1e-4)


def test_a_patch_sees_what_lies_near_and_no_other_image(params, images):
    changed = images.copy()
    changed[0, :2, :2] = 1 - changed[0, :2, :2]
    before, after = (discriminator.apply(CONFIG, params, x)[0] for x in (images, changed))
    difference = np.abs(before - after)
    assert difference[0, 0, 0] > 1e-3
    assert difference[0, 3, 3] < 1e-6 and difference[1].max() < 1e-6


def test_verdicts_are_full_numbers_in_half_precision():
    config = DiscriminatorConfig(CONFIG.channels, dtype=jnp.bfloat16)
    params = jax.eval_shape(partial(discriminator.init, config), jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    verdicts = jax.eval_shape(partial(discriminator.apply, config), params, images)
    assert [v.shape for v in verdicts] == [(1, 16, 16), (1, 8, 8), (1, 4, 4)]
    assert {v.dtype for v in verdicts} == {jnp.dtype("float32")}
