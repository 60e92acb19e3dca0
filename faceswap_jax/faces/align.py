"""How a face is cut from its frame, alignments by name; and transforms, crops, outlines and masks.

Pixel centres lie at integer coordinates (OpenCV's convention): an image of width w covers x from -0.5 to w - 0.5.
A transform is a 2x3 matrix that takes homogeneous frame points (x, y, 1) to crop points.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Image, Landmarks
from faceswap_jax.faces.ibug import (
    BROWS,
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    MOUTH_CORNERS,
    RIGHT_BROW,
    RIGHT_EYE,
)
from faceswap_jax.faces.neutral import NEUTRAL_FACE

Transform = Float[np.ndarray, "2 3"]

INTEROCULAR = 0.26
"""Distance between the eye centres, as a fraction of the crop's side (choice)."""

EYE_MIDPOINT = (0.5, 0.42)
"""Where the point between the eye centres lies in the crop (x, y), as fractions of its side (choice)."""

STEADY = np.array([0, 1, 2, 14, 15, 16, *range(27, 36), 36, 39, 42, 45])
"""Landmarks that expressions hardly move: jaw beside the ears, nose, corners of the eyes."""

CLOSENESS = 1.2
"""How much larger a face at rest is in the crop of `stable` than in that of `eyes`: heads that turn stay inside. On
puppets that turn by up to 40 degrees less is cut off, and a perfect network's swap is 0.6 dB closer to the truth."""

CLOSER_TO = (0.5, 0.75)
"""Where both crops have the same point of a face at rest (x, y), as fractions of their side."""

BOX_CONTEXT = 1.5
"""Side of the crop of `box`, in longer sides of the box around the landmarks."""


class Outline(NamedTuple):
    """How far the outline of a face reaches.

    Attributes:
        jaw: the landmarks of the jaw that it follows.
        above_brows: how far it lies above the brows, in distances of brows from eyes.
        grown: by how much larger it is then than the face, around the middle of these landmarks.
    """

    jaw: Sequence[int]
    above_brows: float
    grown: float = 1.0


OUTLINES = {
    "hull": Outline(JAW, 0.5),
    "inner": Outline(JAW[4:-4], 0.5),
    "forehead": Outline(JAW, 1.0),
    "wide": Outline(JAW, 0.5, 1.3),
}
"""By name. `face_polygon` says what they are for."""

DEFAULT_OUTLINE = "hull"

MASK_HALVINGS = 3
"""Masks are drawn 2**3 times as fine as they are wanted, and halved so often."""

FULL = 4**MASK_HALVINGS
"""Value of a pixel that is wholly covered: so large that halving gives whole numbers, and no larger."""

_COVERED = (np.rint(np.arange(256) * 255 / FULL).clip(max=255) / 255).astype(np.float32)
# What is covered of a pixel, by its value: in steps of 1 / 255, as images have them.

_SHRINKS = 1 - 1e-6  # a smaller scale makes an image smaller; closer to 1 it is rounding


def alignment_transform(landmarks: Landmarks, resolution: int, alignment: str) -> Transform:
    """Transform from frame to crop pixels; a similarity, but for `neutral`.

    Args:
        landmarks: of the face, frame pixels.
        resolution: side of the crop in pixels.
        alignment: one of ALIGNMENTS.

    Raises:
        InputError: there is no such alignment.
        ValueError: the landmarks coincide or are no numbers.
    """
    if alignment not in ALIGNMENTS:
        raise InputError(
            f"There is no alignment '{alignment}'; choose one of {', '.join(ALIGNMENTS)}."
        )
    with np.errstate(all="ignore"):
        transform = ALIGNMENTS[alignment](landmarks.astype(np.float64))
        linear = transform[:, :2]
        area = _area(transform)
        least_area = 1e-9 * np.sum(linear**2)
    if not np.isfinite(transform).all() or area <= least_area:
        raise ValueError(f"The landmarks coincide, so they define no alignment '{alignment}'.")

    # From the unit square to pixels, whose centres lie at integers.
    return resolution * transform - [[0, 0, 0.5]]


