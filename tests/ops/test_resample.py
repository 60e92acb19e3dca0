"""Images half as large: the forms for CPUs and TPUs are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.ops.resample import downsample, pooled


@pytest.mark.parametrize("sides", [(8, 6), (5, 7), (2, 2)])
def test_both_forms_are_the_mean_of_squares(sides):
    x = jax.random.normal(jax.random.key(0), (2, *sides, 3))
    rows, columns = (side // 2 for side in sides)
    expected = np.zeros((2, rows, columns, 3), np.float32)
    for i in range(rows):
        for j in range(columns):
            expected[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
    for form in (downsample, pooled):
        np.testing.assert_allclose(form(x), expected, atol=1e-6)

    gradients = [jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (downsample, pooled)]
    np.testing.assert_allclose(*gradients, atol=1e-6)


def test_halves_of_bfloat16_are_summed_in_float32():
    x = jnp.array([1, 1, 1, 1 + 2**-7], jnp.bfloat16).reshape(1, 2, 2, 1)
    for form in (downsample, pooled):
        assert form(x).dtype == jnp.bfloat16
    # In bfloat16 itself, 3 + (1 + 2**-7) would be 4: as near as it can come to 4 + 2**-7.
    np.testing.assert_array_equal(pooled(x), downsample(x))
