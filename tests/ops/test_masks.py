"""Masks that hide places of a face, and soft ones around parts."""

import jax.numpy as jnp
import numpy as np

from faceswap_jax.ops.masks import Ellipse, beside, filled, near

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


def test_an_ellipse_is_hidden_and_nothing_beside_it():
    ends = face(16, 20, 3)
    y, x = np.mgrid[:SIDE, :SIDE]
    for size in (10.0, 15.0):
        mask = beside(ends, jnp.array([size]), [Ellipse((0, 1), 0.2, 0.55, 0.25)], SIDE)
        middle = 20 + 0.2 * size
        inside = ((x - 16) / (0.55 * size)) ** 2 + ((y - middle) / (0.25 * size)) ** 2 <= 1
        np.testing.assert_array_equal(mask[0], ~inside)


def test_a_crescent_is_an_ellipse_without_another_one():
    ends = jnp.array([[[10.0, 20.0], [30.0, 20.0]]])
    size = jnp.array([20.0])
    inner = Ellipse((0, 1), -0.4, 0.4, 0.6)
    outer = Ellipse((0, 1), 0.0, 0.7, 0.8)
    crescent = beside(ends, size, [outer._replace(but=inner)], SIDE)
    hidden, seen = (beside(ends, size, [one], SIDE) == 0 for one in (outer, inner))
    np.testing.assert_array_equal(crescent == 0, hidden & ~seen)
    assert (hidden & seen).any() and (hidden & ~seen).any()


def test_several_ellipses_are_hidden_together():
    sizes = jnp.array([10.0])
    landmarks = face(8, 8, 3).at[0, 2:4].set(jnp.array([(20.0, 24.0), (28.0, 24.0)]))
    parts = [Ellipse(points, 0.0, 0.3, 0.3) for points in ((0, 1), (2, 3))]
    each = [beside(landmarks, sizes, [part], SIDE) for part in parts]
    np.testing.assert_array_equal(beside(landmarks, sizes, parts, SIDE), each[0] * each[1])


def test_what_is_hidden_is_filled_with_what_is_around():
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.uniform(0.4, 0.6, (1, SIDE, SIDE, 3)), jnp.float32)
    mask = jnp.ones((1, SIDE, SIDE)).at[:, 10:16, 10:16].set(0)
    shown = filled(image, mask)
    np.testing.assert_array_equal(shown[mask == 1], image[mask == 1])
    # Nothing of what was there is left, whatever it was.
    other = jnp.where(mask[..., None] == 0, 1.0, image)
    np.testing.assert_allclose(filled(other, mask), shown, atol=1e-6)
    assert shown[mask == 0].min() > 0.4 and shown[mask == 0].max() < 0.6
    # The nearer counts more: half of the image is dark.
    halves = jnp.zeros((1, SIDE, SIDE, 3)).at[:, :, SIDE // 2 :].set(1.0)
    left, right = (filled(halves, mask)[0, 12, x, 0] for x in (10, 15))
    assert left < 0.1 < 0.4 < right
    np.testing.assert_array_equal(filled(image, jnp.zeros_like(mask)), 0)
