"""What both ways of scoring share: clips side by side, chunk by chunk, and the names of their rows."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from faceswap_jax.faces.blend import DEFAULT_METHOD
from faceswap_jax.faces.video import read_frames

Frames = UInt8[np.ndarray, "n h w 3"]
Masks = Float[np.ndarray, "n h w"]  # 0..1
Landmarks = Float[np.ndarray, "n 68 2"]  # pixels of the frames; NaN without a face
PerFrame = Float32[np.ndarray, "n"]


@dataclass(frozen=True)
class Chunk:
    """Some consecutive frames of several clips.

    Attributes:
        clips: the frames of each clip.
        numbers: of the frames in their clips.
        repeated: how many of the first frames were in the chunk before, 0 or 1: what compares neighbours needs them.
    """

    clips: list[Frames]
    numbers: range
    repeated: int

    @property
    def new(self) -> range:
        """Places in the chunk of the frames that no chunk had before."""
        return range(self.repeated, len(self.numbers))


def side_by_side(paths: Sequence[Path], size: int) -> Iterator[Chunk]:
    """Clips of equally many frames, `size` new frames at a time."""
    # One moment: the frame of every clip
    moments = zip(*(read_frames(path) for path in paths), strict=True)
    last = []
    start = 0
    while new := list(itertools.islice(moments, size)):
        clips = zip(*(last + new), strict=True)
        images = [np.stack([frame.image for frame in clip]) for clip in clips]
        numbers = range(start - len(last), start + len(new))
        yield Chunk(images, numbers, repeated=len(last))
        last = new[-1:]
        start = numbers.stop


def row_name(name: str, method: str) -> str:
    """The row of a method of blending: "swap", "swap --blend none"."""
    return name if method == DEFAULT_METHOD else f"{name} --blend {method}"


def spread(count: int, among: int) -> list[int]:
    """`count` numbers below `among`, evenly spread and off the ends; fewer where there are not so many."""
    if not among:
        return []
    places = np.linspace(0, among - 1, count + 2)[1:-1]
    return sorted({round(place) for place in places})