def _eyes(landmarks: Landmarks) -> Transform:
    """`eyes`, as published: the eye centres on a horizontal line, a fixed distance apart (US 2020/0372621 A1).

    A turned head comes closer, since its eyes do: 1.38 times at a yaw of 40 degrees.
    """
    right, left = eye_centres(landmarks)
    edge = (left - right) / INTEROCULAR
    middle = (left + right) / 2
    return _placed(edge, middle, EYE_MIDPOINT)


def _stable(landmarks: Landmarks) -> Transform:
    """`stable`, ours: least squares over the STEADY landmarks, from the frame to where a neutral face has them.

    A head that turns by 40 degrees keeps its size to 5 %, and neither mouth nor lids move the crop.
    """
    return fitted(landmarks[STEADY], _STEADY_GOALS)


def _neutral(landmarks: Landmarks) -> Transform:
    """`neutral`: the affine map by which all landmarks come closest to those of a generic neutral face.

    So normalises the source of editing.md; that all 68 count alike, by least squares, is a choice, and so is the face.
    """
    homogeneous = np.column_stack([landmarks, np.ones(len(landmarks))])
    if not np.isfinite(homogeneous).all() or np.linalg.matrix_rank(homogeneous) < 3:
        return np.full((2, 3), np.nan)
    solution, *_ = np.linalg.lstsq(homogeneous, _NEUTRAL_CROP)
    return solution.T


def _ffhq(landmarks: Landmarks) -> Transform:
    """`ffhq`: from eye centres and corners of the mouth, as FFHQ's published script `download_ffhq.py` does.

    What lies beyond the frame repeats its border, where the script mirrors and blurs.
    """
    right, left = eye_centres(landmarks)
    eyes = (right + left) / 2
    mouth = landmarks[[*MOUTH_CORNERS]].mean(0)
    across = left - right
    down = mouth - eyes

    # Halfway between the line of the eyes and the normal of the line from eyes to mouth.
    x, y = down
    direction = across + np.array([y, -x])
    by_eyes = 2.0 * np.hypot(*across)
    by_mouth = 1.8 * np.hypot(*down)
    half_side = max(by_eyes, by_mouth)
    edge = 2 * half_side * direction / np.hypot(*direction)
    return _placed(edge, eyes + 0.1 * down, (0.5, 0.5))


def _box(landmarks: Landmarks) -> Transform:
    """`box`: a square around the face's box, as upright as the frame (X2Face); how much context is a choice."""
    low = landmarks.min(0)
    high = landmarks.max(0)
    side = BOX_CONTEXT * (high - low).max()
    edge = np.array([side, 0])
    return _placed(edge, (low + high) / 2, (0.5, 0.5))


def fitted(points: Float[np.ndarray, "n 2"], goals: Float[np.ndarray, "n 2"]) -> Transform:
    """The similarity that takes points closest to their goals, by least squares.

    The minimum is Umeyama's, "Least-squares estimation of transformation parameters", 1991.
    """
    centre = points.mean(0)
    goal = goals.mean(0)
    points = points - centre
    goals = goals - goal

    x, y = points.T
    goal_x, goal_y = goals.T
    cosine = np.sum(points * goals)
    sine = np.sum(x * goal_y - y * goal_x)

    # The vector that becomes (1, 0)
    length = np.sum(points**2) / (cosine**2 + sine**2)
    edge = length * np.array([cosine, -sine])
    return _placed(edge, centre, goal)


