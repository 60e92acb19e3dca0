"""How visible the edge of the blended face is."""

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.evaluation.frames import Frames, Landmarks, PerFrame
from faceswap_jax.faces.align import face_polygon
from faceswap_jax.faces.face import Image

Row = TypeVar("Row", bound=Hashable)

BAND = 0.03
"""Half the width of the band along the edge, as a fraction of the root of the face's area; at least 2 pixels."""


def seam_ratios(
    rows: Mapping[Row, Frames], target: Frames, landmarks: Landmarks, outline: str
) -> dict[Row, PerFrame]:
    """Mean absolute gradient across the edge of what is blended, over that of the target: 1 shows no seam.

    NaN where the polygon lies off the image or the target is flat there.

    Args:
        rows: clips that are measured, by name.
        target: the clip to compare with.
        landmarks: of the target.
        outline: of what is blended, see `faces.align.face_polygon`.
    """
    ratios = {row: np.full(len(target), np.nan, np.float32) for row in rows}
    for i, points in enumerate(landmarks):
        # The same lines for all
        lines = _lines_across(face_polygon(points, outline), *target.shape[1:3])
        expected = _mean_change(target[i], lines)
        if expected > 0:
            for row, frames in rows.items():
                ratios[row][i] = _mean_change(frames[i], lines) / expected
    return ratios


def edge_gradient(image: Image, polygon: Float[np.ndarray, "n 2"]) -> float:
    """Mean absolute change per pixel across a polygon's edge, within BAND of it, in grey levels.

    Lines of samples one pixel apart cross the edge at right angles, one for every pixel of its length. Only those
    wholly inside the image count; without any the result is NaN.
    """
    return _mean_change(image, _lines_across(polygon, *image.shape[:2]))


def _lines_across(
    polygon: Float[np.ndarray, "n 2"], height: int, width: int
) -> Float32[np.ndarray, "lines samples 2"]:
    """Samples of the lines that cross a polygon's edge and lie inside the image."""
    polygon = polygon.astype(np.float32)
    size = math.sqrt(cv2.contourArea(polygon))
    reach = max(2, round(BAND * size))

    # Points on the edge, about one pixel apart
    sides = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.hypot(*sides.T)
    counts = np.ceil(lengths).astype(int)
    side = np.repeat(np.arange(len(polygon)), counts)
    # Places along their side, 0..1
    number = np.concatenate([np.arange(count) for count in counts])
    along = (number + 0.5) / counts[side]
    edge = polygon[side] + along[:, None] * sides[side]

    # Lines across it, whose samples lie half a pixel and more to both sides
    turned = sides[side][:, ::-1] * (1, -1)
    across = turned / lengths[side, None]
    distances = np.arange(-reach, reach) + 0.5
    # [points on the edge, samples, 2]
    lines = edge[:, None] + distances[:, None] * across[:, None]

    # Those that lie inside the image
    inside = (lines >= 0) & (lines <= (width - 1, height - 1))
    return lines[inside.all((1, 2))].astype(np.float32)


def _mean_change(image: Image, lines: Float32[np.ndarray, "lines samples 2"]) -> float:
    """Mean absolute change from sample to sample, grey levels; NaN without lines."""
    if not len(lines):
        return math.nan
    # The part of the image that the lines cross
    left, top = np.floor(lines.min((0, 1))).astype(int)
    right, bottom = np.ceil(lines.max((0, 1))).astype(int) + 1
    part = image[top:bottom, left:right].astype(np.float32)
    x = lines[..., 0] - np.float32(left)
    y = lines[..., 1] - np.float32(top)
    values = cv2.remap(part, x, y, cv2.INTER_LINEAR)
    changes = np.abs(np.diff(values, axis=1))
    return float(changes.mean())
