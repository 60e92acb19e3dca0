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
import csv
import dataclasses
import hashlib
import itertools
import math
import os
import re
import stat
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.records import SPLITS
from faceswap_jax.errors import InputError
from faceswap_jax.faces import landmarks, video

COLUMNS = ("path", "persona", "start", "end")
"""Header of a table of parts."""

METADATA = ("vox1_meta.csv", "vox2_meta.csv")
VOXCELEB_RATE = 25
"""Frames per second that VoxCeleb's text files count, whatever the rate of the video."""

MAX_NAME = 200
"""Bytes of a persona's name; file systems end at 255, and shards append to it."""

_IDENTITY = re.compile(r"id\d{5}")
_FACE_CROPS = "1.6"  # level of VoxCeleb1's picture tree between a name and its videos: the crops' scale
_NO_CLIPS = frozenset({".txt", ".m4a", ".aac", ".wav", ".flac"})  # what else lies beside VoxCeleb's utterances
_UNFIT = re.compile(r"[/\x00-\x1f\x7f\ud800-\udfff]")
_SIDECAR = landmarks.sidecar_path(Path("x")).name.removeprefix("x")
_KINDS = f"no clip or picture ({', '.join(sorted(video.SUFFIXES))})"


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """One stretch of one file, and whose faces it shows.

    Attributes:
        path: a video or a picture.
        persona: whose faces these are.
        name: of the clip, unique within the data set: the persona and where the file lies below the persona's folder,
            then, for a part of a file, its times as a media fragment: `ann/monday/a.mp4#t=1.5,3`. A file that is an
            input itself has its plain name.
        start: seconds from the start of the file.
        end: seconds from the start of the file, exclusive.
        video: the recording it belongs to, unique for the persona; `--max_videos` counts these. For utterances of
            VoxCeleb the YouTube identifier; for other pictures their folder; else the file.
    """

    path: Path
    persona: str
    name: str
    start: float = 0.0
    end: float = math.inf
    video: str = ""


@dataclasses.dataclass(frozen=True)
class Collection:
    """What the inputs hold.

    Attributes:
        clips: sorted by persona, then name, then time.
        skipped: files in the folders that are neither clip nor picture nor belong to one, links that lead nowhere, and
            links to folders that are read already.
    """

    clips: list[Clip]
    skipped: list[Path]


