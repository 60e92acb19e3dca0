"""Numbered pictures as clips.

    shot.%04d.exr               all pictures of that name, whose numbers have at least four digits
    shot                        a folder that holds one such sequence
    shot.%04d.exr#1001-1048     those from 1001 to 1048
    shot.%04d.exr@24            at 24 frames a second instead of 25
    shot#1001-1048@23.976       both, of a folder

A file that has such a name itself is that file. Frames have the times that their numbers give them: where some are
missing, the one before is shown for longer.
"""

import functools
import itertools
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from faceswap_jax.errors import InputError
from faceswap_jax.faces.still import FORMATS, read_size

RATE = Fraction(25)
"""Frames a second where nobody says otherwise."""

NAME = re.compile(
    r"(?P<plain>.+?)(#(?P<first>\d+)-(?P<last>\d+))?(@(?P<rate>\d+(\.\d+)?))?", re.DOTALL
)
"""Of a sequence: of all of its pictures, then which, and how many a second."""

PATTERN = re.compile(r"(?P<before>[^%]*)%(0(?P<digits>\d+))?d(?P<after>[^%]*)", re.DOTALL)
"""The plain name, if it is no folder's."""

NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\.\w+)", re.DOTALL)
"""The name of a picture of a folder's sequence."""

logger = logging.getLogger(__name__)


class Named(NamedTuple):
    """What the name of a sequence says.

    Attributes:
        plain: the pattern, or the folder.
        numbers: of the first and the last picture that are wanted; None for all.
        rate: frames a second.
    """

    plain: Path
    numbers: tuple[int, int] | None
    rate: Fraction


@dataclass(frozen=True)
class PictureSequence:
    """Pictures that follow each other.

    Attributes:
        pattern: the path of each, but for its number.
        pictures: by number, in order.
        rate: frames a second.
    """

    pattern: Path
    pictures: dict[int, Path]
    rate: Fraction

    @property
    def first(self) -> int:
        """Number of the first one."""
        return next(iter(self.pictures))

    @property
    def holes(self) -> list[tuple[int, int]]:
        """First and last number of each stretch that is missing."""
        pairs = itertools.pairwise(self.pictures)
        return [(a + 1, b - 1) for a, b in pairs if b > a + 1]

    def time(self, number: int) -> float:
        """When a picture is shown, seconds from the first one."""
        return float((number - self.first) / self.rate)


def parse(path: Path) -> Named | None:
    """What the name of a sequence says; None if it is that of a file."""
    path = Path(path)
    if path.name and os.path.isdir(path):
        return Named(path, None, RATE)
    form = NAME.fullmatch(path.name)
    if form is None or not _may_be_sequence(form["plain"]) or os.path.isfile(path):
        return None
    plain = path.with_name(form["plain"])
    if not is_pattern(plain) and not os.path.isdir(plain):
        return None
    numbers = (int(form["first"]), int(form["last"])) if form["first"] else None
    rate = read_rate(form["rate"]) if form["rate"] else RATE
    return Named(plain, numbers, rate)


def is_sequence(path: Path) -> bool:
    """Whether a path names numbered pictures: a pattern, or a folder."""
    return parse(path) is not None


def is_pattern(path: Path) -> bool:
    """Whether a name is that of numbered pictures, such as shot.%04d.exr."""
    is_numbered = PATTERN.fullmatch(path.name) is not None
    return is_numbered and path.suffix.lower() in FORMATS


