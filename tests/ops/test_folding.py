"""Squares of pixels as channels: convolutions of them are those of the images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from faceswap_jax.ops import folding
from faceswap_jax.ops.resample import downsample, upsample


def draw(*shape):
    return jax.random.normal(jax.random.key(len(shape)), shape)


def convolved(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def of_folded(x, kernel):
    return folding.unfold(folding.convolve_folded(folding.fold(x), kernel))


def of_enlarged(x, kernel):
    return folding.unfold(folding.convolve_enlarged(x, kernel))


def test_folding_is_undone():
    x = draw(2, 4, 6, 3)
    folded = folding.fold(x)
    assert folded.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(folded[0, 1, 2], x[0, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(folding.unfold(folded), x)


def test_means_of_squares():
    x = draw(2, 4, 6, 3)
    found = folding.downsample_folded(folding.fold(x))
    np.testing.assert_allclose(found, downsample(x), atol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("sides", [(2, 2), (6, 8)])
def test_values_and_gradients_are_those_of_the_images(sides, size):
    x, kernel = draw(2, *sides, 3), draw(size, size, 3, 5)
    for ours, theirs in (
        (of_folded, convolved),
        (of_enlarged, lambda x, kernel: convolved(upsample(x), kernel)),
    ):
        found, pull = jax.vjp(ours, x, kernel)
        expected, pull_expected = jax.vjp(theirs, x, kernel)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        g = jnp.cos(expected)
        for gradient, wanted in zip(pull(g), pull_expected(g), strict=True):
            np.testing.assert_allclose(gradient, wanted, atol=1e-3)


def test_kernels_of_bfloat16_are_summed_in_float32():
    """Of four taps that see the same pixel; one after the other, in bfloat16, the small ones would come to nothing."""
    x = jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    kernel = jnp.full((3, 3, 1, 1), 2**-9).at[1, 1].set(1)
    found = folding.convolve_enlarged(x, kernel)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype(jnp.float32), 1 + 2**-7)
