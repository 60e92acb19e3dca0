"""Content losses: their balance, and whom they pull."""

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.losses import content
from faceswap_jax.losses.content import Layers

BOTH = Layers(same=(0, 1), other=(1,))


def test_every_layer_counts_as_much_as_the_photometric_loss_whatever_its_scale():
    same, other = jnp.float32([3.0, 500.0, 7.0]), jnp.float32([5.0, 250.0, 5.0])
    loss = content.balanced(jnp.float32(0.1), same, other, Layers((0, 2), (1,)), 0.1)
    # Two layers of 0.1; the other image is half as far away in the one that counts for it.
    np.testing.assert_allclose(loss, 0.1 + 0.1 + 0.1 * 0.05, rtol=1e-6)


def test_the_balance_itself_has_no_gradient():
    def loss(photometric, first, second, other):
        return content.balanced(photometric, [first, second], [0.0, other], BOTH, 0.1)

    slopes = jax.grad(loss, argnums=(0, 1, 2, 3))(0.1, 3.0, 500.0, 250.0)
    np.testing.assert_allclose(slopes, [0, 0.1 / 3, 0.1 / 500, 0.1 * 0.1 / 500], rtol=1e-5)


def test_equal_features_are_no_reason_to_move():
    slope = jax.grad(lambda d: content.balanced(0.1, [d, 1.0], [0.0, 0.0], BOTH, 0.1))(0.0)
    assert np.isfinite(slope) and content.balanced(0.1, [0.0, 0.0], [0.0, 0.0], BOTH, 0.1) == 0


def test_distances_are_mean_absolute_differences_by_layer():
    x = [np.zeros((2, 3, 3, 4)), np.ones((2, 5))]
    y = [np.full((2, 3, 3, 4), -2.0), np.ones((2, 5))]
    np.testing.assert_allclose(content.distances(x, y), [2, 0])
