"""Which clips there are and whose they are: the layouts that `faceswap prepare` understands.

Each input is one of these; several are merged.

    ann.mp4             A clip or a picture. The persona has the file's name.
    ann/                A folder of clips and pictures. The persona has the folder's name.
    people/             A folder of such folders, one per persona; clips may lie deeper: people/ann/monday/a.mp4.
    parts.csv           A table with the header `path,persona,start,end`. Paths are relative to the table. Start and end
                        are seconds and may be empty. Without a persona the file's name is taken. One file may have
                        several rows, as long as its parts do not overlap.
    vox2/               VoxCeleb 1 or 2 as unzipped: folders of identities (id00012, or the VGGFace name if a
                        vox1_meta.csv or vox2_meta.csv lies in the tree), in each a folder per video, in each the
                        utterances; further levels above the identities, such as dev/mp4, and sound files are ignored.
                        Where the utterances are text files, the parts they describe are taken from the full videos,
                        which lie anywhere in the tree and are named by their YouTube identifier.

Names that begin with a dot are ignored; suffixes may be in capitals; links are followed, and a folder is read once
however many links lead to it.
"""

import collections
import functools
import hashlib
import itertools
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.clips import Clip, Collection, fragment
from data_pipelines.prepare.folders import Folder, others, rows, scan, unreadable, walk
from data_pipelines.prepare.voxceleb import read_voxceleb
from data_pipelines.records import SPLITS
from faceswap_jax.errors import InputError
from faceswap_jax.faces.picture import is_picture
from faceswap_jax.faces.video import SUFFIXES

COLUMNS = ("path", "persona", "start", "end")
"""Header of a table of parts."""

MAX_NAME = 200
"""Bytes of a persona's name; file systems end at 255, and shards append to it."""

_UNFIT = re.compile(r"[/\x00-\x1f\x7f\ud800-\udfff]")
_KINDS = f"no clip or picture ({', '.join(sorted(SUFFIXES))})"


def find_clips(inputs: Sequence[Path]) -> Collection:
    """Lists the clips of all inputs without opening them; the module's docstring describes the layouts.

    Raises:
        InputError: an input is missing, unreadable, empty or ambiguous; a table or metadata break their format; a
            persona is reached twice, differs from another only by case, or cannot name files.
    """
    if not inputs:
        raise InputError(
            "There is no input; name at least one clip, or one folder of clips and pictures, per persona."
        )
    clips, skipped, origins = [], [], {}
    for path in inputs:
        found = _read(path)
        for persona in sorted({clip.persona for clip in found.clips}):
            if persona in origins:
                raise InputError(
                    f"{path} is the second input for persona {persona}; rename one, or put both in one folder."
                )
            origins[persona] = path
        clips += found.clips
        skipped += found.skipped
    _check_case(origins)
    for clip in clips:
        _check_name(clip)
    # The part of the name before the times, or 10 seconds would come before 2.
    clips.sort(key=lambda clip: (clip.persona, clip.name.partition("#t=")[0], clip.start))
    return Collection(clips, sorted(skipped, key=os.fspath))


def draw_videos(clips: Iterable[Clip], max_videos: int, seed: int) -> list[Clip]:
    """Keeps the clips of at most `max_videos` videos of each persona, drawn at random; 0 keeps all.

    The draw depends on nothing but the seed, the persona and the names of its videos.
    """
    clips = list(clips)
    if not max_videos:
        return clips
    videos = collections.defaultdict(set)
    for clip in clips:
        videos[clip.persona].add(clip.video)
    drawn = {
        persona: set(sorted(names, key=functools.partial(_lot, seed, persona))[:max_videos])
        for persona, names in videos.items()
    }
    return [clip for clip in clips if clip.video in drawn[clip.persona]]


