"""Reads the trees of VoxCeleb 1 and 2; `layouts.py` says what they look like.

Source: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ (file lists, text files and metadata).
"""

import collections
import dataclasses
import os
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from data_pipelines.clips import Clip, Collection, FollowedClip, fragment
from data_pipelines.prepare.folders import Folder, others, rows, unreadable, walk
from faceswap_jax.errors import InputError

METADATA = ("vox1_meta.csv", "vox2_meta.csv")
"""Files that map identifiers to the VGGFace names that older releases use."""

RATE = 25
"""Frames per second that the text files count, whatever the rate of the video."""

_IDENTITY = re.compile(r"id\d{5}")

# Level of VoxCeleb1's picture tree between a name and its videos: the scale of the crops.
_FACE_CROPS = "1.6"

# What else lies beside utterances and needs no mention.
_NO_CLIPS = frozenset({".txt", ".m4a", ".aac", ".wav", ".flac"})


def read_voxceleb(tree: Folder) -> Collection | None:
    """Lists the utterances in a tree, as clips or as parts of full videos.

    Returns:
        The utterances; None if the tree has another layout.

    Raises:
        InputError: metadata or text files break their format, clips belong to no identity, an
            identity or a video is there twice, or all videos are missing.
    """
    metadata = _metadata(tree)
    identities, rest = _identities(tree, _vggface_names(metadata))
    if not identities and not metadata:
        return None

    folders = [folder for several in identities.values() for folder in several]
    wanted = {text.video for folder in folders for text in _texts(folder)}
    videos = _full_videos(tree, wanted)

    strangers = _strangers(rest, videos)
    if strangers:
        at_the_top = all(folder.path.parent == tree.path for folder in folders)
        if at_the_top and not metadata and not videos:
            # Folders of personas, some of which happen to be named like identities.
            return None
        raise InputError(
            f"{strangers[0]} lies among VoxCeleb data but belongs to no identity: no folder above it "
            f"has an identifier like id00012{' or a name of the metadata' * bool(metadata)} as its "
            "name, and no text file refers to it; move it elsewhere."
        )

    clips = []
    for identity, several in identities.items():
        clips += _clips(identity, several, videos)
    if wanted and not clips:
        raise InputError(
            f"{tree.path} holds VoxCeleb's text files but none of their videos; add these, named by "
            f"their identifiers, such as {min(wanted)}.mp4."
        )
    return Collection(clips, _skipped(folders, rest))


def _metadata(tree: Folder) -> list[Path]:
    """Lists the files of metadata in a tree."""
    found = []
    for _, folder in walk(tree):
        found += [folder.path / file for file in METADATA if file in folder.others]
    return found


def _strangers(rest: Iterable[Folder], videos: Container[str]) -> list[Path]:
    """Lists the clips outside the folders of identities to which no text file refers."""
    found = []
    for folder in rest:
        found += [folder.path / file for file in folder.clips if _stem(file) not in videos]
    return found


def _skipped(folders: Iterable[Folder], rest: Iterable[Folder]) -> list[Path]:
    """Lists the files that are neither clips nor what VoxCeleb stores beside them."""
    found = []
    for folder in rest:
        found += [folder.path / file for file in folder.others if file not in METADATA]
    for folder in folders:
        found += [path for path in others(folder) if path.suffix.lower() not in _NO_CLIPS]
    return found


def _identities(
    tree: Folder, names: Mapping[str, str]
) -> tuple[dict[str, list[Folder]], list[Folder]]:
    """Returns the folders of each identity, and all folders that lie in none of these."""
    identities = collections.defaultdict(list)
    rest = []
    waiting = [tree]
    while waiting:
        folder = waiting.pop()
        # What lies below an identity is that identity's, so nothing is looked for there.
        name = _vggface_key(folder.name)
        identity = name if _IDENTITY.fullmatch(name) else names.get(name)
        if identity:
            identities[identity].append(folder)
        else:
            rest.append(folder)
            waiting += folder.folders
    return identities, rest


def _full_videos(tree: Folder, wanted: Container[str]) -> dict[str, Path]:
    """Returns the videos that text files refer to, by YouTube identifier; some may be missing."""
    videos = {}
    for _, folder in walk(tree):
        for file in folder.clips:
            video = _stem(file)
            if video not in wanted:
                continue
            path = folder.path / file
            if videos.setdefault(video, path) != path:
                raise InputError(
                    f"{path} and {videos[video]} are named as the same video; remove one."
                )
    return videos