def find_clips(inputs: Sequence[Path]) -> Collection:
    """Lists the clips of all inputs without opening them; the module's docstring describes the layouts.

    Raises:
        InputError: an input is missing, unreadable, empty or ambiguous; a table or metadata break their format; a
            persona is reached twice, differs from another only by case, or cannot name files.
    """
    if not inputs:
        raise InputError("There is no input; name at least one clip, or one folder of clips and pictures, per persona.")
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
        persona: set(sorted(names, key=lambda name, persona=persona: _lot(seed, persona, name))[:max_videos])
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
    drawn = sorted(set(personas), key=lambda persona: _lot(seed, persona))
    counts = [len(drawn) * share // 100 for share in percent]
    remainders = [len(drawn) * share % 100 for share in percent]
    for split in sorted(range(len(SPLITS)), key=lambda split: -remainders[split])[: len(drawn) - sum(counts)]:
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
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        return _folder(path)
    if path.suffix.lower() == ".csv":
        return _table(path)
    if stat.S_ISREG(mode) and path.suffix.lower() in video.SUFFIXES:
        return Collection([Clip(path, _persona(path.stem, path), path.name, video=path.name)], [])
    raise InputError(f"{path} is no folder, no CSV table and {_KINDS}; convert it or leave it out.")


def _folder(path: Path) -> Collection:
    """The clips of a folder, whichever layout it has."""
    name = path.name if path.name not in ("", "..") else path.resolve().name
    tree = _scan(path)
    found = _voxceleb(tree, name) or (_one_persona(tree, name) if tree.clips else _folder_per_persona(tree))
    if not found.clips:
        raise InputError(f"{path} holds {_KINDS}; add some.")
    return found


def _one_persona(tree: "_Folder", name: str) -> Collection:
    """Clips and pictures directly in the folder."""
    deeper = next((inner for below, inner in _walk(tree) if below and inner.clips), None)
    if deeper:
        raise InputError(
            f"{tree.path} holds both clips, such as {tree.clips[0]}, and a folder of clips, {deeper.path}, so it is "
            "not clear who is who; move the clips into folders, one per persona, or name each input by itself."
        )
    return Collection(list(_clips(tree, _persona(name, tree.path))), _others(tree))


def _folder_per_persona(tree: "_Folder") -> Collection:
    """One persona per subfolder that holds clips at any depth."""
    clips, origins = [], {}
    for folder in tree.folders:
        if not _holds_clips(folder):
            continue
        persona = _persona(folder.path.name, folder.path)
        if persona in origins:  # composed and decomposed accents
            raise InputError(f"{folder.path} and {origins[persona]} are both named {persona}; rename one.")
        origins[persona] = folder.path
        clips += _clips(folder, persona)
    return Collection(clips, _others(tree))


def _clips(folder: "_Folder", persona: str) -> Iterator[Clip]:
    """All clips below the folder of a persona."""
    for below, inner in _walk(folder):
        prefix = f"{persona}/{below}"
        for file in inner.clips:
            name = prefix + file
            yield Clip(inner.path / file, persona, name, video=prefix if _is_picture(file) else name)


# Tables of parts.


def _table(path: Path) -> Collection:
    """The parts of files that a CSV names."""
    rows = _rows(path)
    line, header = next(rows, (1, []))
    header = [cell.strip() for cell in header]
    if sorted(header) != sorted(COLUMNS):
        raise InputError(f"Line {line} of {path} is {_short(header)}; it must be the header {','.join(COLUMNS)}.")
    clips, missing, parts = [], [], collections.defaultdict(list)
    for line, row in rows:
        where = f"line {line} of {path}"
        if len(row) != len(header):
            raise InputError(f"There are {len(row)} cells in {where}; write {len(header)}: {','.join(header)}.")
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
                raise InputError(f"Lines {first} and {second} of {path} overlap in {file}; correct their times.")
    return Collection(clips, [])


def _part(folder: Path, row: Mapping[str, str], where: str) -> Clip:
    """One row of a table."""
    path = folder / row["path"]
    if path.suffix.lower() not in video.SUFFIXES:
        raise InputError(f"The path {row['path']!r} in {where} names {_KINDS}; correct or remove the line.")
    start, end = (_seconds(row[column], default, where) for column, default in (("start", 0.0), ("end", math.inf)))
    if start >= end:
        raise InputError(f"The part in {where} starts at {start:g} s and ends at {end:g} s; correct the line.")
    if video.is_picture(path) and (start, end) != (0.0, math.inf):
        raise InputError(f"The path {row['path']!r} in {where} is a picture, which has no times; leave them empty.")
    persona = _persona(row["persona"].strip() or path.stem, where)
    name = f"{persona}/{Path(row['path']).as_posix()}"
    return Clip(path, persona, name + _fragment(start, end), start, end, video=name)


def _seconds(text: str, default: float, where: str) -> float:
    try:
        value = float(text) if text.strip() else default
        if not (0 <= value < math.inf or value == default):
            raise ValueError
    except ValueError as error:
        raise InputError(f"{text!r} in {where} is no number of seconds; write one like 12.5, or nothing.") from error
    return value


def _fragment(start: float, end: float) -> str:
    """A part of a file as a W3C media fragment, nothing for a whole file."""
    if (start, end) == (0.0, math.inf):
        return ""
    return f"#t={start:.15g}" + (f",{end:.15g}" if end < math.inf else "")


def _rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the cells of each row that is not empty."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                if any(map(str.strip, row)):
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"Line {reader.line_num} of {path} is no CSV ({error}); correct it.") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _short(cells: Sequence[str]) -> str:
    text = ",".join(cells)
    return repr(text if len(text) <= 60 else text[:60] + "...")


# VoxCeleb.