def eye_centres(landmarks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the six landmarks of the person's right and left eye."""
    right = landmarks[RIGHT_EYE].mean(0)
    left = landmarks[LEFT_EYE].mean(0)
    return right, left


def turn_and_scale(x: float, y: float) -> Float[np.ndarray, "2 2"]:
    """The linear map, without shear and mirroring, that takes (1, 0) to (x, y)."""
    return np.array([[x, -y], [y, x]])


def _placed(
    edge: Float[np.ndarray, "2"], point: Float[np.ndarray, "2"], goal: tuple[float, float]
) -> Transform:
    """Similarity from the frame to the unit square.

    Args:
        edge: vector of the frame that becomes the square's upper edge, from left to right.
        point: of the frame.
        goal: where it comes to lie in the square.
    """
    x, y = edge
    linear = turn_and_scale(x, -y) / (x * x + y * y)
    return np.column_stack([linear, goal - linear @ point])


ALIGNMENTS: Mapping[str, Callable[[Landmarks], Transform]] = {
    "eyes": _eyes,
    "stable": _stable,
    "neutral": _neutral,
    "ffhq": _ffhq,
    "box": _box,
}
"""The alignments by name: from landmarks to the map from frame pixels to the crop's unit square."""

# Where the crop's unit square has the landmarks of a neutral face: by `eyes`, and the steady ones by `stable`.
_NEUTRAL_CROP = INTEROCULAR * NEUTRAL_FACE + EYE_MIDPOINT
_STEADY_GOALS = CLOSENESS * (_NEUTRAL_CROP[STEADY] - CLOSER_TO) + CLOSER_TO


def transform_points(
    points: Float[np.ndarray, "n 2"], transform: Transform
) -> Float[np.ndarray, "n 2"]:
    """Points (x, y) under an affine transform, as float32."""
    linear = transform[:, :2]
    moved = points.astype(np.float64) @ linear.T + transform[:, 2]
    return moved.astype(np.float32)


def invert(transform: Transform) -> Transform:
    """The inverse transform, from crop to frame pixels."""
    linear = np.linalg.inv(transform[:, :2].astype(np.float64))
    return np.column_stack([linear, -linear @ transform[:, 2]])


def scale_transform(transform: Transform, factor: float) -> Transform:
    """The same alignment for a crop `factor` times as large, e.g. 2.0 from 256 to 512 px.

    Scales about the crop's outer corner (-0.5, -0.5), not about the centre of its first pixel.
    """
    scaled = factor * transform.astype(np.float64)
    scaled[:, 2] += (factor - 1) / 2
    return scaled


def transform_scale(transform: Transform) -> float:
    """Enlargement of a similarity transform, in crop pixels per frame pixel."""
    return math.sqrt(_area(transform))


def _area(transform: Transform) -> float:
    """Of the parallelogram that a unit square becomes; in plain numbers, a tenth of the time of NumPy's `det`."""
    (a, b, _), (c, d, _) = transform.tolist()
    return abs(a * d - b * c)


def warp(
    image: np.ndarray,
    transform: Transform,
    width: int,
    height: int,
    border: int = cv2.BORDER_REPLICATE,
    shrinking: int = cv2.INTER_CUBIC,
) -> np.ndarray:
    """Image [height, width, ...] seen through a transform, without aliasing; keeps the dtype.

    Where the transform shrinks, the image is sampled at two or four times the wanted resolution, about as densely as
    the source, and halved again. A much larger source is halved first.

    Args:
        image: the source.
        transform: from its pixels to those of the result.
        width: of the result.
        height: of the result.
        border: OpenCV border mode that fills in outside of the source.
        shrinking: OpenCV interpolation where the transform shrinks by up to 2.4; beyond, linear shows no less.
    """
    scale = transform_scale(transform)
    halvings = 0
    if scale < _SHRINKS:
        # Averaged samples may lie 1.2 source pixels apart.
        halvings = max(1, math.ceil(-np.log2(1.2 * scale)))
    after = min(halvings, 2)

    # Halve the source
    for _ in range(halvings - after):
        image = halved(image)
        # The inverse of scale_transform, on the side of the source.
        linear = transform[:, :2]
        offset = transform[:, 2] + linear.sum(1) / 2
        transform = np.column_stack([2 * linear, offset])

    # Sample densely
    interpolations = (cv2.INTER_CUBIC, shrinking, cv2.INTER_LINEAR)
    factor = 2**after
    dense = scale_transform(transform, factor)
    size = (width * factor, height * factor)
    image = cv2.warpAffine(image, dense, size, flags=interpolations[after], borderMode=border)

    # Halve the result
    for _ in range(after):
        image = halved(image)
    return image


def halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; of an odd side the last pixel is left out."""
    height, width = image.shape[:2]
    half_height = max(height // 2, 1)
    half_width = max(width // 2, 1)
    even = image[: 2 * half_height, : 2 * half_width]
    return cv2.resize(even, (half_width, half_height), interpolation=cv2.INTER_AREA)


def crop(image: Image, transform: Transform, resolution: int) -> UInt8[np.ndarray, "r r 3"]:
    """Aligned crop of a frame; beyond the frame's border its outermost pixels are repeated."""
    cropped = warp(image, transform, resolution, resolution, shrinking=cv2.INTER_LINEAR)
    scale = transform_scale(transform)
    if scale >= _SHRINKS:
        return cropped
    # Cubic interpolation would not have blurred, in eight times the time.
    return sharpen_linear(cropped, scale)


def sharpen_linear(image: np.ndarray, scale: float) -> np.ndarray:
    """Takes back what linear interpolation has blurred, to second order.

    It blurs with a triangle, whose variance is a sixth of a source pixel squared.

    Args:
        image: interpolated linearly; 8 or 16 bits.
        scale: its pixels per source pixel.
    """
    a = scale**2 / 12
    kernel = np.array([-a, 1 + 2 * a, -a], np.float32)
    # Along rows, then along columns
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def cut_face(
    image: Image, landmarks: Landmarks, resolution: int, alignment: str
) -> UInt8[np.ndarray, "r r 3"]:
    """The aligned crop of a face; see `alignment_transform`."""
    transform = alignment_transform(landmarks, resolution, alignment)
    return crop(image, transform, resolution)


def resize(image: UInt8[np.ndarray, "r r 3"], resolution: int) -> UInt8[np.ndarray, "s s 3"]:
    """The same crop at another resolution; `scale_transform` is its counterpart for transforms."""
    interpolation = cv2.INTER_AREA if resolution < len(image) else cv2.INTER_CUBIC
    return cv2.resize(image, (resolution, resolution), interpolation=interpolation)


def face_polygon(landmarks: Landmarks, outline: str = DEFAULT_OUTLINE) -> Float[np.ndarray, "n 2"]:
    """Outline of the face [n, 2], in the landmarks' pixels: the convex hull of jaw and brows.

    Each brow first moves away from its eye, so that it lies inside.

    Args:
        landmarks: of the face.
        outline: "hull", with the whole jaw, up to the ears; "inner", without its ends, so that temples, sideburns and
            the hair there stay outside; "forehead", as hull, but with room for brows that an edit raises; "wide", as
            hull, but with room for faces of another shape.
    """
    jaw, above_brows, grown = OUTLINES[outline]
    raised = landmarks.astype(np.float32)
    for brow, eye in ((RIGHT_BROW, RIGHT_EYE), (LEFT_BROW, LEFT_EYE)):
        distance = raised[brow].mean(0) - raised[eye].mean(0)
        raised[brow] += above_brows * distance
    points = raised[[*jaw, *BROWS]]
    if grown != 1:
        # Around the middle of all points: that of the hull's corners jumps as one joins them.
        middle = points.mean(0)
        points = middle + np.float32(grown) * (points - middle)
    return cv2.convexHull(points)[:, 0]


def check_outline(outline: str) -> None:
    """Raises InputError unless there is such an outline of faces."""
    if outline not in OUTLINES:
        raise InputError(f"There is no outline '{outline}'; choose one of {', '.join(OUTLINES)}.")


def polygon_mask(
    polygon: Float[np.ndarray, "n 2"], height: int, width: int
) -> Float[np.ndarray, "h w"]:
    """Fraction of each pixel that a polygon covers, float32 in 0..1 [height, width]."""
    mask = np.zeros((height, width), np.float32)

    # The box around the polygon is all that is drawn.
    size = (width, height)
    first = np.floor(polygon.min(0)).astype(int) - 1
    last = np.ceil(polygon.max(0)).astype(int) + 1
    low = np.clip(first, 0, size)
    high = np.clip(last + 1, 0, size)
    left, top = low
    right, bottom = high
    box = high - low
    if box.min() <= 0:
        return mask

    # Drawn finer than wanted, with vertices in fixed point.
    n = 2**MASK_HALVINGS
    fine = np.zeros(n * box[::-1], np.uint8)
    points = (polygon.astype(np.float64) - low + 0.5) * n - 0.5
    bits = 8
    vertices = np.round(points * 2**bits).astype(np.int32)
    cv2.fillPoly(fine, [vertices], FULL, shift=bits)

    # OpenCV halves images ten times as fast as it makes them otherwise smaller.
    for _ in range(MASK_HALVINGS):
        fine = halved(fine)
    mask[top:bottom, left:right] = cv2.LUT(fine, _COVERED)
    return mask