def _clips(identity: str, folders: Iterable[Folder], videos: Mapping[str, Path]) -> list[Clip]:
    """Lists the clips of one identity.

    Raises:
        InputError: they come from two folders, or from both clips and text files: the same
            utterance would be there twice.
    """
    sources = {}
    for folder in folders:
        sources[f"clips in {folder.path}"] = _utterances(folder, identity, videos)
        sources[f"text files in {folder.path}"] = _parts(folder, identity, videos)

    filled = [source for source, clips in sources.items() if clips]
    if len(filled) > 1:
        raise InputError(
            f"The {filled[0]} and the {filled[1]} both give utterances of {identity}; keep one of "
            "them below the input."
        )
    return sources[filled[0]] if filled else []


def _utterances(folder: Folder, identity: str, videos: Container[str]) -> list[Clip]:
    """Lists the utterances that are clips, or pictures of them, but not full videos."""
    clips = []
    for below, inner in walk(folder):
        for file in inner.clips:
            if _stem(file) not in videos:
                name = f"{identity}/{below}{file}"
                clips.append(
                    FollowedClip(inner.path / file, identity, name, video=_video(below) or file)
                )
    return clips


def _parts(folder: Folder, identity: str, videos: Mapping[str, Path]) -> list[Clip]:
    """Lists the parts that text files describe of those full videos that are there."""
    clips = []
    for text in _texts(folder):
        if text.video in videos:
            start, end = _times(text.path)
            name = f"{identity}/{text.name}{fragment(start, end)}"
            clips.append(FollowedClip(videos[text.video], identity, name, start, end, text.video))
    return clips


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text file that describes an utterance.

    Attributes:
        path: of the file.
        name: of the utterance below the identity.
        video: it is a part of, a YouTube identifier.
    """

    path: Path
    name: str
    video: str


def _texts(folder: Folder) -> Iterator[_Text]:
    """Yields the text files in the video folders of an identity."""
    for below, inner in walk(folder):
        for file in inner.others:
            if below and file.lower().endswith(".txt"):
                yield _Text(inner.path / file, below + _stem(file), _video(below))


def _video(below: str) -> str:
    """Returns the YouTube identifier: the folder directly below that of the identity."""
    return below.removeprefix(f"{_FACE_CROPS}/").partition("/")[0]


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _times(path: Path) -> tuple[float, float]:
    """Returns the start and the exclusive end of an utterance in its video, seconds.

    The file has lines such as "Reference : 1zcIwhmdeo4", then a table with the header
    "FRAME X Y W H" and one row per frame. Only the first and the last frame count here.
    """
    try:
        _, _, table = path.read_text(encoding="utf-8").partition("\nFRAME")
        frames = [line for line in table.splitlines()[1:] if line.strip()]
        if not frames:
            raise ValueError("it has no table of frames")
        first = int(frames[0].split()[0])
        last = int(frames[-1].split()[0])
        if not 0 <= first <= last:
            raise ValueError(f"it goes from frame {first} to {last}")
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise InputError(
            f"{path} does not describe an utterance of VoxCeleb ({error}); unzip it again."
        ) from error
    # The last frame belongs to the utterance: its end is the next frame's start.
    return first / RATE, (last + 1) / RATE


def _vggface_names(metadata: Iterable[Path]) -> dict[str, str]:
    """Maps the VGGFace name of each identity, which names its folder in older releases, to its id."""
    names = {}
    for path in metadata:
        for line, row in _metadata_rows(path):
            identity = row.get("voxcelebid", "")
            name = _vggface_key(row.get("vggfaceid", ""))
            if not _IDENTITY.fullmatch(identity):
                raise InputError(
                    f"{identity!r} in line {line} of {path} is no identifier like id00012; "
                    "correct it."
                )
            if name and names.setdefault(name, identity) != identity:
                raise InputError(
                    f"Line {line} of {path} gives the name {name} to {identity} and {names[name]}; "
                    "correct it."
                )
    return names


def _metadata_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line number and the cells, by column, of each identity in a file of metadata."""
    lines = list(rows(path))
    # VoxCeleb1 separates by tabs, VoxCeleb2 by commas.
    if lines and len(lines[0][1]) == 1:
        lines = list(rows(path, "\t"))

    # Columns as "voxcelebid", whatever the release adds to them.
    cells = lines[0][1] if lines else []
    header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in cells]
    if not {"voxcelebid", "vggfaceid"} <= set(header):
        raise InputError(
            f"The header of {path} lacks 'VoxCeleb ID' or 'VGGFace ID'; download the file again."
        )
    for line, cells in lines[1:]:
        yield line, dict(zip(header, map(str.strip, cells), strict=False))


def _vggface_key(name: str) -> str:
    """Returns a name in the form that is compared, without a dot at its end.

    Some systems cannot have the dot of "Jr." at the end of a folder's name.
    """
    return unicodedata.normalize("NFC", name).rstrip(".")