def identity_splits(personas: Iterable[str], percent: Sequence[int], seed: int) -> dict[str, str]:
    """Assigns each persona to "train", "validation" or "test" at random.

    The counts are exact (largest remainder), except that the training split, unless it is to have 0 percent, gets a
    persona in any case. The order of the personas does not matter.

    Args:
        personas: their names.
        percent: of the personas in each split; the sum is 100.
        seed: of the draw.
    """
    drawn = sorted(set(personas), key=functools.partial(_lot, seed))
    counts = [len(drawn) * share // 100 for share in percent]
    remainders = [len(drawn) * share % 100 for share in percent]
    for split in sorted(range(len(SPLITS)), key=lambda split: -remainders[split])[
        : len(drawn) - sum(counts)
    ]:
        counts[split] += 1
    if drawn and percent[0] and not counts[0]:
        counts[counts.index(max(counts))] -= 1
        counts[0] = 1
    splits = itertools.chain.from_iterable(map(itertools.repeat, SPLITS, counts))
    return dict(sorted(zip(drawn, splits, strict=True)))


def _lot(seed: int, *names: str) -> bytes:
    return hashlib.blake2b("\0".join([str(seed), *names]).encode(), digest_size=16).digest()


def _read(path: Path) -> Collection:
    """The clips of one input."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} does not exist; check its name.") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        return _folder(path)
    if path.suffix.lower() == ".csv":
        return _table(path)
    if stat.S_ISREG(mode) and path.suffix.lower() in SUFFIXES:
        return Collection([Clip(path, _persona(path.stem, path), path.name, video=path.name)], [])
    raise InputError(f"{path} is no folder, no CSV table and {_KINDS}; convert it or leave it out.")


def _folder(path: Path) -> Collection:
    """The clips of a folder, whichever layout it has."""
    tree = scan(path)
    found = read_voxceleb(tree) or (_one_persona(tree) if tree.clips else _folder_per_persona(tree))
    if not found.clips:
        raise InputError(f"{path} holds {_KINDS}; add some.")
    return found


def _one_persona(tree: Folder) -> Collection:
    """Clips and pictures directly in the folder."""
    deeper = next((inner for below, inner in walk(tree) if below and inner.clips), None)
    if deeper:
        raise InputError(
            f"{tree.path} holds both clips, such as {tree.clips[0]}, and a folder of clips, {deeper.path}, so it is "
            "not clear who is who; move the clips into folders, one per persona, or name each input by itself."
        )
    return Collection(list(_clips(tree, _persona(tree.name, tree.path))), others(tree))


def _folder_per_persona(tree: Folder) -> Collection:
    """One persona per subfolder that holds clips at any depth."""
    clips, origins = [], {}
    for folder in tree.folders:
        if not any(inner.clips for _, inner in walk(folder)):
            continue
        persona = _persona(folder.name, folder.path)
        if persona in origins:  # composed and decomposed accents
            raise InputError(
                f"{folder.path} and {origins[persona]} are both named {persona}; rename one."
            )
        origins[persona] = folder.path
        clips += _clips(folder, persona)
    return Collection(clips, others(tree))


def _clips(folder: Folder, persona: str) -> Iterator[Clip]:
    """All clips below the folder of a persona."""
    for below, inner in walk(folder):
        prefix = f"{persona}/{below}"
        for file in inner.clips:
            path, name = inner.path / file, prefix + file
            yield Clip(path, persona, name, video=prefix if is_picture(path) else name)


# Tables of parts.


def _table(path: Path) -> Collection:
    """The parts of files that a CSV names."""
    lines = rows(path)
    line, header = next(lines, (1, []))
    header = [cell.strip() for cell in header]
    if sorted(header) != sorted(COLUMNS):
        raise InputError(
            f"Line {line} of {path} is {_short(header)}; it must be the header {','.join(COLUMNS)}."
        )
    clips, missing, parts = [], [], collections.defaultdict(list)
    for line, row in lines:
        where = f"line {line} of {path}"
        if len(row) != len(header):
            raise InputError(
                f"There are {len(row)} cells in {where}; write {len(header)}: {','.join(header)}."
            )
        clip = _part(path.parent, dict(zip(header, row, strict=True)), where)
        if clip.path not in parts and not os.path.isfile(clip.path):
            missing.append((clip.path, where))
        parts[clip.path].append((clip.start, clip.end, line))
        clips.append(clip)
    if not clips:
        raise InputError(f"{path} names no clip; add a line for each.")
    if missing:
        file, where = missing[0]
        raise InputError(
            f"{len(missing)} of the {len(parts)} files that {path} names do not exist, the first is {file} in {where}; "
            "paths are relative to the table: correct or remove these lines."
        )
    for file, times in parts.items():
        for (_, end, one), (start, _, other) in itertools.pairwise(sorted(times)):
            if start < end:
                first, second = sorted((one, other))
                raise InputError(
                    f"Lines {first} and {second} of {path} overlap in {file}; correct their times."
                )
    return Collection(clips, [])


def _part(folder: Path, row: Mapping[str, str], where: str) -> Clip:
    """One row of a table."""
    path = folder / row["path"]
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"The path {row['path']!r} in {where} names {_KINDS}; correct or remove the line."
        )
    start, end = (
        _seconds(row[column], default, where)
        for column, default in (("start", 0.0), ("end", math.inf))
    )
    if start >= end:
        raise InputError(
            f"The part in {where} starts at {start:g} s and ends at {end:g} s; correct the line."
        )
    if is_picture(path) and (start, end) != (0.0, math.inf):
        raise InputError(
            f"The path {row['path']!r} in {where} is a picture, which has no times; leave them empty."
        )
    persona = _persona(row["persona"].strip() or path.stem, where)
    name = f"{persona}/{Path(row['path']).as_posix()}"
    return Clip(path, persona, name + fragment(start, end), start, end, video=name)


def _seconds(text: str, default: float, where: str) -> float:
    try:
        value = float(text) if text.strip() else default
        if not (0 <= value < math.inf or value == default):
            raise ValueError
    except ValueError as error:
        raise InputError(
            f"{text!r} in {where} is no number of seconds; write one like 12.5, or nothing."
        ) from error
    return value


def _short(cells: Sequence[str]) -> str:
    text = ",".join(cells)
    return repr(text if len(text) <= 60 else text[:60] + "...")


# Names.


def _persona(name: str, where: object) -> str:
    """The name of a persona with accents composed, fit to name files."""
    name = unicodedata.normalize("NFC", name)
    if not name or name.startswith(".") or _UNFIT.search(name) or len(name.encode()) > MAX_NAME:
        raise InputError(
            f"The persona {name!r} of {' '.join(str(where).splitlines())} cannot name files; give it a name of at most "
            f"{MAX_NAME} bytes of UTF-8 without slashes and control characters that does not begin with a dot."
        )
    return name


def _check_case(origins: Mapping[str, Path]) -> None:
    """Raises InputError if a file system could take one persona for another."""
    folded: dict[str, str] = {}
    for persona in sorted(origins):
        other = folded.setdefault(persona.casefold(), persona)
        if other != persona:
            raise InputError(
                f"The personas {other} of {origins[other]} and {persona} of {origins[persona]} differ only by case, "
                "which not every file system tells apart; rename one."
            )


def _check_name(clip: Clip) -> None:
    """Raises InputError if records and reports could not hold the clip's name."""
    try:
        clip.name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"The name of {os.fsencode(clip.path)!r} is not UTF-8 text; rename it."
        ) from error
