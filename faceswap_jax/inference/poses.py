"""Head poses over time, from a table: a line for each moment, with commas between.

    time,yaw,pitch,roll
    0,0,0,0
    1.5,30,-5,0

Times are in seconds and ascend; angles are in degrees, as `faces.pose` defines them. Between the moments they change
linearly. The clip lasts from the first moment to the last.
"""

import csv
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float

from faceswap_jax.errors import InputError
from faceswap_jax.files import readable

SUFFIX = ".csv"
HEADER = ["time", "yaw", "pitch", "roll"]
RATE = Fraction(25)
"""Frames a second."""

LONGEST = 3600.0
"""Seconds."""

Poses = Float[np.ndarray, "n 3"]
"""Yaw, pitch and roll, degrees."""


def read_poses(path: Path) -> Poses:
    """The poses of a table, RATE times a second.

    Raises:
        InputError: the file cannot be read, has another header, lacks a number, or goes back in time.
    """
    with readable(path), open(path, newline="", encoding="utf-8-sig") as file:
        try:
            lines = list(csv.reader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} is no table ({error}); save it as CSV, in UTF-8.") from error
    header = [cell.strip() for cell in lines[0]]
    if header != HEADER:
        raise InputError(
            f"{path} begins with '{','.join(lines[0])}'; write {','.join(HEADER)} in its first line."
        )

    # Empty lines say nothing.
    rows = [_numbers(path, i, line) for i, line in enumerate(lines[1:], start=2) if line]
    if not rows:
        raise InputError(f"{path} has no pose below its header; add a line for each moment.")
    times, *angles = np.array(rows).T
    for before, after in itertools.pairwise(times):
        if after <= before:
            raise InputError(
                f"{path} goes from {before:g} s to {after:g} s; bring its lines into the order of time."
            )
    seconds = times[-1] - times[0]
    if seconds > LONGEST:
        raise InputError(f"{path} lasts {seconds:g} s; an hour is the longest, so shorten it.")

    moments = times[0] + np.arange(math.floor(seconds * RATE) + 1) / float(RATE)
    return np.stack([np.interp(moments, times, angle) for angle in angles], axis=1)


def _numbers(path: Path, line: int, cells: Sequence[str]) -> list[float]:
    """The numbers of a line."""
    numbers = []
    for name, cell in itertools.zip_longest(HEADER, cells[: len(HEADER)], fillvalue=""):
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{path} has no {name} in line {line}, '{cell}'; write a number there."
            )
        numbers.append(number)
    return numbers
