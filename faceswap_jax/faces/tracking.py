"""Finds shot changes and links faces into tracks: one face of one shot without gaps."""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from scenedetect import ContentDetector, FrameTimecode, StatsManager
from scipy.optimize import linear_sum_assignment

from faceswap_jax.faces.face import Face

SHOT_SIDE = 96
"""Side in pixels of the squares that are compared to find shot changes."""

ALIKE = 0.95
"""Correlation of two frames' colours from which on they are of one shot.

Of successive frames of a shot it is 0.99 and more, also where a close-up's head moves so fast that the content changes
as much as by a cut; from shot to shot it is 0.88 and less, mostly near 0.
"""

COLOURS = 8
"""Steps of each channel in which colours are counted."""

REACH = 0.8
"""How far a face may move from one frame to the next, as a fraction of its size."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """The change from one frame to the next where another shot begins.

    Attributes:
        change: of the content, 0..255.
        colours: correlation of the colours of the two frames, at most 1.
        before: the last frame of the shot that ends, squeezed into a square of SHOT_SIDE.
        after: the first frame of the other, as well.
    """

    change: float
    colours: float
    before: UInt8[np.ndarray, "s s 3"]
    after: UInt8[np.ndarray, "s s 3"]


class ShotCuts:
    """Finds the frames of a clip at which another shot begins: their content and their colours are others.

    Of PySceneDetect's content, hue, saturation, brightness and edges count alike: motion or a change of
    light alters some of them, a cut alters all. Only a head that moves fast and fills the frame does, too, but it
    keeps the colours.

    Args:
        threshold: mean change from one frame to the next that is a cut, 0..255; 0: nothing is.
    """

    def __init__(self, threshold: float) -> None:
        self._detector = ContentDetector(
            threshold=threshold or math.inf,
            min_scene_len=0,
            weights=ContentDetector.Components(
                delta_hue=1.0,
                delta_sat=1.0,
                delta_lum=1.0,
                delta_edges=1.0,
            ),
        )
        self._detector.stats_manager = self._stats = StatsManager()
        # Shots have no shortest length here, so the time is never used: any value will do.
        self._now = FrameTimecode(0, 25.0)
        self._before = None

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Cut | None:
        """The cut before this frame, if another shot begins with it.

        Args:
            image: the next frame of the clip, RGB; sizes may differ.
        """
        # Averages 16 samples per pixel against noise. Averaging all pixels of a large frame takes
        # longer.
        sampled = cv2.resize(image, (2 * SHOT_SIDE, 2 * SHOT_SIDE), interpolation=cv2.INTER_LINEAR)
        small = cv2.resize(sampled, (SHOT_SIDE, SHOT_SIDE), interpolation=cv2.INTER_AREA)
        cuts = self._detector.process_frame(self._now, cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        before, self._before = self._before, small
        if not cuts:
            return None
        colours = cv2.compareHist(_count_colours(before), _count_colours(small), cv2.HISTCMP_CORREL)
        if colours >= ALIKE:
            return None
        (change,) = self._stats.get_metrics(self._now, [ContentDetector.FRAME_SCORE_KEY])
        return Cut(change, colours, before, small)


def _count_colours(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "c c c"]:
    """How many pixels have each colour."""
    return cv2.calcHist([image], [0, 1, 2], None, [COLOURS] * 3, [0, 256] * 3)


@dataclasses.dataclass(frozen=True)
class Track:
    """One face over time.

    Attributes:
        frames: positions among the frames that were looked at, consecutive.
        faces: the face in each of these frames.
    """

    frames: list[int]
    faces: list[Face]


class Linker:
    """Links the faces of a clip into tracks, frame after frame; each face belongs to exactly one.

    Between two frames, the pairs of faces with the least total cost are linked. The cost of a pair
    is the mean distance of the landmarks as a fraction of the smaller face's size. Leaving a face
    without a partner costs REACH.

    Attributes:
        tracks: so far, by first frame; of those that begin together, the larger face first.
    """

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._ongoing: list[int] = []
        self._frames = 0

    def __call__(self, faces: Sequence[Face], cut: bool) -> list[int]:
        """The number of the track that each face of the next frame belongs to.

        Args:
            faces: in the frame.
            cut: whether another shot begins with it. Every track ends there.
        """
        previous = [] if cut else [self.tracks[number].faces[-1] for number in self._ongoing]
        links = match(previous, faces)
        numbers = {i: self._ongoing[link] for i, link in links.items()}
        for i in sorted(range(len(faces)), key=lambda i: -area(faces[i])):
            if i not in numbers:
                numbers[i] = len(self.tracks)
                self.tracks.append(Track([], []))

        self._ongoing = [numbers[i] for i in range(len(faces))]
        for number, face in zip(self._ongoing, faces, strict=True):
            self.tracks[number].frames.append(self._frames)
            self.tracks[number].faces.append(face)
        self._frames += 1
        return self._ongoing

    def append(self, later: "Linker", cut: bool) -> list[int]:
        """Goes on with the frames of another linker, which began where this one has ended.

        Args:
            later: of these frames.
            cut: whether another shot begins with the first of them.

        Returns:
            The number here of each track of the other.
        """
        if not later._frames:
            return []
        first = [number for number, track in enumerate(later.tracks) if not track.frames[0]]
        previous = [] if cut else [self.tracks[number].faces[-1] for number in self._ongoing]
        links = match(previous, [later.tracks[number].faces[0] for number in first])
        known = {first[i]: self._ongoing[link] for i, link in links.items()}

        numbers = []
        for number, track in enumerate(later.tracks):
            if number not in known:
                known[number] = len(self.tracks)
                self.tracks.append(Track([], []))
            longer = self.tracks[known[number]]
            longer.frames.extend(self._frames + frame for frame in track.frames)
            longer.faces.extend(track.faces)
            numbers.append(known[number])
        self._ongoing = [numbers[number] for number in later._ongoing]
        self._frames += later._frames
        return numbers


def largest(tracks: Sequence[Track]) -> list[Track]:
    """Keeps at most one face at any time, the largest; returns the tracks in order of time.

    Takes the track with the greatest sum of its faces' areas, drops all that overlap it, and goes
    on with the rest.
    """
    frames = max((track.frames[-1] + 1 for track in tracks), default=0)
    taken = np.zeros(frames, bool)
    kept = []
    for track in sorted(tracks, key=lambda track: -sum(map(area, track.faces))):
        span = slice(track.frames[0], track.frames[-1] + 1)
        if not taken[span].any():
            taken[span] = True
            kept.append(track)
    return sorted(kept, key=lambda track: track.frames[0])


def match(previous: Sequence[Face], found: Sequence[Face]) -> dict[int, int]:
    """Returns, for each face in `found` that continues one of `previous`, the index of that one."""
    if not previous or not found:
        return {}
    before = np.stack([face.landmarks for face in previous])
    after = np.stack([face.landmarks for face in found])

    # Costs [previous, found].
    distances = np.linalg.norm(before[:, None] - after, axis=-1).mean(-1)
    sizes = np.minimum(_sizes(before)[:, None], _sizes(after))
    costs = np.minimum(distances / np.maximum(sizes, 1e-6), REACH)

    matches = {}
    for i, j in zip(*linear_sum_assignment(costs), strict=True):
        if costs[i, j] < REACH:
            matches[int(j)] = int(i)
    return matches


def _sizes(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n"]:
    """Returns the longer side of each face's box, pixels."""
    return np.ptp(landmarks, axis=1).max(-1)


def area(face: Face) -> float:
    """Returns the area of the face's box, square pixels."""
    return float(np.ptp(face.landmarks, axis=0).prod())
