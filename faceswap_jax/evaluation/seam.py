"""How visible the edge of the blended face is."""

import math

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from faceswap_jax.faces.align import face_polygon

BAND = 0.03
"""Half the width of the band along the edge, as a fraction of the root of the face's area; at least 2 pixels."""


def seam_ratio(
    frames: UInt8[np.ndarray, "n h w 3"],
    target: UInt8[np.ndarray, "n h w 3"],
    landmarks: Float[np.ndarray, "n 68 2"],
) -> Float32[np.ndarray, "n"]:
    """Mean absolute gradient across the edge of the face polygon, over that of the target: 1 shows no seam.

    NaN where the polygon lies off the image or the target is flat there.
    """
    ratios = []
    for frame, other, points in zip(frames, target, landmarks, strict=True):
        polygon = face_polygon(points)
        expected = edge_gradient(other, polygon)
        ratios.append(edge_gradient(frame, polygon) / expected if expected > 0 else math.nan)
    return np.array(ratios, np.float32)


def edge_gradient(image: UInt8[np.ndarray, "h w 3"], polygon: Float[np.ndarray, "n 2"]) -> float:
    """Mean absolute change per pixel across a polygon's edge, within BAND of it, in grey levels.

    Lines of samples one pixel apart cross the edge at right angles, one for every pixel of its length. Only those
    wholly inside the image count; without any the result is NaN.
    """
    polygon = polygon.astype(np.float32)
    reach = max(2, round(BAND * math.sqrt(cv2.contourArea(polygon))))

    # Points on the edge, about one pixel apart
    sides = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.hypot(*sides.T)
    counts = np.ceil(lengths).astype(int)
    side = np.repeat(np.arange(len(polygon)), counts)
    along = np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count])
    edge = polygon[side] + along[:, None] * sides[side]

    # Lines across it, whose samples lie half a pixel and more to both sides
    across = sides[side][:, ::-1] * (1, -1) / lengths[side, None]
    distances = np.arange(-reach, reach) + 0.5
    lines = edge[:, None] + distances[:, None] * across[:, None]
    limit = np.array(image.shape[1::-1]) - 1
    lines = lines[((lines >= 0) & (lines <= limit)).all((1, 2))].astype(np.float32)
    if not len(lines):
        return math.nan
    values = cv2.remap(image.astype(np.float32), lines[..., 0], lines[..., 1], cv2.INTER_LINEAR)
    return float(np.abs(np.diff(values, axis=1)).mean())
