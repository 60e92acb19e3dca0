"""What tells personas' latents apart, and an image's styles."""

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.losses.latents import deltas, mismatch

Z = jax.random.normal(jax.random.key(0), (1, 64, 5))


def test_personas_with_the_same_latents_do_not_differ():
    z = jnp.concatenate([Z, Z, Z])
    np.testing.assert_allclose(mismatch(z, z), 0, atol=1e-5)


def test_another_mean_or_another_deviation_counts_by_itself():
    for z in (jnp.concatenate([Z, Z + 1]), jnp.concatenate([Z, 2 * Z])):
        assert mismatch(z, z).min() > 0.05


def test_the_scale_of_latents_does_not_matter():
    z = jax.random.normal(jax.random.key(1), (3, 16, 5)) + jnp.arange(3.0)[:, None, None]
    np.testing.assert_allclose(mismatch(100 * z, 100 * z), mismatch(z, z), rtol=1e-4)


def test_some_personas_have_what_they_have_among_all():
    z = jax.random.normal(jax.random.key(2), (4, 16, 5)) + jnp.arange(4.0)[:, None, None]
    np.testing.assert_allclose(mismatch(z[2:], z), mismatch(z, z)[2:], rtol=1e-5)


def test_deltas_are_distances_from_the_first_style_and_have_slopes_where_they_are_zero():
    first = jnp.array([[0.0, 0.0], [1.0, 1.0]])
    w = first[:, None] + jnp.array([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    np.testing.assert_allclose(deltas(w), 5 + 2, rtol=1e-5)
    np.testing.assert_array_equal(jax.grad(deltas)(jnp.ones((2, 3, 2))), 0)
