"""What both ways of scoring share: clips side by side, chunk by chunk, and the names of their rows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.clips import Clip
from faceswap_jax.evaluation.wanted import Wanted
from faceswap_jax.faces.blend import DEFAULT_METHOD
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.video import read_frames

# All frames are RGB, masks are 0..1, landmarks are pixels of their frames: NaN without a face.
Frames = UInt8[np.ndarray, "n h w 3"]
Masks = Float[np.ndarray, "n h w"]
Points = Float[np.ndarray, "68 2"]
Landmarks = Float[np.ndarray, "n 68 2"]
PerFrame = Float32[np.ndarray, "n"]

Performer = Mapping[int, Face]
"""The face that is swapped in each frame of the target that shows it, by number of the frame."""

Swapped = Mapping[Wanted, Mapping[str, Path]]
"""The results of a target: what each shows, by each method of blending."""


@dataclass(frozen=True)
class Chunk:
    """Some consecutive frames of several clips.

    Attributes:
        clips: the frames of each clip.
        numbers: of the frames in their clips.
        times: of the frames in the first clip, seconds.
        repeated: how many of the first frames were in the chunk before, 0 or 1: what compares neighbours needs them.
    """

    clips: list[Frames]
    numbers: range
    times: Sequence[float]
    repeated: int

    @property
    def new(self) -> range:
        """Places in the chunk of the frames that no chunk had before."""
        return range(self.repeated, len(self.numbers))


def side_by_side(paths: Sequence[Path], size: int) -> Iterator[Chunk]:
    """Clips of equally many frames, `size` new frames at a time.

    Raises:
        ValueError: one clip ends before another.
    """
    # A moment is the frame of every clip at that time.
    clips = [read_frames(path) for path in paths]
    moments = zip(*clips, strict=True)
    last = []
    start = 0
    while new := list(itertools.islice(moments, size)):
        numbers = range(start - len(last), start + len(new))
        of_clips = list(zip(*last, *new, strict=True))
        images = [np.stack([frame.image for frame in frames]) for frames in of_clips]
        times = [frame.time for frame in of_clips[0]]
        yield Chunk(images, numbers, times, repeated=len(last))
        last = new[-1:]
        start = numbers.stop


def first_of_each(clips: Sequence[Clip]) -> dict[str, Clip]:
    """The first clip of each persona."""
    found: dict[str, Clip] = {}
    for clip in clips:
        found.setdefault(clip.persona, clip)
    return found


def row_name(name: str, method: str) -> str:
    """The row of a method of blending: "swap", "swap --blend none"."""
    return name if method == DEFAULT_METHOD else f"{name} --blend {method}"


def spread(count: int, among: int) -> list[int]:
    """`count` numbers below `among`, evenly spread and off the ends; fewer where there are not so many."""
    if not among:
        return []
    places = np.linspace(0, among - 1, count + 2)[1:-1]
    return sorted({round(place) for place in places})
