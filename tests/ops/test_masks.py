"""Masks that hide places of a face, and soft ones around parts."""

import jax.numpy as jnp
import numpy as np

from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE
from faceswap_jax.ops.masks import Ellipse, beside, near

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


def upright(scale: float = 1.0):
    """Eyes and mouth of a face whose size is 10 times the scale, in the middle of the image."""
    landmarks = np.zeros((1, 68, 2), np.float32)
    middle = SIDE / 2
    for points, x, y in ((RIGHT_EYE, -3, -4), (LEFT_EYE, 3, -4), (MOUTH_CORNERS, 0, 4)):
        landmarks[0, list(points)] = (middle + scale * x, middle + scale * y)
    return jnp.asarray(landmarks)


def test_an_ellipse_is_hidden_and_nothing_beside_it():
    mask = beside(upright(), [Ellipse(MOUTH_CORNERS, 0.2, 0.55, 0.25)], SIDE)
    y, x = np.mgrid[:SIDE, :SIDE]
    middle_x, middle_y = SIDE / 2, SIDE / 2 + 4 + 2
    inside = ((x - middle_x) / 5.5) ** 2 + ((y - middle_y) / 2.5) ** 2 <= 1
    np.testing.assert_array_equal(mask[0], ~inside)


def test_what_is_hidden_grows_with_the_face():
    ellipses = [Ellipse(eye, 0.0, 0.3, 0.3) for eye in (RIGHT_EYE, LEFT_EYE)]
    small, large = ((1 - beside(upright(scale), ellipses, SIDE)).sum() for scale in (1.0, 1.5))
    assert abs(large / small - 1.5**2) < 0.15