def read_rate(text: str) -> Fraction:
    """Frames a second, from text such as "25"; "23.976" and the like are television's 24000/1001.

    Raises:
        InputError: it is no number above 0.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise InputError(
            f"'{text}' is no number of frames a second; write one such as 25 or 23.976."
        )
    if rate.denominator == 1:
        return rate
    whole = round(rate * 1001 / 1000)
    television = Fraction(1000 * whole, 1001)
    return television if abs(rate - television) < Fraction(1, 200) else rate


def at_rate(path: Path, rate: str) -> Path:
    """The name of the same sequence with another rate, see `read_rate`.

    Raises:
        InputError: it is no sequence, or no rate.
    """
    named = parse(path)
    if named is None:
        raise InputError(f"{path} has its own times; --fps is for numbered pictures: leave it out.")
    form = NAME.fullmatch(path.name)
    name = path.name[: form.start("rate") - 1] if form["rate"] else path.name
    return path.with_name(f"{name}@{float(read_rate(rate)):.6g}")


def numbered(pattern: Path, number: int) -> Path:
    """A picture of a sequence."""
    form = PATTERN.fullmatch(pattern.name)
    digits = int(form["digits"] or 1)
    return pattern.with_name(f"{form['before']}{number:0{digits}d}{form['after']}")


def open_sequence(path: Path) -> PictureSequence:
    """The pictures that a path names.

    Raises:
        InputError: there are none, a folder holds several sequences, or it cannot be read.
    """
    plain, numbers, rate = parse(path)
    pattern = _pattern_in(plain) if os.path.isdir(plain) else plain
    found = _find(pattern)
    if not found:
        raise InputError(f"{path} names no picture that is there; check the name and the folder.")
    if numbers is not None:
        first, last = numbers
        wanted = {number: file for number, file in found.items() if first <= number <= last}
        if not wanted:
            raise InputError(
                f"{path} names no picture that is there: these have the numbers {min(found)} to {max(found)}."
            )
        found = wanted
    return PictureSequence(pattern, dict(sorted(found.items())), rate)


def patterns_in(folder: Path) -> list[Path]:
    """The sequences of at least two pictures that lie in a folder.

    Raises:
        InputError: it cannot be read.
    """
    digits: dict[tuple[str, str], list[int]] = {}
    for name in _list(folder):
        form = NUMBERED.fullmatch(name)
        if form is None or form["after"].lower() not in FORMATS or name.startswith("."):
            continue
        if "%" not in name:
            digits.setdefault((form["before"], form["after"]), []).append(len(form["number"]))

    patterns = []
    for (before, after), lengths in digits.items():
        if len(lengths) > 1:
            shortest = min(lengths)
            number = "%d" if shortest == 1 else f"%0{shortest}d"
            patterns.append(folder / f"{before}{number}{after}")
    return patterns


def files_of(path: Path) -> list[Path]:
    """The pictures of a sequence; of another clip its file.

    Raises:
        InputError: as `open_sequence`.
    """
    return list(open_sequence(path).pictures.values()) if is_sequence(path) else [path]


def title(path: Path) -> str:
    """What a sequence is called without numbers: `shot.%04d.exr` is "shot", `%04d.exr` is called as its folder."""
    plain = parse(path).plain
    if not is_pattern(plain):
        return plain.name
    before = PATTERN.fullmatch(plain.name)["before"].rstrip("._- ")
    return before or plain.absolute().parent.name


def check(path: Path) -> None:
    """Says which pictures of a sequence are missing, and refuses those of several sizes.

    Raises:
        InputError: as `open_sequence`; the pictures differ in size, or one cannot be read.
    """
    sequence = open_sequence(path)
    if sequence.holes:
        _tell_of_holes(path, tuple(sequence.holes))
    size = None
    for file in sequence.pictures.values():
        width, height = read_size(file)
        size = size or (width, height)
        if (width, height) != size:
            raise InputError(
                f"{file} has {width} x {height} pixels, and the first picture of {path} {size[0]} x {size[1]}; export "
                "all at one size."
            )


# A sequence is read several times.
@functools.lru_cache(maxsize=64)
def _tell_of_holes(path: Path, holes: tuple[tuple[int, int], ...]) -> None:
    parts = [f"{first}" if first == last else f"{first} to {last}" for first, last in holes]
    logger.warning(
        "%s: numbers %s are missing; the picture before is shown for longer.",
        path,
        ", ".join(parts),
    )


def _may_be_sequence(name: str) -> bool:
    """Whether a look at the disk is needed."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix not in FORMATS or "%" in name


def _pattern_in(folder: Path) -> Path:
    patterns = patterns_in(folder)
    if not patterns:
        raise InputError(
            f"{folder} is a folder without numbered pictures, such as shot.0001.png; give one file, or such a folder."
        )
    if len(patterns) > 1:
        raise InputError(
            f"{folder} is a folder of several sequences; give one of them, such as {patterns[0]}."
        )
    return patterns[0]


def _find(pattern: Path) -> dict[int, Path]:
    """The pictures of a pattern, by number."""
    form = PATTERN.fullmatch(pattern.name)
    digits = int(form["digits"] or 1)
    found = {}
    for name in _list(pattern.parent):
        middle = name.removeprefix(form["before"]).removesuffix(form["after"])
        if not middle.isdecimal() or not middle.isascii():
            continue
        number = int(middle)
        if name == f"{form['before']}{number:0{digits}d}{form['after']}":
            found[number] = pattern.with_name(name)
    return found


def _list(folder: Path) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); check its name.") from error