def _voxceleb(tree: "_Folder", name: str) -> Collection | None:
    """Utterances of VoxCeleb, as clips or as parts of full videos; None if the tree has another layout."""
    metadata = [inner.path / file for _, inner in _walk(tree) for file in METADATA if file in inner.others]
    identities, rest = _identities(tree, name, _vggface_names(metadata))
    if not identities and not metadata:
        return None
    folders = [folder for several in identities.values() for folder in several]
    wanted = {text.video for folder in folders for text in _texts(folder)}
    videos = _full_videos(tree, wanted)
    strangers = [folder.path / file for folder in rest for file in folder.clips if _stem(file) not in videos]
    if strangers and not metadata and not videos and all(folder.path.parent == tree.path for folder in folders):
        return None  # folders of personas, some of which happen to be named like identities
    if strangers:
        raise InputError(
            f"{strangers[0]} lies among VoxCeleb data but belongs to no identity: no folder above it has an identifier "
            f"like id00012{' or a name of the metadata' * bool(metadata)} as its name, and no text file refers to it; "
            "move it elsewhere."
        )
    clips = [clip for identity, several in identities.items() for clip in _clips_of(identity, several, videos)]
    if wanted and not clips:
        raise InputError(
            f"{tree.path} holds VoxCeleb's text files but none of their videos; add these, named by their identifiers, "
            f"such as {min(wanted)}.mp4."
        )
    skipped = [folder.path / file for folder in rest for file in folder.others if file not in METADATA]
    inside = [path for folder in folders for path in _others(folder) if path.suffix.lower() not in _NO_CLIPS]
    return Collection(clips, skipped + inside)


def _identities(
    tree: "_Folder", name: str, names: Mapping[str, str]
) -> tuple[dict[str, list["_Folder"]], list["_Folder"]]:
    """The folders of each identity, and all folders that lie in none of these."""
    identities, rest = collections.defaultdict(list), []
    waiting = [(name, tree)]
    while waiting:
        name, folder = waiting.pop()
        name = _vggface_key(name)
        identity = name if _IDENTITY.fullmatch(name) else names.get(name)
        if identity:
            identities[identity].append(folder)
        else:
            rest.append(folder)
            waiting += ((inner.path.name, inner) for inner in folder.folders)
    return identities, rest


def _full_videos(tree: "_Folder", wanted: Container[str]) -> dict[str, Path]:
    """The videos that text files refer to, as far as they are there, by YouTube identifier."""
    videos = {}
    for file in (folder.path / file for _, folder in _walk(tree) for file in folder.clips if _stem(file) in wanted):
        if videos.setdefault(file.stem, file) != file:
            raise InputError(f"{file} and {videos[file.stem]} are named as the same video; remove one.")
    return videos


def _clips_of(identity: str, folders: Iterable["_Folder"], videos: Mapping[str, Path]) -> list[Clip]:
    """The clips of one identity, which must all come from one of its folders, and from clips or text files alone."""
    sources = [
        (folder.path, clips)
        for folder in folders
        for clips in (_utterances(folder, identity, videos), _parts(folder, identity, videos))
        if clips
    ]
    if len(sources) > 1:
        raise InputError(
            f"{sources[0][0]} and {sources[1][0]} both give utterances of {identity}, as clips, pictures or text files "
            "with videos; keep one of them below the input."
        )
    return sources[0][1] if sources else []


def _utterances(folder: "_Folder", identity: str, videos: Container[str]) -> list[Clip]:
    """Utterances that are clips, or pictures of them."""
    return [
        Clip(inner.path / file, identity, f"{identity}/{below}{file}", video=_video(below) or file)
        for below, inner in _walk(folder)
        for file in inner.clips
        if _stem(file) not in videos
    ]


