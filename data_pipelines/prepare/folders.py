"""Reads trees of folders and the rows of tables without opening a clip."""

import collections
import csv
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.faces.video import SUFFIXES

NO_CLIP = f"no clip or picture ({', '.join(sorted(SUFFIXES))})"
"""What errors call a file or folder without any of the suffixes that are read."""

_SIDECAR = sidecar_path(Path("x")).name.removeprefix("x")
"""Suffix that the landmarks beside a clip have, after the clip's whole name."""


@dataclasses.dataclass
class Folder:
    """What lies in a folder. There may be millions of files, so these are text.

    Attributes:
        path: of the folder.
        folders: in it, in the order of their names.
        clips: names of videos and pictures, sorted.
        others: names of other files, links that lead nowhere, and links to folders that are read already.
    """

    path: Path
    folders: list["Folder"] = dataclasses.field(default_factory=list)
    clips: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's own name, also where the path ends with "." or ".."."""
        path = self.path.resolve() if self.path.name in ("", "..") else self.path
        return path.name


def scan(root: Path) -> Folder:
    """Reads a tree of folders, each real folder once.

    A folder that links lead to is read under its own name if it lies in the tree. Names that
    begin with a dot are left out, and so are the sidecars of clips.

    Raises:
        InputError: a folder cannot be read.
    """
    top = Folder(root)
    seen = set()  # device and inode of each folder that was read
    # Links wait until no real folder is left.
    folders = collections.deque([(None, top)])
    links = collections.deque()
    while folders or links:
        parent, folder = (folders or links).popleft()
        try:
            status = os.stat(folder.path)
            # The same for all links to a folder.
            identity = status.st_dev, status.st_ino
            if identity in seen:
                parent.others.append(folder.path.name)
                continue
            seen.add(identity)
            subfolders = _list(folder)
        except OSError as error:
            raise unreadable(folder.path, error) from error

        if parent:
            parent.folders.append(folder)
        for name, is_link in sorted(subfolders):
            queue = links if is_link else folders
            queue.append((folder, Folder(folder.path / name)))
    return top


def _list(folder: Folder) -> list[tuple[str, bool]]:
    """Fills in the files of a folder; returns its subfolders' names and whether each is a link."""
    subfolders = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            kind = _kind(entry)
            if kind == "folder":
                subfolders.append((name, entry.is_symlink()))
            elif kind == "file" and os.path.splitext(name)[1].lower() in SUFFIXES:
                folder.clips.append(name)
            else:
                folder.others.append(name)

    # The system lists files in any order.
    folder.clips.sort()
    sidecars = {clip + _SIDECAR for clip in folder.clips}
    folder.others = [name for name in folder.others if name not in sidecars]
    return subfolders


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "neither"]:
    """Tells what an entry of a folder is or leads to."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() else "neither"
    except OSError:  # a link into itself, or to where one may not look
        return "neither"


def walk(folder: Folder) -> Iterator[tuple[str, Folder]]:
    """Yields a folder and all below it, each after its path: "", "monday/", "monday/late/", ..."""
    waiting = [("", folder)]
    while waiting:
        below, folder = waiting.pop()
        yield below, folder
        for inner in folder.folders:
            waiting.append((f"{below}{inner.path.name}/", inner))


def others(folder: Folder) -> list[Path]:
    """Lists the files at any depth that are no clips."""
    return [inner.path / file for _, inner in walk(folder) for file in inner.others]


def rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the cells of each row of a CSV file; empty rows are left out.

    Raises:
        InputError: the file cannot be read, or is no CSV in UTF-8.
    """
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                if any(map(str.strip, row)):
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise InputError(
            f"Line {reader.line_num} of {path} is no CSV ({error}); correct it."
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """Returns the error to raise if a file or folder cannot be read."""
    return InputError(f"{path} cannot be read ({error.strerror}); correct that or leave it out.")
