"""Soft masks around parts of a face."""

import jax.numpy as jnp
import numpy as np

from faceswap_jax.ops.masks import near

SIDE = 32


def face(x: float, y: float, half_width: float):
    """Landmarks of which the first two are the ends of a part."""
    landmarks = np.zeros((1, 68, 2), np.float32)
    landmarks[0, :2] = [(x - half_width, y), (x + half_width, y)]
    return jnp.asarray(landmarks)


def test_the_middle_of_a_part_has_one_and_its_ends_what_a_gaussian_has_after_one_deviation():
    nearness = near(face(12, 20, 4), [(0, 1)], SIDE)
    assert nearness.shape == (1, SIDE, SIDE, 1)
    np.testing.assert_allclose(nearness[0, 20, 12, 0], 1, atol=1e-6)
    np.testing.assert_allclose(nearness[0, 20, [8, 16], 0], np.exp(-0.5), rtol=1e-5)
    np.testing.assert_allclose(nearness[0, 16, 12, 0], np.exp(-0.5), rtol=1e-5)


def test_of_several_parts_the_nearest_counts():
    landmarks = face(8, 8, 3).at[0, 2:4].set(jnp.array([(20.0, 24.0), (28.0, 24.0)]))
    both = near(landmarks, [(0, 1), (2, 3)], SIDE)
    each = [near(landmarks, [part], SIDE) for part in ((0, 1), (2, 3))]
    np.testing.assert_array_equal(both, jnp.maximum(*each))
