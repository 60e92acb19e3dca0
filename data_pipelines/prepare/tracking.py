"""Shot changes, and faces linked into tracks: one face of one shot without gaps."""

import dataclasses
import math
from collections.abc import Collection, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scenedetect import ContentDetector, FrameTimecode
from scipy.optimize import linear_sum_assignment

from faceswap_jax.faces.face import Face

SHOT_SIDE = 96
"""Side in pixels of the squares that are compared to find shot changes."""

REACH = 0.8
"""How far a face may come from one frame to the next, as a share of its size."""


class ShotCuts:
    """Tells at which frames of a clip another shot begins, by PySceneDetect's content detector.

    Hue, saturation, brightness and edges count alike: motion or a change of light alters some of them much, a cut all.

    Args:
        threshold: mean change from one frame to the next that is a cut, 0..255; 0: nothing is.
    """

    def __init__(self, threshold: float) -> None:
        self._detector = ContentDetector(
            threshold or math.inf, 0, ContentDetector.Components(1.0, 1.0, 1.0, 1.0)
        )
        self._now = FrameTimecode(0, 25.0)  # plays a role only where shots have a shortest length

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> bool:
        """Whether another shot begins with this frame.

        Args:
            image: the next frame of the clip, RGB; sizes may differ.
        """
        # Every 16 samples are averaged, against noise; averaging all pixels of a large frame would take longer.
        sampled = cv2.resize(image, (2 * SHOT_SIDE, 2 * SHOT_SIDE), interpolation=cv2.INTER_LINEAR)
        small = cv2.resize(sampled, (SHOT_SIDE, SHOT_SIDE), interpolation=cv2.INTER_AREA)
        return bool(self._detector.process_frame(self._now, cv2.cvtColor(small, cv2.COLOR_RGB2BGR)))


@dataclasses.dataclass(frozen=True)
class Track:
    """One face over time.

    Attributes:
        frames: positions in the sequence of frames that were looked at, one after the other without gaps.
        faces: in each of them.
    """

    frames: list[int]
    faces: list[Face]


def link(faces: Sequence[Sequence[Face]], cuts: Collection[int]) -> list[Track]:
    """Links the faces of a clip into tracks; each face belongs to exactly one.

    Between any two frames those pairs of faces are linked that cost least together. The cost of a pair is the mean
    distance of the landmarks as a share of the smaller face's size; a face that is not linked costs REACH.

    Args:
        faces: in each frame, in order of time.
        cuts: positions in `faces` at which another shot begins, where every track ends.

    Returns:
        Tracks by first frame, the larger face first.
    """
    tracks: list[Track] = []
    ongoing: list[Track] = []
    for position, found in enumerate(faces):
        previous = [] if position in cuts else [track.faces[-1] for track in ongoing]
        links = _links(previous, found)
        ongoing = [ongoing[links[i]] if i in links else Track([], []) for i in range(len(found))]
        for track, face in zip(ongoing, found, strict=True):
            track.frames.append(position)
            track.faces.append(face)
        tracks += [track for i, track in enumerate(ongoing) if i not in links]
    return sorted(tracks, key=lambda track: (track.frames[0], -_area(track.faces[0])))


def largest(tracks: Sequence[Track]) -> list[Track]:
    """Of tracks that share time only that with the largest faces: at most one face at any time, in order of time.

    The track with the greatest sum of its faces' areas is taken and those that overlap it are dropped, and so on.
    """
    taken = np.zeros(max((track.frames[-1] + 1 for track in tracks), default=0), bool)
    kept = []
    for track in sorted(tracks, key=lambda track: -sum(map(_area, track.faces))):
        span = slice(track.frames[0], track.frames[-1] + 1)
        if not taken[span].any():
            taken[span] = True
            kept.append(track)
    return sorted(kept, key=lambda track: track.frames[0])


def _links(previous: Sequence[Face], found: Sequence[Face]) -> dict[int, int]:
    """The index in `previous` of each face in `found` that continues one."""
    if not previous or not found:
        return {}
    before, after = (np.stack([face.landmarks for face in those]) for those in (previous, found))
    distances = np.linalg.norm(before[:, None] - after, axis=-1).mean(-1)
    sizes = np.minimum(_sizes(before)[:, None], _sizes(after))
    costs = np.minimum(distances / np.maximum(sizes, 1e-6), REACH)
    pairs = zip(*linear_sum_assignment(costs), strict=True)
    return {int(j): int(i) for i, j in pairs if costs[i, j] < REACH}


def _sizes(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n"]:
    """The longer side of each face's box, pixels."""
    return np.ptp(landmarks, axis=1).max(-1)


def _area(face: Face) -> float:
    """Area of the face's box, square pixels."""
    return float(np.ptp(face.landmarks, axis=0).prod())
