"""How visible the edge of the blended face is."""

import math

import cv2
import numpy as np
from jaxtyping import Float

from faceswap_jax.evaluation.frames import Frames, Landmarks, PerFrame
from faceswap_jax.faces.align import face_polygon
from faceswap_jax.faces.face import Image

BAND = 0.03
"""Half the width of the band along the edge, as a fraction of the root of the face's area; at least 2 pixels."""


def seam_ratio(frames: Frames, target: Frames, landmarks: Landmarks) -> PerFrame:
    """Mean absolute gradient across the edge of the face polygon, over that of the target: 1 shows no seam.

    NaN where the polygon lies off the image or the target is flat there.
    """
    ratios = []
    for frame, other, points in zip(frames, target, landmarks, strict=True):
        polygon = face_polygon(points)
        gradient = edge_gradient(frame, polygon)
        expected = edge_gradient(other, polygon)
        ratios.append(gradient / expected if expected > 0 else math.nan)
    return np.array(ratios, np.float32)


def edge_gradient(image: Image, polygon: Float[np.ndarray, "n 2"]) -> float:
    """Mean absolute change per pixel across a polygon's edge, within BAND of it, in grey levels.

    Lines of samples one pixel apart cross the edge at right angles, one for every pixel of its length. Only those
    wholly inside the image count; without any the result is NaN.
    """
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

    # Read those that lie inside the image
    height, width = image.shape[:2]
    inside = (lines >= 0) & (lines <= (width - 1, height - 1))
    lines = lines[inside.all((1, 2))].astype(np.float32)
    if not len(lines):
        return math.nan
    x = lines[..., 0]
    y = lines[..., 1]
    values = cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR)
    changes = np.abs(np.diff(values, axis=1))
    return float(changes.mean())
