"""Similarity alignment of faces, crops, face polygons and masks.

Pixel centres lie at integer coordinates (OpenCV's convention): a picture of width w covers x from -0.5 to w - 0.5.
A transform is a 2x3 matrix that takes homogeneous frame points (x, y, 1) to crop points.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from faceswap_jax.faces.ibug import BROWS, JAW, LEFT_BROW, LEFT_EYE, MIRROR, RIGHT_BROW, RIGHT_EYE

INTEROCULAR = 0.26
"""Distance between the eye centres, as a share of the crop's side."""

EYE_MIDPOINT = (0.5, 0.42)
"""Where the point between the eye centres lies in the crop (x, y), as shares of its side."""

MASK_SUPERSAMPLING = 8


def alignment_transform(
    landmarks: Float[np.ndarray, "68 2"], resolution: int
) -> Float[np.ndarray, "2 3"]:
    """Similarity transform from frame to crop pixels that fixes the eye centres.

    The eye centres, each the mean of its six landmarks, come to lie on a horizontal line, INTEROCULAR * resolution
    apart, with their midpoint at EYE_MIDPOINT.

    Raises:
        ValueError: the two eye centres coincide.
    """
    right, left = (landmarks[eye].astype(np.float64).mean(0) for eye in (RIGHT_EYE, LEFT_EYE))
    x, y = left - right
    squared = x * x + y * y
    if not squared > 0:
        raise ValueError("The eye centres coincide, so the landmarks define no alignment.")
    linear = (
        INTEROCULAR * resolution / squared * np.array([[x, y], [-y, x]])
    )  # turns (x, y) onto the x axis
    goal = resolution * np.array(EYE_MIDPOINT) - 0.5
    return np.column_stack([linear, goal - linear @ ((left + right) / 2)])


def transform_points(
    points: Float[np.ndarray, "n 2"], transform: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "n 2"]:
    """Points (x, y) under an affine transform, as float32."""
    return (points.astype(np.float64) @ transform[:, :2].T + transform[:, 2]).astype(np.float32)


def invert(transform: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """The inverse transform, from crop to frame pixels."""
    linear = np.linalg.inv(transform[:, :2].astype(np.float64))
    return np.column_stack([linear, -linear @ transform[:, 2]])


def scale_transform(transform: Float[np.ndarray, "2 3"], factor: float) -> Float[np.ndarray, "2 3"]:
    """The same alignment for a crop `factor` times as large, e.g. 2.0 from 256 to 512 px.

    Scales about the crop's outer corner (-0.5, -0.5), not about the centre of its first pixel.
    """
    scaled = factor * transform.astype(np.float64)
    scaled[:, 2] += (factor - 1) / 2
    return scaled


def transform_scale(transform: Float[np.ndarray, "2 3"]) -> float:
    """Enlargement of a similarity transform, in crop pixels per frame pixel."""
    return float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))


