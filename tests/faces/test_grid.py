"""Grids: where images lie, and labels that are whole and away from them."""

import numpy as np
import pytest

from faceswap_jax.faces.grid import draw_grid

WHITE = 255


def noise(rows, columns, side):
    return np.random.default_rng(0).integers(0, WHITE, (rows, columns, side, side, 3), np.uint8)


@pytest.mark.parametrize(("side", "factor"), [(4, 24), (64, 1), (96, 1), (100, 1)])
def test_without_labels_images_touch(side, factor):
    images = noise(2, 3, side)
    grid = draw_grid(images)
    assert grid.shape == (2 * side * factor, 3 * side * factor, 3)
    corner = grid[side * factor :: factor, 2 * side * factor :: factor]
    np.testing.assert_array_equal(corner, images[1, 2])


@pytest.mark.parametrize("side", [16, 64, 128])
def test_labels_stand_beside_the_images_and_end_before_the_margin(side):
    rows = ["input", "ben as a-persona-with-a-very-long-name"]
    columns = ["source", "swap --blend none", "an-uncommonly-long-word"]
    images = np.zeros((2, 3, side, side, 3), np.uint8)
    images[..., 0] = 255
    grid = draw_grid(images, rows, columns)
    red = (grid == (255, 0, 0)).all(-1)
    above, left = np.argmax(red.any(1)), np.argmax(red.any(0))
    shown = max(side, 96 // side * side)
    assert red.sum() == images[..., 0].size * (shown // side) ** 2  # no text over an image

    text = grid.max(-1) < 128
    beside = text[above:, :left].any(0)
    over = text[:above]
    assert beside.any() and over[:, left:].any()
    # A blank rim around the text: nothing is cut.
    assert not beside[[0, -1]].any()
    assert not over[[0, -1]].any() and not over[:, [0, -1]].any()


def test_every_row_and_column_has_its_own_label():
    images = np.zeros((2, 2, 96, 96, 3), np.uint8)
    one, other = (draw_grid(images, ["a", "b"], ["c", second]) for second in ("d", "e"))
    rows, columns = np.nonzero((one != other).any(-1))
    assert len(rows) and rows.max() < one.shape[0] - 2 * 96
    assert columns.min() > one.shape[1] - 96
