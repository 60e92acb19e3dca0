"""Reads tables of parts: CSV files that name stretches of files; `layouts.py` describes them."""

import collections
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.clips import Clip, Collection, fragment
from data_pipelines.prepare.folders import NO_CLIP, rows
from data_pipelines.prepare.names import persona_name
from faceswap_jax.errors import InputError
from faceswap_jax.faces.picture import is_picture
from faceswap_jax.faces.sequence import is_sequence, title
from faceswap_jax.faces.video import SUFFIXES

COLUMNS = ("path", "persona", "start", "end")
"""Header of a table."""


def read_table(path: Path) -> Collection:
    """Lists the parts that a table names.

    Raises:
        InputError: the table cannot be read, breaks its format, or names a file that does not
            exist; two parts of a file overlap.
    """
    clips = []
    missing = []
    parts = collections.defaultdict(list)  # of each file: start, end, line of the table
    for line, row in _named_rows(path):
        where = f"line {line} of {path}"
        clip = _part(path.parent, row, where)
        # A file with many parts is looked up once.
        is_there = clip.path in parts or os.path.isfile(clip.path)
        if not is_there and not is_sequence(clip.path):
            missing.append((clip.path, where))
        parts[clip.path].append((clip.start, clip.end, line))
        clips.append(clip)

    if not clips:
        raise InputError(f"{path} names no clip; add a line for each.")
    if missing:
        file, where = missing[0]
        raise InputError(
            f"{len(missing)} of the {len(parts)} files that {path} names do not exist, the first is "
            f"{file} in {where}; paths are relative to the table: correct or remove these lines."
        )
    _check_overlaps(path, parts)
    return Collection(clips, [])


def _named_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line number and the cells, by column, of each row below the header."""
    lines = rows(path)
    line, header = next(lines, (1, []))
    header = [cell.strip() for cell in header]
    if sorted(header) != sorted(COLUMNS):
        raise InputError(
            f"Line {line} of {path} is {_short(header)}; it must be the header {','.join(COLUMNS)}."
        )
    for line, row in lines:
        if len(row) != len(header):
            raise InputError(
                f"There are {len(row)} cells in line {line} of {path}; write {len(header)}: "
                f"{','.join(header)}."
            )
        yield line, dict(zip(header, row, strict=True))


def _part(folder: Path, row: Mapping[str, str], where: str) -> Clip:
    """Returns the part that one row names."""
    path = folder / row["path"]
    is_numbered = row["path"] != "" and is_sequence(path)
    if path.suffix.lower() not in SUFFIXES and not is_numbered:
        raise InputError(
            f"The path {row['path']!r} in {where} names {NO_CLIP}; correct or remove the line."
        )

    start = _seconds(row["start"], 0.0, where)
    end = _seconds(row["end"], math.inf, where)
    if start >= end:
        raise InputError(
            f"The part in {where} starts at {start:g} s and ends at {end:g} s; correct the line."
        )
    if is_picture(path) and (start, end) != (0.0, math.inf):
        raise InputError(
            f"The path {row['path']!r} in {where} is a picture, which has no times; "
            "leave them empty."
        )

    of_path = title(path) if is_numbered else path.stem
    persona = persona_name(row["persona"].strip() or of_path, where)
    name = f"{persona}/{Path(row['path']).as_posix()}"
    return Clip(path, persona, name + fragment(start, end), start, end, video=name)


def _seconds(text: str, default: float, where: str) -> float:
    """Returns the number that a cell holds, the default if it is empty."""
    if not text.strip():
        return default
    try:
        value = float(text)
        # NaN compares false with everything.
        if not (0 <= value < math.inf or value == default):
            raise ValueError
    except ValueError as error:
        raise InputError(
            f"{text!r} in {where} is no number of seconds; write one like 12.5, or nothing."
        ) from error
    return value


def _check_overlaps(path: Path, parts: Mapping[Path, list[tuple[float, float, int]]]) -> None:
    """Raises InputError if two parts of a file share time: a face would be stored twice."""
    for file, times in parts.items():
        # Sorted by start, only neighbours need a look.
        for before, after in itertools.pairwise(sorted(times)):
            _, end, line = before
            start, _, other_line = after
            if start < end:
                first, second = sorted((line, other_line))
                raise InputError(
                    f"Lines {first} and {second} of {path} overlap in {file}; correct their times."
                )


def _short(cells: Sequence[str]) -> str:
    """Returns the cells of a row as they may stand in an error."""
    text = ",".join(cells)
    return repr(text if len(text) <= 60 else text[:60] + "...")
