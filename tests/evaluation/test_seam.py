"""Seams of known height."""

import cv2
import numpy as np
import pytest

from faceswap_jax.evaluation.seam import BAND, edge_gradient, seam_ratios
from faceswap_jax.faces.align import face_polygon, polygon_mask, transform_points
from tests.support.face_scenes import face_landmarks, similarity, smooth_picture

SIDE = 200


def landmarks(x: float = 100.0, scale: float = 0.6, degrees: float = 0.0) -> np.ndarray:
    return transform_points(face_landmarks(), similarity(scale, degrees, x, 70))


def seam_ratio(frames: np.ndarray, target: np.ndarray, points: np.ndarray) -> np.ndarray:
    return seam_ratios({"": frames}, target, points, "hull")[""]


def band(polygon: np.ndarray) -> int:
    return round(BAND * np.sqrt(cv2.contourArea(polygon)))


@pytest.mark.parametrize("degrees", [0, 33])
def test_a_step_along_the_edge_has_its_height(degrees):
    """On a flat picture a step crosses each line once: its height over the 2 r - 1 pixels of the line."""
    polygon = face_polygon(landmarks(degrees=degrees))
    mask = polygon_mask(polygon, SIDE, SIDE)[..., None]
    for height in (20, 90):
        picture = np.repeat(np.rint(60 + height * mask), 3, -1).astype(np.uint8)
        expected = height / (2 * band(polygon) - 1)
        assert edge_gradient(picture, polygon) == pytest.approx(expected, rel=0.05)


def test_the_gradient_of_a_slope_is_its_part_across_the_edge():
    """|cos| of the angle between the slope and the normal, along a circle: 2 / pi on average."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = 100 + 60 * np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    slope = np.repeat(np.mgrid[:SIDE, :SIDE][1][..., None], 3, -1).astype(np.uint8)
    assert edge_gradient(slope, circle) == pytest.approx(2 / np.pi, rel=0.01)
    assert edge_gradient(slope, circle[::-1]) == pytest.approx(2 / np.pi, rel=0.01)


def test_like_gradients_of_the_whole_picture():
    """Against NumPy's central differences, projected onto the normal of a square's sides."""
    picture = smooth_picture(SIDE, SIDE)
    square = np.float32([(40, 50), (160, 50), (160, 140), (40, 140)])
    reach = band(square)
    down, right = (
        np.abs(np.gradient(picture.astype(float), axis=axis)).mean(-1) for axis in (0, 1)
    )
    parts = [down[50 - reach : 51 + reach, 40:161], down[140 - reach : 141 + reach, 40:161]]
    parts += [right[50:141, 40 - reach : 41 + reach], right[50:141, 160 - reach : 161 + reach]]
    expected = (
        sum(part.mean() * length for part, length in zip(parts, (120, 120, 90, 90), strict=True))
        / 420
    )
    assert edge_gradient(picture, square) == pytest.approx(expected, rel=0.05)


def test_ratio():
    points = np.stack([landmarks(), landmarks(95)])
    rng = np.random.default_rng(0)
    target = np.clip(
        smooth_picture(SIDE, SIDE) + rng.normal(0, 3, (2, SIDE, SIDE, 3)), 0, 255
    ).astype(np.uint8)
    np.testing.assert_allclose(seam_ratio(target, target, points), 1)
    masks = np.stack([polygon_mask(face_polygon(p), SIDE, SIDE) for p in points])[..., None]
    ratios = []
    for height in (0, 10, 30, 60):
        pasted = np.clip(target - height * (masks > 0.5), 0, 255).astype(np.uint8)
        ratios.append(seam_ratio(pasted, target, points))
    assert ratios[0].shape == (2,) and (np.diff(ratios, axis=0) > 0.1).all()
    inside = np.where(
        cv2.erode(masks[0], np.ones((25, 25)))[None, ..., None] > 0.5, 255 - target, target
    )
    np.testing.assert_allclose(
        seam_ratio(inside, target, points[[0, 0]]), 1
    )  # what is done to the face plays no role


def test_faces_over_the_border():
    target = smooth_picture(SIDE, SIDE)[None]
    assert seam_ratio(target, target, landmarks(190)[None]) == 1
    assert np.isnan(seam_ratio(target, target, landmarks(900)[None]))
    flat = np.full_like(target, 7)
    assert np.isnan(seam_ratio(target, flat, landmarks()[None]))
