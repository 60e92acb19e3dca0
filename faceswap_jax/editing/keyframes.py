"""Keyframes: how strong edits are over the time of a clip. docs/editing.md describes the file."""

import contextlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from opentimelineio.opentime import RationalTime, from_timecode, to_timecode

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.files import readable

VERSION = 1
"""Of the file."""

LINEAR, SMOOTH = "linear", "smooth"

USUAL = 1.0
"""How large weights are at most, as a rule."""

MOST = 2.0
"""How large they may be."""

WHENS = ("frame", "time", "timecode")
"""Ways to say when a key is."""

LARGE = 1e9
"""No weight and no time reaches it."""

NEAR_RATE = 0.005
"""How far a clip's mean rate may lie from that of its timecode, relatively."""


@dataclass(frozen=True)
class Curve:
    """The weight of a vector over time. Before the first key and after the last it stays.

    Attributes:
        vector: name of the vector.
        face: number of the face that is edited; None for all that are replaced.
        times: of the keys, seconds, ascending.
        weights: at the keys.
        interpolation: LINEAR, or SMOOTH: without corners, and never beyond the two keys around it.
    """

    vector: str
    face: int | None
    times: Sequence[float]
    weights: Sequence[float]
    interpolation: str = LINEAR

    def __call__(self, time: float) -> float:
        """The weight at a time in seconds."""
        inside = min(max(time, self.times[0]), self.times[-1])
        if self.interpolation == SMOOTH:
            return float(self._smooth(inside))
        return float(np.interp(inside, self.times, self.weights))

    @cached_property
    def _smooth(self) -> Callable[[float], float]:
        # Imported where needed: it takes an eighth of the time in which a swap by ONNX starts.
        from scipy.interpolate import PchipInterpolator

        # Level before the first key and after the last, so that it has no corner there.
        times = [self.times[0] - 1, *self.times, self.times[-1] + 1]
        weights = [self.weights[0], *self.weights, self.weights[-1]]
        return PchipInterpolator(times, weights)


@dataclass(frozen=True)
class Clock:
    """When the frames of a clip are.

    Attributes:
        times: of its frames, seconds.
        rate: frames per second.
        start: timecode of the first frame, as the file has it; None for zero.
    """

    times: Sequence[float]
    rate: Fraction
    start: str | None = None

    @classmethod
    def of(cls, clip: Path) -> "Clock":
        """That of a clip or picture.

        Raises:
            InputError: it cannot be read.
        """
        return cls(video.frame_times(clip), video.probe(clip).rate, video.start_timecode(clip))

    def seconds(self, when: str, value: Any) -> float:
        """The time of a key.

        Args:
            when: one of `WHENS`.
            value: a number of a frame from 0, seconds from the start of the file, or a timecode.

        Raises:
            InputError: the value is no such thing, or lies outside the clip.
        """
        last = len(self.times) - 1
        end = self.times[-1] + float(1 / self.rate)
        if when == "frame":
            if not _is_whole(value):
                raise InputError(f"frame {value!r} is no whole number")
            if not 0 <= value <= last:
                raise InputError(f"frame {value!r} is not in the clip, which has 0 to {last}")
            return self.times[value]

        if when == "time":
            time = value
            if not _is_number(time):
                raise InputError(f"time {value!r} is no number of seconds")
        else:
            time = self.times[0] + self._since_start(str(value))
        if not 0 <= time <= end:
            raise InputError(f"{when} {value!r} is not in the clip, which ends after {end:.2f} s")
        return time

    def _since_start(self, timecode: str) -> float:
        """Seconds from the first frame to a timecode.

        Timecodes that drop numbers and those that do not are told apart by ; and :, and count differently.
        """
        rate = RationalTime.nearest_smpte_timecode_rate(float(self.rate))
        if abs(rate / float(self.rate) - 1) > NEAR_RATE:
            raise InputError(
                f"a clip of {float(self.rate):g} frames per second has no timecode; give frames or times"
            )
        start = self.start or f"00:00:00{timecode[-3:-2]}00"
        if timecode[-3:-2] != start[-3:-2]:
            raise InputError(
                f"timecode {timecode!r} counts otherwise than that of the clip, {start}; write it alike"
            )
        return (_read_timecode(timecode, rate) - _read_timecode(start, rate)).to_seconds()


def read(path: Path, clip: Path) -> list[Curve]:
    """The curves of a file of keyframes.

    Args:
        path: of the file.
        clip: that is edited; a picture is a clip of one frame.

    Raises:
        InputError: either cannot be read, or the file says something that makes no sense for the clip.
    """
    try:
        with readable(path):
            text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON that can be read ({error}); correct it.") from error
    clock = Clock.of(clip)
    try:
        edits = _fields(content, {"version", "edits"})["edits"]
        _check_version(content["version"])
        curves = [_curve(edit, clock) for edit in _many(edits, "edits")]
        _check_doubles(curves)
        return curves
    except InputError as error:
        raise InputError(f"{path}: {error}; docs/editing.md describes the file.") from error