def _parts(folder: "_Folder", identity: str, videos: Mapping[str, Path]) -> list[Clip]:
    """The parts of full videos that text files describe, as far as the videos are there."""
    clips = []
    for text in _texts(folder):
        if text.video in videos:
            start, end = _times(text.path)
            name = f"{identity}/{text.name}{_fragment(start, end)}"
            clips.append(Clip(videos[text.video], identity, name, start, end, text.video))
    return clips


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text file that describes an utterance: where it lies, its name below the identity, and its video."""

    path: Path
    name: str
    video: str


def _texts(folder: "_Folder") -> Iterator[_Text]:
    """The text files in the video folders of an identity."""
    for below, inner in _walk(folder):
        for file in inner.others:
            if below and file.lower().endswith(".txt"):
                yield _Text(inner.path / file, below + _stem(file), _video(below))


def _video(below: str) -> str:
    """The YouTube identifier: the folder directly below that of the identity."""
    return below.removeprefix(f"{_FACE_CROPS}/").partition("/")[0]


def _times(path: Path) -> tuple[float, float]:
    """Start and exclusive end of an utterance in its video, seconds.

    The file has lines such as "Reference : 1zcIwhmdeo4", then a table with the header "FRAME X Y W H" and one row per
    frame, of which the first and the last count here.
    """
    try:
        _, _, table = path.read_text(encoding="utf-8").partition("\nFRAME")
        rows = [line for line in table.splitlines()[1:] if line.strip()]
        if not rows:
            raise ValueError("it has no table of frames")
        first, last = (int(row.split()[0]) for row in (rows[0], rows[-1]))
        if not 0 <= first <= last:
            raise ValueError(f"it goes from frame {first} to {last}")
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise InputError(f"{path} does not describe an utterance of VoxCeleb ({error}); unzip it again.") from error
    return first / VOXCELEB_RATE, (last + 1) / VOXCELEB_RATE


def _vggface_names(metadata: Iterable[Path]) -> dict[str, str]:
    """Maps the VGGFace name of each identity, under which older releases have it, to its identifier."""
    names = {}
    for path in metadata:
        rows = list(_rows(path))
        if rows and len(rows[0][1]) == 1:  # VoxCeleb1 separates by tabs, VoxCeleb2 by commas
            rows = list(_rows(path, "\t"))
        header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in (rows[0][1] if rows else [])]
        if not {"voxcelebid", "vggfaceid"} <= set(header):
            raise InputError(f"The header of {path} lacks 'VoxCeleb ID' or 'VGGFace ID'; download the file again.")
        for line, row in rows[1:]:
            row = dict(zip(header, map(str.strip, row), strict=False))
            identity, name = row.get("voxcelebid", ""), _vggface_key(row.get("vggfaceid", ""))
            if not _IDENTITY.fullmatch(identity):
                raise InputError(f"{identity!r} in line {line} of {path} is no identifier like id00012; correct it.")
            if name and names.setdefault(name, identity) != identity:
                raise InputError(
                    f"Line {line} of {path} gives the name {name} to {identity} and {names[name]}; correct it."
                )
    return names


def _vggface_key(name: str) -> str:
    """A name as it is compared: some systems cannot have the dot of "Jr." at the end of a folder's name."""
    return unicodedata.normalize("NFC", name).rstrip(".")


# Folders.


@dataclasses.dataclass
class _Folder:
    """What lies in a folder; a million of names, so these are text."""

    path: Path
    folders: list["_Folder"] = dataclasses.field(default_factory=list)
    clips: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)


def _scan(root: Path) -> _Folder:
    """Reads a tree of folders, each real folder once, and rather under its own name than under that of a link."""
    top, seen = _Folder(root), set()
    folders, links = collections.deque([(None, top)]), collections.deque()
    while folders or links:
        parent, folder = (folders or links).popleft()
        try:
            status = os.stat(folder.path)
            if (status.st_dev, status.st_ino) in seen:
                parent.others.append(folder.path.name)
                continue
            seen.add((status.st_dev, status.st_ino))
            inner = _list(folder)
        except OSError as error:
            raise _unreadable(folder.path, error) from error
        if parent:
            parent.folders.append(folder)
        for name, is_link in sorted(inner):
            (links if is_link else folders).append((folder, _Folder(folder.path / name)))
    return top


def _list(folder: _Folder) -> list[tuple[str, bool]]:
    """Enters the files of a folder and returns the names of its subfolders, each with whether it is a link."""
    folders = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link into itself, or to where one may not look
                is_folder = is_file = False
            if is_folder:
                folders.append((name, entry.is_symlink()))
            elif is_file and os.path.splitext(name)[1].lower() in video.SUFFIXES:
                folder.clips.append(name)
            else:
                folder.others.append(name)
    folder.clips.sort()
    if folder.others:
        clips = set(folder.clips)
        folder.others = [
            name for name in folder.others if not (name.endswith(_SIDECAR) and name.removesuffix(_SIDECAR) in clips)
        ]
    return folders


def _walk(folder: _Folder) -> Iterator[tuple[str, _Folder]]:
    """Yields a folder and all below it, each with its path from the first: "", "monday/", "monday/late/", ..."""
    waiting = [("", folder)]
    while waiting:
        below, folder = waiting.pop()
        yield below, folder
        waiting += ((f"{below}{inner.path.name}/", inner) for inner in folder.folders)


def _holds_clips(folder: _Folder) -> bool:
    return any(inner.clips for _, inner in _walk(folder))


def _others(folder: _Folder) -> list[Path]:
    """Files at any depth that are no clips."""
    return [inner.path / file for _, inner in _walk(folder) for file in inner.others]


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _is_picture(file: str) -> bool:
    return os.path.splitext(file)[1].lower() in video.PICTURE_SUFFIXES


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
        raise InputError(f"The name of {os.fsencode(clip.path)!r} is not UTF-8 text; rename it.") from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}); correct that or leave it out.")
