"""Pose and expression of one clip against those of another: how far off, and how far one follows the other's motion.

Frames without a face have landmarks and blendshapes that are NaN, and so are their measures.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.evaluation.frames import Frames, Landmarks
from faceswap_jax.evaluation.report import Score
from faceswap_jax.faces.blendshapes import NAMES, BlendshapeReader
from faceswap_jax.faces.expression import aspect_ratios
from faceswap_jax.faces.mediapipe import Box
from faceswap_jax.faces.pose import head_pose

Blendshapes = Float[np.ndarray, "n 52"]
Signals = Float[np.ndarray, "n k"]

_LOOKS = (
    ("eyeLookInLeft", "eyeLookOutLeft"),
    ("eyeLookInRight", "eyeLookOutRight"),
    ("eyeLookUpLeft", "eyeLookDownLeft"),
    ("eyeLookUpRight", "eyeLookDownRight"),
)

GROUPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "jaw": (("jawOpen",),),
    "mouth": tuple((name,) for name in NAMES if name.startswith(("mouth", "jaw"))),
    "blink": (("eyeBlinkLeft",), ("eyeBlinkRight",)),
    "gaze": _LOOKS,
    "brows": tuple((name,) for name in NAMES if name.startswith("brow")),
}
"""Signals that are told together: a blendshape, or the difference of two that are opposites."""

FOUND = Score("faces found (%)", "higher", 1, (0, 100))

ASPECTS = Score("aspect ratios: correlation", "higher", 2, (-1, 1))

STILL = 0.01
"""Signals whose standard deviation is no more than this do not move: noise in the pixels of a face that is still, two
levels of 255, moves what is read of its jaw by as much."""


class Read(NamedTuple):
    """What MediaPipe's face landmarker v2 sees in some frames; NaN where it sees no face."""

    landmarks: Landmarks
    blendshapes: Blendshapes


class Following(NamedTuple):
    """How far a clip follows another's motion.

    Attributes:
        correlation: Pearson's, of all signals together; 0 where the clip is still, NaN where the other is.
        amplitude: standard deviation over that of the other clip; NaN where that is still. A face that wears one mean
            expression has 0.
    """

    correlation: float
    amplitude: float


def windows_of(reader: BlendshapeReader, frames: Frames, landmarks: Landmarks) -> list[Box | None]:
    """Where to look for faces; None where the landmarks are NaN, or the reader sees no face.

    Frames and what is made of them are compared through the same windows: then nothing differs but they.
    """
    windows = []
    for frame, points in zip(frames, landmarks, strict=True):
        known = np.isfinite(points).all()
        windows.append(reader.window(frame, points) if known else None)
    return windows


def read_faces(reader: BlendshapeReader, frames: Frames, windows: Sequence[Box | None]) -> Read:
    """The faces in the windows of frames."""
    landmarks = np.full((len(frames), 68, 2), np.nan, np.float32)
    blendshapes = np.full((len(frames), len(NAMES)), np.nan, np.float32)
    for i, window in enumerate(windows):
        if window and (reading := reader(frames[i], window)):
            landmarks[i], blendshapes[i] = reading
    return Read(landmarks, blendshapes)


def signals(blendshapes: Blendshapes, group: str) -> Signals:
    """The signals of one of `GROUPS`."""
    columns = []
    for name, *opposite in GROUPS[group]:
        column = blendshapes[:, NAMES.index(name)]
        for other in opposite:
            column = column - blendshapes[:, NAMES.index(other)]
        columns.append(column)
    return np.stack(columns, axis=1)


def following(clip: Signals, driving: Signals) -> Following:
    """Compares how signals move about their means, over the frames in which both clips have them.

    Signals are pooled: one that moves more counts more, and one that rests does no harm.
    """
    both = np.isfinite(clip).all(1) & np.isfinite(driving).all(1)
    if not both.any():
        return Following(np.nan, np.nan)
    a = _centred(clip[both])
    b = _centred(driving[both])
    spread = np.sqrt(np.square(a).mean(0).sum())
    expected = np.sqrt(np.square(b).mean(0).sum())
    if expected <= STILL:
        return Following(np.nan, np.nan)
    amplitude = float(spread / expected)
    if spread <= STILL:
        return Following(0.0, amplitude)
    covariance = (a * b).mean(0).sum()
    return Following(float(covariance / (spread * expected)), amplitude)


def mean_correlation(clip: Signals, driving: Signals) -> float:
    """How signals follow, each by itself: the mean of their correlations, see `following`.

    Signals that rest in the driving clip do not count. NaN where all do, or no frame shows a face.
    """
    each = zip(clip.T[..., None], driving.T[..., None], strict=True)
    told = np.array([following(*signal).correlation for signal in each])
    known = np.isfinite(told)
    return float(told[known].mean()) if known.any() else np.nan


def aspects_follow(landmarks: Landmarks, driving: Landmarks) -> float:
    """The `mean_correlation` of the five aspect ratios of a thesis of 2023 on transfer."""
    return mean_correlation(aspect_ratios(landmarks), aspect_ratios(driving))


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


def _centred(values: Signals) -> Signals:
    return values - values.mean(0, dtype=np.float64)
