"""Masks of polygons: the fraction of each pixel that is covered."""

import cv2
import numpy as np

from data_pipelines.batches.masks import polygon_masks
from faceswap_jax.faces import align
from tests.support.records import neutral_landmarks


def polygon_mask(polygon, side: int) -> np.ndarray:
    return polygon_masks(polygon, np.array([len(polygon)]), side)[0]


def covered(polygon, side: int) -> np.ndarray:
    """The fraction of each pixel that a convex polygon covers, from 8 x 8 samples."""
    samples = 8
    centres = (np.arange(side * samples) + 0.5) / samples - 0.5
    x, y = np.meshgrid(centres, centres)
    turns = [
        (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True)
    ]
    inside = np.all(np.stack(turns) >= 0, 0) | np.all(np.stack(turns) <= 0, 0)
    return inside.reshape(side, samples, side, samples).mean((1, 3))


def test_a_mask_is_the_covered_fraction_of_each_pixel():
    rng = np.random.default_rng(0)
    for side in (16, 40):
        for _ in range(8):
            corners = rng.uniform(-0.3 * side, 1.3 * side, (8, 2)).astype(np.float32)
            polygon = cv2.convexHull(corners)[:, 0]
            error = polygon_mask(polygon, side) / 255 - covered(polygon, side)
            assert np.abs(error).max() < 0.5 and abs(error.mean()) < 0.03
    assert not polygon_mask(np.array([[-9, -9], [-2, -9], [-2, -3]], np.float32), 16).any()


def test_many_masks_are_made_as_one_by_one():
    rng = np.random.default_rng(1)
    polygons = [
        cv2.convexHull(rng.uniform(0, 40, (corners, 2)).astype(np.float32))[:, 0]
        for corners in (3, 5, 9)
    ]
    together = polygon_masks(np.concatenate(polygons), np.array([*map(len, polygons)]), 40)
    np.testing.assert_array_equal(together, [polygon_mask(polygon, 40) for polygon in polygons])


def test_the_mask_of_a_face_is_nearly_as_exact_as_the_slower_one_and_not_too_large():
    errors = []
    for turn in np.linspace(-30, 30, 16):
        turned = cv2.getRotationMatrix2D((32, 32), turn, 1 + turn / 200)
        polygon = align.face_polygon(align.transform_points(neutral_landmarks(64), turned))
        exact = covered(polygon, 64)
        slower = align.polygon_mask(polygon, 64, 64)
        errors.append([polygon_mask(polygon, 64) / 255 - exact, slower - exact])
    ours, slower = np.square(errors).mean((0, 2, 3))
    assert ours < 2 * slower
    ours, slower = np.sum(errors, (0, 2, 3))
    assert abs(ours) < 0.3 * slower
