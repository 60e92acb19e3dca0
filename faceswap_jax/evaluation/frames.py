"""What both ways of scoring share: clips side by side, chunk by chunk, and the names of their rows."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from faceswap_jax.faces.blend import DEFAULT_METHOD
from faceswap_jax.faces.video import read_frames

Frames = UInt8[np.ndarray, "n h w 3"]


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
    clips = zip(*(read_frames(path) for path in paths), strict=True)
    last, start = [], 0
    while new := list(itertools.islice(clips, size)):
        moments = last + new
        images = [np.stack([frame.image for frame in clip]) for clip in zip(*moments, strict=True)]
        yield Chunk(images, range(start - len(last), start + len(new)), repeated=len(last))
        last = new[-1:]
        start += len(new)


def row_name(name: str, method: str) -> str:
    """The row of a method of blending: "swap", "swap --blend none"."""
    return name if method == DEFAULT_METHOD else f"{name} --blend {method}"


def spread(count: int, among: int) -> list[int]:
    """`count` numbers below `among`, evenly spread and off the ends; fewer where there are not so many."""
    numbers = np.rint(np.linspace(0, among - 1, count + 2)[1:-1]).astype(int)
    return sorted(set(numbers.tolist())) if among else []