def warp(
    image: np.ndarray,
    transform: Float[np.ndarray, "2 3"],
    width: int,
    height: int,
    border: int = cv2.BORDER_REPLICATE,
    shrinking: int = cv2.INTER_CUBIC,
) -> np.ndarray:
    """Picture [height, width, ...] seen through a similarity transform, without aliasing; keeps the dtype.

    Where the transform shrinks, the picture is sampled at two or four times the wanted resolution, about as dense as
    the source, and halved again; a much larger source is halved first.

    Args:
        image: the source.
        transform: from its pixels to those of the result.
        width: of the result.
        height: of the result.
        border: OpenCV border mode that fills in outside of the source.
        shrinking: OpenCV interpolation where the transform shrinks by up to 2.4; beyond, linear shows no less.
    """
    scale = transform_scale(transform)
    # Averaged samples may lie 1.2 source pixels apart.
    halvings = max(1, int(np.ceil(-np.log2(1.2 * scale)))) if scale < 1 - 1e-6 else 0
    after = min(halvings, 2)
    for _ in range(halvings - after):
        even = tuple(max(side // 2, 1) for side in image.shape[1::-1])
        image = cv2.resize(image[: 2 * even[1], : 2 * even[0]], even, interpolation=cv2.INTER_AREA)
        # The inverse of scale_transform, on the side of the source.
        transform = np.column_stack(
            [2 * transform[:, :2], transform[:, 2] + transform[:, :2].sum(1) / 2]
        )
    flags = (cv2.INTER_CUBIC, shrinking, cv2.INTER_LINEAR)[after]
    dense = scale_transform(transform, 2**after)
    image = cv2.warpAffine(
        image, dense, (width << after, height << after), flags=flags, borderMode=border
    )
    for _ in range(after):
        image = cv2.resize(
            image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA
        )
    return image


def crop(
    image: UInt8[np.ndarray, "h w 3"], transform: Float[np.ndarray, "2 3"], resolution: int
) -> UInt8[np.ndarray, "r r 3"]:
    """Aligned crop of a frame; beyond the frame's border its outermost pixels are repeated."""
    cropped = warp(image, transform, resolution, resolution, shrinking=cv2.INTER_LINEAR)
    scale = transform_scale(transform)
    if scale >= 1:
        return cropped
    # Linear interpolation has blurred with a triangle, whose variance is a sixth of a source pixel squared: the part of
    # second order is taken back, which cubic interpolation would have kept in eight times the time.
    a = scale**2 / 12
    unblur = np.array([[0, -a, 0], [-a, 1 + 4 * a, -a], [0, -a, 0]], np.float32)
    return cv2.filter2D(cropped, -1, unblur, borderType=cv2.BORDER_REPLICATE)


def resize(image: UInt8[np.ndarray, "r r 3"], resolution: int) -> UInt8[np.ndarray, "s s 3"]:
    """The same crop at another resolution; `scale_transform` is its counterpart for transforms."""
    interpolation = cv2.INTER_AREA if resolution < len(image) else cv2.INTER_CUBIC
    return cv2.resize(image, (resolution, resolution), interpolation=interpolation)


def face_polygon(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "n 2"]:
    """Outline of the face [n, 2]: the convex hull of jaw and brows, in the landmarks' pixels.

    Each brow is first moved away from its eye by half of the distance between their centres, so that the brows lie
    inside the outline.
    """
    raised = landmarks.astype(np.float32)
    for brow, eye in ((RIGHT_BROW, RIGHT_EYE), (LEFT_BROW, LEFT_EYE)):
        raised[brow] += (raised[brow].mean(0) - raised[eye].mean(0)) / 2
    return cv2.convexHull(raised[[*JAW, *BROWS]])[:, 0]


def polygon_mask(
    polygon: Float[np.ndarray, "n 2"], height: int, width: int
) -> Float[np.ndarray, "h w"]:
    """Share of each pixel that a polygon covers, float32 in 0..1 [height, width]."""
    mask = np.zeros((height, width), np.float32)
    low = np.clip(np.floor(polygon.min(0)).astype(int) - 1, 0, (width, height))
    high = np.clip(np.ceil(polygon.max(0)).astype(int) + 2, 0, (width, height))
    box_width, box_height = high - low
    if min(box_width, box_height) <= 0:
        return mask
    fine = np.zeros((box_height * MASK_SUPERSAMPLING, box_width * MASK_SUPERSAMPLING), np.uint8)
    bits = 8  # of the fixed-point vertices
    points = (polygon.astype(np.float64) - low + 0.5) * MASK_SUPERSAMPLING - 0.5
    cv2.fillPoly(fine, [np.round(points * 2**bits).astype(np.int32)], 255, shift=bits)
    covered = cv2.resize(fine, (box_width, box_height), interpolation=cv2.INTER_AREA)
    mask[low[1] : high[1], low[0] : high[0]] = covered / np.float32(255)
    return mask


def mirror_landmarks(landmarks: Float[np.ndarray, "68 2"], width: int) -> Float[np.ndarray, "68 2"]:
    """Landmarks of the horizontally mirrored picture of the given width, left and right renamed."""
    mirrored = landmarks[MIRROR].astype(np.float32)
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return mirrored
