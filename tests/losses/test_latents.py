"""What tells personas' latents apart."""

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.losses.latents import mismatch

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
