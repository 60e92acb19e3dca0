"""How useful a face is as training data: measures only; `Settings` holds the limits."""

import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

from faceswap_jax.faces import align

SIDE = 128
"""Side in pixels of the grey crops that are measured."""

FACE = np.s_[36:108, 36:92]
"""The part of such a crop, rows and columns, from the brows to the lower lip."""

MIDDLE = np.s_[40:84, 44:84]
"""Its part from the eyes to the tip of the nose: no background, of turned heads little (at 40 degrees a quarter)."""

COARSE = 4
"""Side in crop pixels of the squares whose mean brightness is compared to find change."""

_XX = np.array(
    [
        [0, 0, 0],
        [1, -2, 1],
        [0, 0, 0],
    ],
    np.float32,
)
_XY = (
    np.array(
        [
            [1, 0, -1],
            [0, 0, 0],
            [-1, 0, 1],
        ],
        np.float32,
    )
    / 4
)
SECOND_DERIVATIVES = (_XX, _XY, _XX.T)
"""Kernels of the derivatives along x twice, x and y, y twice."""

_ANGLES = np.pi * np.arange(8) / 8
_COSINES = np.cos(_ANGLES)
_SINES = np.sin(_ANGLES)
DIRECTIONS = np.stack([_COSINES**2, 2 * _COSINES * _SINES, _SINES**2], axis=1)
"""Weights of these three that make the second derivative along each of eight directions."""


def analysis_crop(
    image: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"],
    landmarks: Float[np.ndarray, "68 2"],
) -> UInt8[np.ndarray, "128 128"]:
    """Grey crop of SIDE pixels by the alignment `eyes`: measures do not depend on the data set's resolution.

    Args:
        image: the frame, RGB.
        landmarks: in frame pixels.

    Raises:
        ValueError: the two eye centres coincide.
    """
    transform = align.alignment_transform(landmarks, SIDE, "eyes")

    # A bilinear sample covers two pixels of the frame, so every other one needs none: faster than align.crop.
    factor = max(1, math.ceil(0.5 / align.transform_scale(transform)))
    dense = align.scale_transform(transform, factor)
    side = factor * SIDE

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.warpAffine(
        grey, dense, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if grey.dtype == np.uint16:
        grey = np.rint(grey / 257).astype(np.uint8)
    return grey


def sharpness(grey: UInt8[np.ndarray, "128 128"]) -> float:
    """Least variance over directions of the second derivative in the part MIDDLE [squared grey levels].

    The Laplacian's variance (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000) sums two
    directions. Motion blurs along one, and the sum hardly falls; the least of eight does. A sharp background does not
    count.
    """
    derivatives = []
    for kernel in SECOND_DERIVATIVES:
        derivative = cv2.filter2D(grey, cv2.CV_32F, kernel)
        derivatives.append(derivative[MIDDLE].ravel())
    variances = np.einsum("di,ij,dj->d", DIRECTIONS, np.cov(np.stack(derivatives)), DIRECTIONS)
    return float(variances.min())


def change(grey: UInt8[np.ndarray, "128 128"], previous: UInt8[np.ndarray, "128 128"]) -> float:
    """Mean absolute difference of the parts FACE of two analysis crops [grey levels]; 0 for a repeated frame.

    Measured at a quarter of their resolution, where noise counts little.
    """
    difference = grey[FACE].astype(np.float32) - previous[FACE]
    height, width = difference.shape
    coarse = cv2.resize(
        difference, (width // COARSE, height // COARSE), interpolation=cv2.INTER_AREA
    )
    return float(np.abs(coarse).mean())


def outside(polygon: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> float:
    """Fraction, 0..1, of a convex polygon's area that lies outside a frame.

    Args:
        polygon: corners (x, y) in frame pixels.
        shape: height and width of the frame.
    """
    height, width = shape
    # Pixel centres lie at integers, so the frame's corner is half a pixel before the first.
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    frame = np.array(corners, np.float32) - np.float32(0.5)
    polygon = polygon.astype(np.float32)
    inside, _ = cv2.intersectConvexConvex(polygon, frame)

    # A polygon without any area lies outside.
    area = max(cv2.contourArea(polygon), 1e-6)
    return float(np.clip(1 - inside / area, 0, 1))
