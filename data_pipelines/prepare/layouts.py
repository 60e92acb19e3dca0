"""Finds which clips there are and whose they are, in the layouts that `faceswap prepare` understands.

Each input is one of these; several are merged.

    ann.mp4             A clip or a picture. The persona has the file's name.
    ann.%04d.exr        Numbered pictures as one clip, see `faces.sequence`. The persona has the name before the number.
    ann/                A folder of clips and pictures. The persona has the folder's name.
    people/             A folder of such folders, one per persona; clips may lie deeper: people/ann/monday/a.mp4.
    parts.csv           A table with the header `path,persona,start,end`. Paths are relative to the table. Start and end
                        are seconds and may be empty. Without a persona the file's name is taken. One file may have
                        several rows, as long as its parts do not overlap. A path may also name numbered pictures, or
                        the folder that holds them: each is a clip.
    vox2/               VoxCeleb 1 or 2 as unzipped: folders of identities (id00012, or the VGGFace name if a
                        vox1_meta.csv or vox2_meta.csv lies in the tree), in each a folder per video, in each the
                        utterances; further levels above the identities, such as dev/mp4, and sound files are ignored.
                        Where the utterances are text files, the parts they describe are taken from the full videos,
                        which lie anywhere in the tree and are named by their YouTube identifier.

Names that begin with a dot are ignored; suffixes may be in capitals; links are followed, and a folder is read once
however many links lead to it.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.clips import Clip, Collection
from data_pipelines.prepare.folders import NO_CLIP, Folder, others, scan, unreadable, walk
from data_pipelines.prepare.names import check_case, check_text, persona_name
from data_pipelines.prepare.parts import read_table
from data_pipelines.prepare.voxceleb import read_voxceleb
from faceswap_jax.errors import InputError
from faceswap_jax.faces.picture import is_picture
from faceswap_jax.faces.sequence import is_sequence, title
from faceswap_jax.faces.video import SUFFIXES


def find_clips(inputs: Sequence[Path]) -> Collection:
    """Lists the clips of all inputs without opening them.

    Raises:
        InputError: an input is missing, unreadable, empty or ambiguous; a table or metadata break
            their format; a persona is reached twice, differs from another only by case, or cannot
            name files.
    """
    if not inputs:
        raise InputError(
            "There is no input; name at least one clip, or one folder of clips and pictures, per "
            "persona."
        )
    clips: list[Clip] = []
    skipped: list[Path] = []
    origins: dict[str, Path] = {}
    for path in inputs:
        found = _read(path)
        for persona in sorted({clip.persona for clip in found.clips}):
            if persona in origins:
                raise InputError(
                    f"{path} is the second input for persona {persona}; rename one, or put both in "
                    "one folder."
                )
            origins[persona] = path
        clips += found.clips
        skipped += found.skipped

    check_case(origins)
    for clip in clips:
        check_text(clip)
    clips.sort(key=_place)
    return Collection(clips, sorted(skipped, key=os.fspath))


def _place(clip: Clip) -> tuple[str, str, float]:
    """Returns what clips are sorted by: persona, file, time."""
    # Not the whole name: the text of its times would put 10 seconds before 2.
    file = clip.name.partition("#t=")[0]
    return clip.persona, file, clip.start


def _read(path: Path) -> Collection:
    """Lists the clips of one input, which may be a folder, a table or a file."""
    if is_sequence(path) and not os.path.isdir(path):
        clip = Clip(path, persona_name(title(path), path), path.name, video=path.name)
        return Collection([clip], [])
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} does not exist; check its name.") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        return _folder(path)
    if path.suffix.lower() == ".csv":
        return read_table(path)
    if stat.S_ISREG(mode) and path.suffix.lower() in SUFFIXES:
        clip = Clip(path, persona_name(path.stem, path), path.name, video=path.name)
        return Collection([clip], [])
    raise InputError(
        f"{path} is no folder, no CSV table and {NO_CLIP}; convert it or leave it out."
    )


def _folder(path: Path) -> Collection:
    """Lists the clips of a folder, whichever layout it has."""
    tree = scan(path)
    found = read_voxceleb(tree)
    if not found:
        found = _one_persona(tree) if tree.clips else _folder_per_persona(tree)
    if not found.clips:
        raise InputError(f"{path} holds {NO_CLIP}; add some.")
    return found


def _one_persona(tree: Folder) -> Collection:
    """Lists the clips and pictures that lie directly in the folder of one persona."""
    for below, inner in walk(tree):
        if below and inner.clips:
            raise InputError(
                f"{tree.path} holds both clips, such as {tree.clips[0]}, and a folder of clips, "
                f"{inner.path}, so it is not clear who is who; move the clips into folders, one per "
                "persona, or name each input by itself."
            )
    return Collection(list(_clips(tree, persona_name(tree.name, tree.path))), others(tree))


def _folder_per_persona(tree: Folder) -> Collection:
    """Lists the clips of one persona per subfolder that holds clips at any depth."""
    clips: list[Clip] = []
    origins: dict[str, Path] = {}
    for folder in tree.folders:
        if not any(inner.clips for _, inner in walk(folder)):
            continue
        persona = persona_name(folder.name, folder.path)
        # Two folders become one persona if their names differ only in how accents are composed.
        if persona in origins:
            raise InputError(
                f"{folder.path} and {origins[persona]} are both named {persona}; rename one."
            )
        origins[persona] = folder.path
        clips += _clips(folder, persona)
    return Collection(clips, others(tree))


def _clips(folder: Folder, persona: str) -> Iterator[Clip]:
    """Yields all clips below the folder of a persona."""
    for below, inner in walk(folder):
        prefix = f"{persona}/{below}"
        for file in inner.clips:
            path = inner.path / file
            name = prefix + file
            # Pictures in one folder count as one video: they are mostly frames of it.
            video = prefix if is_picture(path) else name
            yield Clip(path, persona, name, video=video)
