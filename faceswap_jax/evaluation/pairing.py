"""Frames of two clips that show the same moment."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faceswap_jax.faces import video


class Pair(NamedTuple):
    """Two frames that are compared.

    Attributes:
        a: number of the frame of the one.
        b: number of the frame of the other.
        time: of them, seconds.
    """

    a: int
    b: int
    time: float


def pairs_by_time(a: Sequence[float], b: Sequence[float]) -> list[Pair]:
    """Each frame of the slower of two clips with the nearest one of the other; a picture with every frame of a clip.

    A frame is left out if the other clip has none within half of the time that it is shown, as after its end.

    Args:
        a: times of the frames of the one, seconds, in order.
        b: times of the frames of the other.
    """
    if len(a) == 1:
        return [Pair(0, number, time) for number, time in enumerate(b)]
    if len(b) == 1:
        return [Pair(number, 0, time) for number, time in enumerate(a)]

    shown_a, shown_b = (float(np.median(np.diff(times))) for times in (a, b))
    if shown_a < shown_b:
        return [Pair(pair.b, pair.a, pair.time) for pair in pairs_by_time(b, a)]

    others = np.asarray(b)
    borders = (others[1:] + others[:-1]) / 2
    pairs = []
    for number, (time, other) in enumerate(zip(a, np.searchsorted(borders, a), strict=True)):
        # Files round times to their clocks.
        if abs(others[other] - time) <= 0.501 * shown_a:
            pairs.append(Pair(number, int(other), time))
    return pairs


def frames_at(path: Path, numbers: Iterable[int]) -> Iterator[video.Frame]:
    """Frames of a picture or clip by their numbers, which never fall; the same one as often as its number comes."""
    frames = video.read_frames(path)
    frame = next(frames)
    for number in numbers:
        while frame.index < number:
            frame = next(frames)
        yield frame
