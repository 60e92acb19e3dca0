"""The picture of where two faces differ."""

import numpy as np
import pytest

from faceswap_jax.evaluation import difference
from faceswap_jax.evaluation.difference import (
    BRIGHTEST,
    Aligned,
    colour_map,
    draw_differences,
    structure_map,
)
from tests.support.face_scenes import face_landmarks, similarity, smooth_picture

SIDE = 128


@pytest.fixture
def image():
    return smooth_picture(SIDE, SIDE)


def test_equal_images_differ_nowhere(image):
    for measure in (colour_map, structure_map):
        values = measure(image, image)
        assert values.shape == (SIDE, SIDE)
        np.testing.assert_allclose(values, 0, atol=1e-6)


def test_colours_differ_as_far_as_they_are_apart(image):
    other = image.copy()
    other[:10, :10] = image[:10, :10] - BRIGHTEST // 2  # which leaves these colours above 0
    other[20:30, 20:30, 1] -= 3
    other[-10:] ^= 255
    values = colour_map(image, other)
    np.testing.assert_allclose(values[:10, :10], 0.5)
    np.testing.assert_allclose(values[20:30, 20:30], 1 / BRIGHTEST)
    assert not values[40:100].any()
    assert values.max() == 1


def test_structure_differs_where_detail_does_and_not_where_all_is_lighter(image):
    rng = np.random.default_rng(0)
    other = image.copy()
    other[40:80, 40:80] = rng.integers(0, 255, (40, 40, 3))
    values = structure_map(image, other)
    assert values[50:70, 50:70].mean() > 0.8
    assert values[:25].max() < 1e-3
    assert structure_map(image, image + 10).max() < 0.2


def test_the_picture_has_a_line_for_each_pair_and_a_legend(image):
    points = left_face()
    faces = (Aligned(image, points), Aligned(image[::-1], points + 2))
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:, :64] = 1
    drawn = draw_differences([faces, faces], [mask, mask], ("a.png", "b.png"), ["one", "two"])
    one = draw_differences([faces], [mask], ("a.png", "b.png"), ["one"])
    assert len(drawn) - len(one) == SIDE and drawn.shape[1] > 4 * SIDE

    # Both faces as they are
    top = len(one) - SIDE - len(difference._legend(8))
    left = one.shape[1] - 4 * SIDE
    row = one[top : top + SIDE, left:]
    np.testing.assert_array_equal(row[:, :SIDE], image)
    np.testing.assert_array_equal(row[:, SIDE : 2 * SIDE], image[::-1])
    # In the maps, lines of both, and beside the faces all is pale.
    for colour in (difference.LINE_OF_A, difference.LINE_OF_B):
        near = np.abs(row[:, 2 * SIDE :].astype(int) - colour).max(-1) < 40
        assert near[:, :SIDE].any() and near[:, SIDE:].any()
    assert row[:8, 3 * SIDE - 8 : 3 * SIDE].min() >= 190


def left_face() -> np.ndarray:
    """Landmarks of a face in the left half."""
    transform = similarity(0.25, 0, 32, 50)
    return (face_landmarks() @ transform[:, :2].T + transform[:, 2]).astype(np.float32)
