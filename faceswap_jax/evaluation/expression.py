"""Pose and expression of one clip against those of another, from landmarks.

Frames without a face have landmarks that are NaN, and so are their measures.
"""

import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.faces.ibug import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from faceswap_jax.faces.pose import head_pose

RATIOS = ("right eye", "left eye", "right brow", "left brow", "mouth")
CONSTANT = 1e-4
"""A ratio whose standard deviation is no more than this does not move: far below what any landmarker resolves."""


def aspect_ratios(landmarks: Float[np.ndarray, "n 68 2"]) -> Float32[np.ndarray, "n 5"]:
    """The RATIOS of every frame, the same for any place, size and tilt of the face.

    Eyes: mean height of the opening over its width (Soukupova and Cech 2016, equation 1). Mouth: likewise, of the inner
    lips. Brows: height of the brow's mean above the line through the corners of its eye, over the eye's width; lids
    play no part. Heights and widths of a turned head are foreshortened differently: compare equal poses.
    """
    points = landmarks.astype(np.float64)
    eyes, brows = [], []
    for eye, brow in ((RIGHT_EYE, RIGHT_BROW), (LEFT_EYE, LEFT_BROW)):
        first, *rims, last = (points[:, eye[i]] for i in (0, 1, 5, 2, 4, 3))
        width = last - first
        above = points[:, list(brow)].mean(1) - first
        eyes.append(_openness(first, last, rims))
        brows.append(
            (width[:, 1] * above[:, 0] - width[:, 0] * above[:, 1]) / np.square(width).sum(1)
        )
    first, last, *rims = (points[:, i] for i in (60, 64, 61, 67, 62, 66, 63, 65))
    return np.stack([*eyes, *brows, _openness(first, last, rims)], 1).astype(np.float32)


def correlation(
    ratios: Float[np.ndarray, "n k"], driving: Float[np.ndarray, "n k"]
) -> Float32[np.ndarray, "k"]:
    """Pearson's correlation over a clip of each ratio with that of the driving clip.

    Over the frames in which both have a face. NaN for a ratio that is constant in either clip, where it is undefined.
    """
    both = np.isfinite(ratios).all(1) & np.isfinite(driving).all(1)
    if not both.any():
        return np.full(ratios.shape[1], np.nan, np.float32)
    a, b = (values[both] - values[both].mean(0, dtype=np.float64) for values in (ratios, driving))
    spread_a, spread_b = a.std(0), b.std(0)
    moves = (spread_a > CONSTANT) & (spread_b > CONSTANT)
    return np.where(
        moves, (a * b).mean(0) / np.where(moves, spread_a * spread_b, 1), np.nan
    ).astype(np.float32)


def pose_errors(
    landmarks: Float[np.ndarray, "n 68 2"], reference: Float[np.ndarray, "n 68 2"]
) -> Float32[np.ndarray, "n 3"]:
    """Absolute differences of yaw, pitch and roll in degrees, of every frame."""
    errors = np.full((len(landmarks), 3), np.nan, np.float32)
    for error, *faces in zip(errors, landmarks, reference, strict=True):
        if np.isfinite(faces).all():
            pose, expected = map(head_pose, faces)
            error[:] = np.abs((pose - expected + 180) % 360 - 180)
    return errors


def _openness(first, last, rims) -> np.ndarray:
    """Mean distance of the pairs of rim points, upper and lower, over the distance of the corners."""
    heights = [
        np.linalg.norm(upper - lower, axis=1)
        for upper, lower in zip(rims[::2], rims[1::2], strict=True)
    ]
    return np.mean(heights, axis=0) / np.linalg.norm(last - first, axis=1)
