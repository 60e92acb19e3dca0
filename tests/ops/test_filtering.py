"""Filtered resampling: against SciPy, and both forms of its convolutions against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import upfirdn

from faceswap_jax.ops import filtering
from faceswap_jax.ops.platforms import portable

TAPS = np.array([1, 3, 3, 1]) / 8


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def kernel():
    return np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype(np.float32)


def test_images_twice_as_large_are_scipys(images):
    expected = images
    for axis in (1, 2):
        expected = upfirdn(2 * TAPS, expected, up=2, axis=axis)
        # The middle of what all taps reach
        length = 2 * images.shape[axis]
        expected = np.take(expected, range(1, 1 + length), axis)
    np.testing.assert_allclose(filtering.enlarge(images), expected, atol=1e-5)


def test_images_half_as_large_are_scipys(images):
    expected = images
    for axis in (1, 2):
        expected = upfirdn(TAPS, expected, axis=axis)
        expected = np.take(expected, range(2, 2 + images.shape[axis], 2), axis)
    np.testing.assert_allclose(filtering.reduce(images), expected, atol=1e-5)


@pytest.mark.parametrize("convolve", [filtering.enlarge_convolved, filtering.convolve_reduced])
def test_both_forms_are_the_same_with_first_and_second_derivatives(convolve, images, kernel):
    """R1 and path lengths need the latter."""

    def slope_and_more(x, kernel):
        def bend(x):
            y = convolve(x, kernel)
            return (jnp.sin(y) * y).sum(), y

        slope, y = jax.grad(bend, has_aux=True)(x)
        return (slope**2).sum(), y

    def all_of_it(x, kernel):
        (value, y), gradients = jax.value_and_grad(slope_and_more, (0, 1), has_aux=True)(x, kernel)
        return value, y, *gradients

    ours = jax.jit(all_of_it)(images, kernel)
    with portable():
        plain = jax.jit(all_of_it)(images, kernel)
    assert ours[1].shape[1:3] in ((12, 16), (3, 4))
    for found, expected in zip(ours, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_types_stay(images, kernel):
    x = jnp.asarray(images, jnp.bfloat16)
    for convolve in (filtering.enlarge_convolved, filtering.convolve_reduced):
        assert jax.eval_shape(partial(convolve, kernel=kernel), x).dtype == jnp.bfloat16
