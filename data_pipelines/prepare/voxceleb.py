"""The trees of VoxCeleb 1 and 2; `layouts.py` says what they look like.

Source: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ (file lists, text files and metadata).
"""

import collections
import dataclasses
import os
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from data_pipelines.clips import Clip, Collection, fragment
from data_pipelines.prepare.folders import Folder, others, rows, unreadable, walk
from faceswap_jax.errors import InputError

METADATA = ("vox1_meta.csv", "vox2_meta.csv")
RATE = 25
"""Frames per second that the text files count, whatever the rate of the video."""

_IDENTITY = re.compile(r"id\d{5}")
_FACE_CROPS = (
    "1.6"  # level of VoxCeleb1's picture tree between a name and its videos: the crops' scale
)
_NO_CLIPS = frozenset({".txt", ".m4a", ".aac", ".wav", ".flac"})  # what else lies beside utterances


def read_voxceleb(tree: Folder) -> Collection | None:
    """Lists the utterances in a tree, as clips or as parts of full videos; None if the tree has another layout.

    Raises:
        InputError: metadata or text files break their format, clips belong to no identity, an identity or a video is
            there twice, or all videos are missing.
    """
    metadata = [
        inner.path / file for _, inner in walk(tree) for file in METADATA if file in inner.others
    ]
    identities, rest = _identities(tree, _vggface_names(metadata))
    if not identities and not metadata:
        return None
    folders = [folder for several in identities.values() for folder in several]
    wanted = {text.video for folder in folders for text in _texts(folder)}
    videos = _full_videos(tree, wanted)
    strangers = [
        folder.path / file for folder in rest for file in folder.clips if _stem(file) not in videos
    ]
    if (
        strangers
        and not metadata
        and not videos
        and all(folder.path.parent == tree.path for folder in folders)
    ):
        return None  # folders of personas, some of which happen to be named like identities
    if strangers:
        raise InputError(
            f"{strangers[0]} lies among VoxCeleb data but belongs to no identity: no folder above it has an identifier "
            f"like id00012{' or a name of the metadata' * bool(metadata)} as its name, and no text file refers to it; "
            "move it elsewhere."
        )
    clips = [
        clip
        for identity, several in identities.items()
        for clip in _clips(identity, several, videos)
    ]
    if wanted and not clips:
        raise InputError(
            f"{tree.path} holds VoxCeleb's text files but none of their videos; add these, named by their identifiers, "
            f"such as {min(wanted)}.mp4."
        )
    skipped = [
        folder.path / file for folder in rest for file in folder.others if file not in METADATA
    ]
    inside = [
        path
        for folder in folders
        for path in others(folder)
        if path.suffix.lower() not in _NO_CLIPS
    ]
    return Collection(clips, skipped + inside)


def _identities(
    tree: Folder, names: Mapping[str, str]
) -> tuple[dict[str, list[Folder]], list[Folder]]:
    """The folders of each identity, and all folders that lie in none of these."""
    identities, rest, waiting = collections.defaultdict(list), [], [tree]
    while waiting:
        folder = waiting.pop()
        name = _vggface_key(folder.name)
        identity = name if _IDENTITY.fullmatch(name) else names.get(name)
        if identity:
            identities[identity].append(folder)
        else:
            rest.append(folder)
            waiting += folder.folders
    return identities, rest


def _full_videos(tree: Folder, wanted: Container[str]) -> dict[str, Path]:
    """The videos that text files refer to, as far as they are there, by YouTube identifier."""
    videos = {}
    for file in (
        folder.path / file
        for _, folder in walk(tree)
        for file in folder.clips
        if _stem(file) in wanted
    ):
        if videos.setdefault(file.stem, file) != file:
            raise InputError(
                f"{file} and {videos[file.stem]} are named as the same video; remove one."
            )
    return videos


