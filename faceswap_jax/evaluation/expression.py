"""Pose and expression of one clip against those of another, from landmarks.

Frames without a face have landmarks that are NaN, and so are their measures.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.evaluation.frames import Landmarks
from faceswap_jax.faces.ibug import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from faceswap_jax.faces.pose import head_pose

RATIOS = ("right eye", "left eye", "right brow", "left brow", "mouth")
INNER_LIPS = range(60, 68)
# Pairs of an upper and a lower point, counted along the outline from its first corner.
EYE_RIMS = ((1, 5), (2, 4))
LIP_RIMS = ((1, 7), (2, 6), (3, 5))
Point = Float[np.ndarray, "n 2"]  # of every frame
Ratios = Float[np.ndarray, "n k"]
OnePerFrame = Float[np.ndarray, "n"]

CONSTANT = 1e-4
"""A ratio whose standard deviation is no more than this does not move: far below what any landmarker resolves."""


def aspect_ratios(landmarks: Landmarks) -> Float32[np.ndarray, "n 5"]:
    """The RATIOS of every frame, the same for any place, size and tilt of the face.

    Eyes: mean height of the opening over its width (Soukupova and Cech 2016, equation 1). Mouth: likewise, of the inner
    lips. Brows: height of the brow's mean above the line through the corners of its eye, over the eye's width; lids
    play no part. Heights and widths of a turned head are foreshortened differently: compare equal poses.
    """
    points = landmarks.astype(np.float64)
    right_eye = points[:, list(RIGHT_EYE)]
    left_eye = points[:, list(LEFT_EYE)]
    # In the order of RATIOS
    ratios = [
        _openness(right_eye, EYE_RIMS),
        _openness(left_eye, EYE_RIMS),
        _brow_height(points[:, list(RIGHT_BROW)], right_eye),
        _brow_height(points[:, list(LEFT_BROW)], left_eye),
        _openness(points[:, INNER_LIPS], LIP_RIMS),
    ]
    return np.stack(ratios, 1).astype(np.float32)


def correlation(ratios: Ratios, driving: Ratios) -> Float32[np.ndarray, "k"]:
    """Pearson's correlation over a clip of each ratio with that of the driving clip.

    Over the frames in which both have a face. NaN for a ratio that is constant in either clip, where it is undefined.
    """
    both = np.isfinite(ratios).all(1) & np.isfinite(driving).all(1)
    if not both.any():
        return np.full(ratios.shape[1], np.nan, np.float32)
    a = _centred(ratios[both])
    b = _centred(driving[both])
    spread_a = a.std(0)
    spread_b = b.std(0)
    moves = (spread_a > CONSTANT) & (spread_b > CONSTANT)

    # A 1 where it is undefined: dividing by 0 would warn.
    spread = np.where(moves, spread_a * spread_b, 1)
    covariance = (a * b).mean(0)
    correlations = np.where(moves, covariance / spread, np.nan)
    return correlations.astype(np.float32)


def pose_errors(landmarks: Landmarks, reference: Landmarks) -> Float32[np.ndarray, "n 3"]:
    """Absolute differences of yaw, pitch and roll in degrees, of every frame."""
    errors = np.full((len(landmarks), 3), np.nan, np.float32)
    for error, *faces in zip(errors, landmarks, reference, strict=True):
        if np.isfinite(faces).all():
            pose, expected = map(head_pose, faces)
            difference = pose - expected
            # The short way round
            error[:] = np.abs((difference + 180) % 360 - 180)
    return errors


def _centred(ratios: Ratios) -> Ratios:
    return ratios - ratios.mean(0, dtype=np.float64)


def _openness(outline: Float[np.ndarray, "n k 2"], rims: Sequence[tuple[int, int]]) -> OnePerFrame:
    """Mean distance of the pairs of rim points over the distance of the corners, which lie half an outline apart."""
    points = outline.swapaxes(0, 1)
    width = _distance(points[0], points[len(points) // 2])
    heights = [_distance(points[upper], points[lower]) for upper, lower in rims]
    return np.mean(heights, axis=0) / width


def _brow_height(brow: Float[np.ndarray, "n 5 2"], eye: Float[np.ndarray, "n 6 2"]) -> OnePerFrame:
    """Height of the brow's mean above the line through the eye's corners, over the eye's width."""
    corner = eye[:, 0]
    width = eye[:, 3] - corner
    above = brow.mean(1) - corner

    # The cross product is the height times the width.
    width_x, width_y = width.T
    above_x, above_y = above.T
    area = width_y * above_x - width_x * above_y
    return area / np.square(width).sum(1)


def _distance(first: Point, second: Point) -> OnePerFrame:
    return np.linalg.norm(first - second, axis=1)
