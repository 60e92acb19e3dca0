"""Frames to numbered pictures. Each is kept when it is finished, and is not made again if the same job was stopped."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceswap_jax.errors import InputError
from faceswap_jax.faces.encode import own_pixels
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.faces.sequence import (
    is_pattern,
    is_sequence,
    numbered,
    open_sequence,
    parse,
)
from faceswap_jax.faces.still import check_kept, read_still, write_still
from faceswap_jax.faces.video import Frame
from faceswap_jax.files import make_folder, replacing, unwritable


class NumberedPictures:
    """Pictures that are being written.

    A frame of a sequence gets the number that it has there, one of another clip its own from 1.
    """

    def __init__(self, pattern: Path, source: Path, began: int, changes: bool) -> None:
        """See `numbered_pictures`; `began` is when, in nanoseconds of the file system's clock."""
        self._pattern = pattern
        self._sources = open_sequence(source).pictures if is_sequence(source) else {}
        self._numbers = list(self._sources)
        self._began = began
        self._changes = changes

    def is_finished(self, index: int) -> bool:
        """Whether a frame of the source was written by this job."""
        try:
            return self._path(index).stat().st_mtime_ns >= self._began
        except FileNotFoundError:
            return False

    def write(self, frame: Frame) -> None:
        """Writes a frame.

        Raises:
            InputError: it cannot be written.
        """
        path = self._path(frame.index)
        if self._numbers and self._changes:
            # Read again: a group of frames with all that an OpenEXR file holds would fill the memory.
            still = read_still(self._sources[self._numbers[frame.index]])
            write_still(path, still.changed(own_pixels(frame, still.pixel_aspect)))
        else:
            write_picture(path, frame.image)

    def _path(self, index: int) -> Path:
        return numbered(self._pattern, self._numbers[index] if self._numbers else index + 1)


@contextmanager
def numbered_pictures(
    output: Path, source: Path, job: str, changes: bool
) -> Iterator[NumberedPictures]:
    """What writes frames of a clip as numbered pictures.

    A hidden file beside them names the job until it is finished. If it is there already, what that job has finished is
    kept.

    Args:
        output: see `pattern_of`.
        source: clip that the frames come from.
        job: names all that decides what the frames will be.
        changes: whether they show the source's pictures with changes, which then keep all that these are.

    Raises:
        InputError: nothing can be written there.
    """
    pattern = pattern_of(source, output)
    make_folder(pattern.parent)
    # Short, whatever the name
    digest = hashlib.sha256(os.fsencode(pattern.name)).hexdigest()[:16]
    note = pattern.with_name(f".{digest}.unfinished")
    try:
        if not note.exists() or note.read_text() != job:
            with replacing(note) as aside:
                aside.write_text(job)
        began = note.stat().st_mtime_ns
    except OSError as error:
        raise unwritable(note, error.strerror) from error
    yield NumberedPictures(pattern, source, began, changes)
    note.unlink(missing_ok=True)


def pattern_of(source: Path, output: Path) -> Path | None:
    """The pattern of the numbered pictures that are to be written; None if the output is one file.

    Args:
        source: clip.
        output: a pattern, such as out.%04d.exr; or, for a sequence, a folder, in which pictures get their names there.
    """
    if is_pattern(output):
        return output
    if is_sequence(source) and (output.is_dir() or not output.suffix):
        return output / open_sequence(source).pattern.name
    return None


def check_pattern(source: Path, output: Path, changes: bool) -> None:
    """Raises InputError unless a clip's frames can be written as these numbered pictures, see `numbered_pictures`."""
    pattern = pattern_of(source, output)
    if not is_sequence(source):
        return
    pictures = open_sequence(source)
    sources = {path.resolve() for path in pictures.pictures.values()}
    # Numbers may be written in several ways that give one name.
    if any(numbered(pattern, number).resolve() in sources for number in pictures.pictures):
        raise InputError(f"'{output}' is the input itself; choose another name for --output.")
    folder = parse(source).plain
    if folder.is_dir() and pattern.parent.resolve() == folder.resolve():
        raise InputError(
            f"'{output}' lies in the folder that is the input, and would be part of it from then on; choose another "
            "folder."
        )
    if changes:
        check_kept(next(iter(pictures.pictures.values())), pattern)
