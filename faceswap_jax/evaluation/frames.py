"""What both ways of scoring share: clips side by side, chunk by chunk, and the names of their rows."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from faceswap_jax.faces.video import read_frames

DEFAULT_BLEND = "multiband"

Frames = UInt8[np.ndarray, "n h w 3"]


def row_name(name: str, method: str) -> str:
    """The row of a method of blending: "swap", "swap --blend none"."""
    return name if method == DEFAULT_BLEND else f"{name} --blend {method}"


def chunks(paths: Sequence[Path], size: int) -> Iterator[tuple[int, list[Frames]]]:
    """Clips of equally many frames side by side, `size` frames at a time after the last one of the chunk before.

    Yields:
        How many frames of the chunk are repeated, 0 or 1, and the frames of every clip.
    """
    videos = zip(*(read_frames(path) for path in paths), strict=True)
    last = []
    while new := list(itertools.islice(videos, size)):
        yield (
            len(last),
            [
                np.stack([frame.image for frame in frames])
                for frames in zip(*(last + new), strict=True)
            ],
        )
        last = new[-1:]
