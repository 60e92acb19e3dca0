"""Masks of many faces at once."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

_CACHED_SAMPLES = 2**20
"""Samples that are filled together, as many as fit into a core's cache."""

_FRACTION_BITS = 8
"""Of OpenCV's fixed-point corners."""


def polygon_masks(
    points: Float[np.ndarray, "points 2"], counts: Int[np.ndarray, "n"], side: int
) -> UInt8[np.ndarray, "n r r"]:
    """The fraction of each pixel that a polygon covers, 0..255, for many polygons.

    Several times as fast as `align.polygon_mask` and nearly as exact: 0.08 rms (0.16 from 256 px on) in the pixels that
    the outline of a face passes, where that has 0.06.

    Args:
        points: corners of all polygons, one polygon after the other, at least three each.
        counts: number of corners of each.
        side: of the masks.
    """
    fineness = 2 if side >= 256 else 4  # samples along each axis of a pixel, a power of two
    masks = np.zeros((len(counts), side, side), np.uint8)

    # A box around all polygons: elsewhere all masks are 0.
    low = np.floor(points.min(0)).astype(int) - 1
    high = np.ceil(points.max(0)).astype(int) + 2
    left, top = np.clip(low, 0, side).tolist()
    right, bottom = np.clip(high, 0, side).tolist()
    if left >= right or top >= bottom:
        return masks
    box_width, box_height = right - left, bottom - top

    # Corners in samples of the box
    corners = (points + np.array([0.5 - left, 0.5 - top])) * fineness - 0.5
    polygons = _fixed_point(_shrunk(corners, counts), counts)

    # Fill several polygons below each other, then shrink the sheet.
    width, height = box_width * fineness, box_height * fineness
    together = max(_CACHED_SAMPLES // (height * width), 1)
    for first in range(0, len(masks), together):
        some = polygons[first : first + together]
        fine = np.zeros((len(some) * height, width), np.uint8)
        for row, polygon in enumerate(some):
            sheet = fine[row * height : (row + 1) * height]
            cv2.fillPoly(sheet, [polygon], 255, shift=_FRACTION_BITS)
        # Of all reductions halving is the fast one.
        while fine.shape[1] > box_width:
            halved = (fine.shape[1] // 2, fine.shape[0] // 2)
            fine = cv2.resize(fine, halved, interpolation=cv2.INTER_AREA)
        covered = fine.reshape(len(some), box_height, box_width)
        masks[first : first + together, top:bottom, left:right] = covered
    return masks


def _shrunk(
    corners: Float[np.ndarray, "points 2"], counts: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "points 2"]:
    """Corners moved towards the middle of their polygon by half a sample: OpenCV fills pixels on the outline, too."""
    starts = np.cumsum(counts) - counts
    middles = np.add.reduceat(corners, starts) / counts[:, None]
    inwards = np.repeat(middles, counts, axis=0) - corners
    distances = np.linalg.norm(inwards, axis=1, keepdims=True)
    return corners + inwards * (0.5 / np.maximum(distances, 1))


def _fixed_point(
    corners: Float[np.ndarray, "points 2"], counts: Int[np.ndarray, "n"]
) -> Sequence[Int32[np.ndarray, "m 2"]]:
    """The corners of each polygon as OpenCV takes them."""
    rounded = np.rint(corners * 2**_FRACTION_BITS).astype(np.int32)
    return np.split(rounded, np.cumsum(counts)[:-1])
