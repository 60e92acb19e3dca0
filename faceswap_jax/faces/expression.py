"""What a face does, as a few ratios of its landmarks.

Left and right are the person's own. What lies higher in the face has less: brows that are raised, eyes that look up.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from faceswap_jax.faces import ibug
from faceswap_jax.faces.neutral import NEUTRAL_FACE

MEASURES = {
    "right_gaze_x": 0.05,
    "right_gaze_y": 0.04,
    "right_lids": 0.05,
    "right_brow_inner": 0.07,
    "right_brow_middle": 0.07,
    "right_brow_outer": 0.06,
    "left_gaze_x": 0.05,
    "left_gaze_y": 0.04,
    "left_lids": 0.05,
    "left_brow_inner": 0.07,
    "left_brow_middle": 0.07,
    "left_brow_outer": 0.06,
    "mouth_corners": 0.06,
    "mouth_width": 0.08,
    "mouth_open": 0.08,
    "lips": 0.08,
    "upper_lip": 0.02,
    "jaw": 0.14,
    "brows_apart": 0.03,
}
"""Names of the measures, and the standard deviation of each in one puppet, about."""

ASPECT_RATIOS = ("right_eye", "left_eye", "right_brow", "left_brow", "mouth")
"""Names of the aspect ratios."""

Points = Float[Any, "... 2"]
Length = Float[Any, "..."]


def measures(
    landmarks: Float[np.ndarray, "... 68 2"], irises: Float[np.ndarray, "... 2 2"]
) -> Float[np.ndarray, "... 19"]:
    """The `ratios` of NumPy arrays, in the order of `MEASURES`."""
    return np.stack(ratios(landmarks, irises), -1)


def at_rest() -> Float[np.ndarray, "19"]:
    """The measures of a generic face at rest that looks straight ahead."""
    eyes = [NEUTRAL_FACE[eye].mean(0) for eye in (ibug.RIGHT_EYE, ibug.LEFT_EYE)]
    return measures(NEUTRAL_FACE, np.stack(eyes))


def ratios(landmarks: Float[Any, "... 68 2"], irises: Float[Any, "... 2 2"]) -> list[Length]:
    """Lengths in the face, relative to its size, in the order of `MEASURES`; NaN where irises are.

    They change with the expression, and not with the face's place, size and roll in the image.

    Args:
        landmarks: (x, y), iBUG order; an array of NumPy or of JAX.
        irises: (x, y) of the person's right and left iris.
    """
    at = [landmarks[..., i, :] for i in range(landmarks.shape[-2])]
    upper_lip, lower_lip = at[62], at[66]
    corners = [at[i] for i in ibug.MOUTH_CORNERS]

    lengths = [
        *_eye(at, irises[..., 0, :], ibug.RIGHT_EYE, ibug.RIGHT_BROW[::-1]),
        *_eye(at, irises[..., 1, :], ibug.LEFT_EYE, ibug.LEFT_BROW),
        # The middle of the lips below the line between the corners: a smile
        _beside(*corners, (upper_lip + lower_lip) / 2)[1],
        _apart(*corners),
        _apart(upper_lip, lower_lip),
        _apart(at[51], at[57]),
        _apart(at[33], at[51]),
        _apart(at[33], at[8]),
        _apart(at[21], at[22]),
    ]
    # One of both is long, however the head is turned.
    eyes = (at[36] + at[45]) / 2
    size = (_apart(at[36], at[45]) ** 2 + _apart(eyes, at[33]) ** 2) ** 0.5
    return [length / size for length in lengths]


def aspect_ratios(landmarks: Float[np.ndarray, "... 68 2"]) -> Float[np.ndarray, "... 5"]:
    """By what a thesis of 2023 on transfer compares expressions, in the order of `ASPECT_RATIOS`: heights over widths.

    It leaves open between which points. Here an eye is as high as its lids are apart, in the mean of two places. A brow
    is as high as its middle is above the line through the corners of its eye, whose width counts. The mouth is as high
    as its outer borders are apart, in the mean of three places. A head that turns makes all of them narrow, unlike
    `ratios`.

    Args:
        landmarks: (x, y), iBUG order.
    """
    at = [landmarks[..., i, :] for i in range(landmarks.shape[-2])]
    eyes, brows = [], []
    for eye, brow in ((ibug.RIGHT_EYE, ibug.RIGHT_BROW), (ibug.LEFT_EYE, ibug.LEFT_BROW)):
        corners = (at[eye[0]], at[eye[3]])
        width = _apart(*corners)
        eyes.append((_apart(at[eye[1]], at[eye[5]]) + _apart(at[eye[2]], at[eye[4]])) / 2 / width)
        middle = landmarks[..., list(brow), :].mean(-2)
        brows.append(-_beside(*corners, middle)[1] / width)

    heights = [_apart(at[above], at[below]) for above, below in ((50, 58), (51, 57), (52, 56))]
    width = _apart(*(at[i] for i in ibug.MOUTH_CORNERS))
    return np.stack([*eyes, *brows, sum(heights) / 3 / width], -1)


def _eye(at: list[Points], iris: Points, eye: range, brow: range) -> list[Length]:
    """Gaze, lids and brow of an eye; the brow's points go from the nose outwards."""
    corners = (at[eye[0]], at[eye[3]])
    lids = _apart(at[eye[1]], at[eye[5]]) + _apart(at[eye[2]], at[eye[4]])
    heights = [_beside(*corners, at[brow[i]])[1] for i in (0, 2, 4)]
    return [*_beside(*corners, iris), lids / 2, *heights]


def _apart(a: Points, b: Points) -> Length:
    return ((a - b) ** 2).sum(-1) ** 0.5


def _beside(right: Points, left: Points, point: Points) -> tuple[Length, Length]:
    """How far a point lies from the middle of a line, along it and below it."""
    line = (left - right) / _apart(left, right)[..., None]
    along_x, along_y = line[..., 0], line[..., 1]
    away = point - (left + right) / 2
    x, y = away[..., 0], away[..., 1]
    return x * along_x + y * along_y, y * along_x - x * along_y