def _clips(identity: str, folders: Iterable[Folder], videos: Mapping[str, Path]) -> list[Clip]:
    """The clips of one identity, which must all come from one of its folders, and from clips or text files alone."""
    sources = []
    for folder in folders:
        sources.append((f"clips in {folder.path}", _utterances(folder, identity, videos)))
        sources.append((f"text files in {folder.path}", _parts(folder, identity, videos)))
    sources = [(source, clips) for source, clips in sources if clips]
    if len(sources) > 1:
        raise InputError(
            f"The {sources[0][0]} and the {sources[1][0]} both give utterances of {identity}; keep one of them below "
            "the input."
        )
    return sources[0][1] if sources else []


def _utterances(folder: Folder, identity: str, videos: Container[str]) -> list[Clip]:
    """Utterances that are clips, or pictures of them."""
    return [
        Clip(inner.path / file, identity, f"{identity}/{below}{file}", video=_video(below) or file)
        for below, inner in walk(folder)
        for file in inner.clips
        if _stem(file) not in videos
    ]


def _parts(folder: Folder, identity: str, videos: Mapping[str, Path]) -> list[Clip]:
    """The parts of full videos that text files describe, as far as the videos are there."""
    clips = []
    for text in _texts(folder):
        if text.video in videos:
            start, end = _times(text.path)
            name = f"{identity}/{text.name}{fragment(start, end)}"
            clips.append(Clip(videos[text.video], identity, name, start, end, text.video))
    return clips


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text file that describes an utterance: where it lies, its name below the identity, and its video."""

    path: Path
    name: str
    video: str


def _texts(folder: Folder) -> Iterator[_Text]:
    """The text files in the video folders of an identity."""
    for below, inner in walk(folder):
        for file in inner.others:
            if below and file.lower().endswith(".txt"):
                yield _Text(inner.path / file, below + _stem(file), _video(below))


def _video(below: str) -> str:
    """The YouTube identifier: the folder directly below that of the identity."""
    return below.removeprefix(f"{_FACE_CROPS}/").partition("/")[0]


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _times(path: Path) -> tuple[float, float]:
    """Start and exclusive end of an utterance in its video, seconds.

    The file has lines such as "Reference : 1zcIwhmdeo4", then a table with the header "FRAME X Y W H" and one row per
    frame, of which the first and the last count here.
    """
    try:
        _, _, table = path.read_text(encoding="utf-8").partition("\nFRAME")
        frames = [line for line in table.splitlines()[1:] if line.strip()]
        if not frames:
            raise ValueError("it has no table of frames")
        first, last = (int(line.split()[0]) for line in (frames[0], frames[-1]))
        if not 0 <= first <= last:
            raise ValueError(f"it goes from frame {first} to {last}")
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise InputError(
            f"{path} does not describe an utterance of VoxCeleb ({error}); unzip it again."
        ) from error
    return first / RATE, (last + 1) / RATE


def _vggface_names(metadata: Iterable[Path]) -> dict[str, str]:
    """Maps the VGGFace name of each identity, under which older releases have it, to its identifier."""
    names = {}
    for path in metadata:
        lines = list(rows(path))
        if lines and len(lines[0][1]) == 1:  # VoxCeleb1 separates by tabs, VoxCeleb2 by commas
            lines = list(rows(path, "\t"))
        header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in (lines[0][1] if lines else [])]
        if not {"voxcelebid", "vggfaceid"} <= set(header):
            raise InputError(
                f"The header of {path} lacks 'VoxCeleb ID' or 'VGGFace ID'; download the file again."
            )
        for line, cells in lines[1:]:
            row = dict(zip(header, map(str.strip, cells), strict=False))
            identity, name = row.get("voxcelebid", ""), _vggface_key(row.get("vggfaceid", ""))
            if not _IDENTITY.fullmatch(identity):
                raise InputError(
                    f"{identity!r} in line {line} of {path} is no identifier like id00012; correct it."
                )
            if name and names.setdefault(name, identity) != identity:
                raise InputError(
                    f"Line {line} of {path} gives the name {name} to {identity} and {names[name]}; correct it."
                )
    return names


def _vggface_key(name: str) -> str:
    """A name as it is compared: some systems cannot have the dot of "Jr." at the end of a folder's name."""
    return unicodedata.normalize("NFC", name).rstrip(".")
