"""Changes of what a discriminator sees: moves that are exact, probabilities, colours, gradients, the controller."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from faceswap_jax.ops import adaptive

SIDE = 16
ZERO = jnp.float32(0)
ONE = jnp.float32(1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((4, SIDE, SIDE, 3), np.float32)


@pytest.fixture(scope="module")
def smooth():
    """An image of few waves, and a function that tells its value anywhere."""

    def value(x, y):
        return 0.5 + 0.2 * np.sin(0.35 * x) + 0.2 * np.cos(0.3 * y + 0.1 * x)

    at = np.arange(SIDE) - (SIDE - 1) / 2
    x, y = np.meshgrid(at, at)
    return np.repeat(value(x, y)[None, ..., None], 3, -1).astype(np.float32), value


def test_without_probability_nothing_changes(images):
    found = jax.jit(adaptive.changed)(jax.random.key(0), images, ZERO)
    np.testing.assert_allclose(found, images, atol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[-1, 0, 0], [0, 1, 0], [0, 0, 1]], lambda x: x[:, :, ::-1]),
        ([[0, -1, 0], [1, 0, 0], [0, 0, 1]], lambda x: np.rot90(x, 1, (1, 2))),
        ([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], lambda x: np.rot90(x, 2, (1, 2))),
        (
            [[1, 0, 3], [0, 1, -2], [0, 0, 1]],
            lambda x: np.pad(x, ((0, 0), (2, 0), (0, 3), (0, 0)), "reflect")[:, :SIDE, 3:],
        ),
    ],
)
def test_moves_of_whole_pixels_are_exact_and_borders_are_mirrored(images, matrix, expected):
    maps = np.tile(np.float32(matrix), (len(images), 1, 1))
    np.testing.assert_allclose(jax.jit(adaptive.warp)(images, maps), expected(images), atol=1e-4)


def test_other_moves_show_what_lies_there(smooth):
    image, value = smooth
    angle, size = 0.5, 0.8
    linear = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3, dtype=np.float32)
    matrix[:2, :2] = linear
    matrix[:2, 2] = [1.3, -0.6]
    found = adaptive.warp(image, matrix[None])[0, ..., 0]

    at = np.arange(SIDE) - (SIDE - 1) / 2
    x, y = np.meshgrid(at, at)
    seen_x, seen_y = np.einsum("ij,jhw->ihw", matrix[:2], np.stack([x, y, np.ones_like(x)]))
    inside = np.maximum(np.abs(seen_x), np.abs(seen_y)) < (SIDE - 1) / 2 - 2
    assert inside.mean() > 0.4
    np.testing.assert_allclose(found[inside], value(seen_x, seen_y)[inside], atol=0.01)

    # Nearer to it than one linear interpolation
    turn = np.float64(matrix[:2, :2])[::-1, ::-1]
    centre = np.full(2, (SIDE - 1) / 2)
    offset = centre + matrix[:2, 2][::-1] - turn @ centre
    linear = affine_transform(image[0, ..., 0].astype(float), turn, offset, order=1)
    truth = value(seen_x, seen_y)
    assert np.abs(found - truth)[inside].mean() < 0.5 * np.abs(linear - truth)[inside].mean()


def test_the_filters_undo_each_other(images):
    """So images that do not move stay sharp: the highest waves, too."""
    board = np.indices((SIDE, SIDE)).sum(0) % 2
    x = np.repeat(board[None, ..., None], 3, -1).astype(np.float32)
    same = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(adaptive.warp(x, same), x, atol=1e-4)


def test_each_change_is_as_probable_as_it_is_said():
    draw = jax.jit(adaptive.moves, static_argnums=(1, 2))
    maps = np.asarray(draw(jax.random.key(0), 4000, SIDE, jnp.float32(0.1)))
    # Of five changes of which a half, three quarters, or all show, and two turns of 0.1 in all
    untouched = (np.abs(maps - np.eye(3)).max((1, 2)) < 1e-6).mean()
    expected = (1 - 0.05) * (1 - 0.075) * 0.9**4 * 0.9
    assert abs(untouched - expected) < 0.03
    sizes = np.asarray(draw(jax.random.key(1), 4000, SIDE, ONE))
    area = np.abs(np.linalg.det(sizes[:, :2, :2]))
    assert abs(np.log2(area).std() - 2 * adaptive.SCALE) < 0.03

    colours = jax.jit(adaptive.colours, static_argnums=1)(jax.random.key(0), 4000, jnp.float32(0.1))
    untouched = (np.abs(colours - np.eye(4)).max((1, 2)) < 1e-6).mean()
    assert abs(untouched - (1 - 0.05) * 0.9**4) < 0.03


def test_hue_keeps_greys_and_saturation_makes_them(images):
    grey = np.full((64, 2, 2, 3), 0.3, np.float32)
    maps = np.array(adaptive.colours(jax.random.key(0), 64, ONE))
    # Greys stay grey, however bright.
    found = adaptive.recolour(grey, maps)
    assert np.ptp(found, axis=-1).max() < 1e-5 and np.ptp(found) > 0.1
    # The linear part scales what is across the greys, and turns it.
    linear = maps[:, :3, :3]
    across = np.array([1, -1, 0]) / np.sqrt(2)
    turned = linear @ across
    assert np.abs(turned.sum(-1)).max() < 1e-4 * np.linalg.norm(turned, axis=-1).max()
    directions = turned / np.linalg.norm(turned, axis=-1, keepdims=True)
    assert (directions @ across).min() < -0.9 and (directions @ across).max() > 0.9


def test_gradients_are_those_of_differences(images):
    def value(x):
        return (adaptive.changed(jax.random.key(3), x, ONE) ** 2).sum()

    slope = jax.jit(jax.grad(value))(images)
    direction = np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
    ahead, behind = (value(images + step * direction) for step in (0.05, -0.05))
    np.testing.assert_allclose((slope * direction).sum(), (ahead - behind) / 0.1, rtol=1e-2)


def test_every_image_has_changes_of_its_own_and_none_mixes_with_another(images):
    same = np.repeat(images[:1], 4, 0)
    found = jax.jit(adaptive.changed)(jax.random.key(0), same, ONE)
    assert min(np.abs(found[0] - found[i]).max() for i in range(1, 4)) > 0.1
    other = same.copy()
    other[0] = 0
    again = jax.jit(adaptive.changed)(jax.random.key(0), other, ONE)
    np.testing.assert_array_equal(found[1:], again[1:])


def test_the_probability_follows_the_sign():
    def after(probability, sign):
        return float(adaptive.adjusted(jnp.float32(probability), jnp.float32(sign), 0.6, 32, 3200))

    assert after(0.5, 0.7) == pytest.approx(0.51) and after(0.5, 0.5) == pytest.approx(0.49)
    assert after(0.5, 0.6) == 0.5
    assert after(0.0, -1.0) == 0.0 and after(1.0, 1.0) == 1.0