def constant(weights: Mapping[str, float]) -> list[Curve]:
    """Curves that never change, from the weights of vectors.

    Raises:
        InputError: a weight is too large.
    """
    curves = []
    for name, weight in weights.items():
        try:
            curves.append(Curve(name, None, (0.0,), (_weight(weight, f"'{name}'"),)))
        except InputError as error:
            raise InputError(f"{error}.") from error
    return curves


def largest(curves: Sequence[Curve]) -> float:
    """The largest weight of all keys, without its sign."""
    return max((abs(weight) for curve in curves for weight in curve.weights), default=0.0)


def _check_version(version: Any) -> None:
    if not _is_whole(version) or version != VERSION:
        raise InputError(f"version is {version!r}, but this faceswap reads {VERSION}")


def _check_doubles(curves: Sequence[Curve]) -> None:
    """Raises InputError if two curves are of one vector and one face: their weights would add up unseen."""
    for one, other in itertools.combinations(curves, 2):
        same_face = None in (one.face, other.face) or one.face == other.face
        if one.vector == other.vector and same_face:
            raise InputError(f"{one.vector!r} is edited twice; put its keys into one list")


def _read_timecode(timecode: str, rate: float) -> RationalTime:
    """The time of a timecode.

    Raises:
        InputError: it is written otherwise, or there is no such one: its seconds or frames are too many, or dropped.
    """
    with contextlib.suppress(ValueError):
        found = from_timecode(timecode, rate)
        if to_timecode(found, rate, ";" in timecode) == timecode:
            return found
    raise InputError(
        f"timecode {timecode!r} is none of {rate:g} frames per second; write HH:MM:SS:FF"
    )


def _curve(edit: Any, clock: Clock) -> Curve:
    """A curve from its entry in the file."""
    fields = _fields(edit, {"vector", "keys"}, {"face", "interpolation"})
    name = fields["vector"]
    if not isinstance(name, str):
        raise InputError(f"vector {name!r} is no name")
    face = fields.get("face")
    if face is not None and not _is_whole(face):
        raise InputError(f"face {face!r} is no number of a face")
    interpolation = fields.get("interpolation", LINEAR)
    if interpolation not in (LINEAR, SMOOTH):
        raise InputError(f"interpolation is {interpolation!r}; choose {LINEAR} or {SMOOTH}")

    times = []
    weights = []
    for key in _many(fields["keys"], "keys"):
        found = [when for when in WHENS if isinstance(key, dict) and when in key]
        if len(found) != 1:
            raise InputError(f"the key {key!r} of {name!r} needs one of {', '.join(WHENS)}")
        (when,) = found
        _fields(key, {when, "weight"})
        times.append(clock.seconds(when, key[when]))
        weights.append(_weight(key["weight"], f"vector {name!r}"))
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise InputError(f"the keys of {name!r} are not in the order of time, each at its own")
    return Curve(name, face, times, weights, interpolation)


def _weight(weight: Any, where: str) -> float:
    if not _is_number(weight) or abs(weight) > MOST:
        told = f"{weight:g}" if isinstance(weight, float) else repr(weight)
        raise InputError(f"{where} has the weight {told}; give numbers from -{MOST:g} to {MOST:g}")
    return float(weight)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    is_number = _is_whole(value) or isinstance(value, float)
    # Not so NaN, and integers that no float can hold
    return is_number and abs(value) < LARGE


def _many(entries: Any, name: str) -> list:
    """A list that is not empty."""
    if not isinstance(entries, list) or not entries:
        raise InputError(f"'{name}' must be a list of at least one entry")
    return entries


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A map of JSON, in which each name comes once."""
    content = dict(pairs)
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} comes twice in one map")
    return content


def _fields(entry: Any, needed: set[str], optional: set[str] = frozenset()) -> dict[str, Any]:
    """An entry that has the needed fields and no unknown ones."""
    if not isinstance(entry, dict):
        raise InputError(f"{entry!r} must be a map with {', '.join(sorted(needed))}")
    missing = needed - entry.keys()
    unknown = entry.keys() - needed - optional
    if unknown:
        known = ", ".join(sorted(needed | optional))
        raise InputError(f"{', '.join(sorted(unknown))} is not known; there are {known}")
    if missing:
        raise InputError(f"{entry!r} lacks {', '.join(sorted(missing))}")
    return entry
