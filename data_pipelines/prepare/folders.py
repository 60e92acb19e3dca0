"""Trees of folders and the rows of tables, read without opening a clip; what cannot be read raises InputError."""

import collections
import csv
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.faces.video import SUFFIXES

_SIDECAR = sidecar_path(Path("x")).name.removeprefix("x")


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
        """Its own name, also where the path ends with "." or ".."."""
        return (self.path.resolve() if self.path.name in ("", "..") else self.path).name


def scan(root: Path) -> Folder:
    """Reads a tree of folders, each real folder once, and rather under its own name than under that of a link.

    Names that begin with a dot are left out, and so are the sidecars of clips.

    Raises:
        InputError: a folder cannot be read.
    """
    top, seen = Folder(root), set()
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
            raise unreadable(folder.path, error) from error
        if parent:
            parent.folders.append(folder)
        for name, is_link in sorted(inner):
            (links if is_link else folders).append((folder, Folder(folder.path / name)))
    return top


def _list(folder: Folder) -> list[tuple[str, bool]]:
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
            elif is_file and os.path.splitext(name)[1].lower() in SUFFIXES:
                folder.clips.append(name)
            else:
                folder.others.append(name)
    folder.clips.sort()
    sidecars = {clip + _SIDECAR for clip in folder.clips}
    folder.others = [name for name in folder.others if name not in sidecars]
    return folders


def walk(folder: Folder) -> Iterator[tuple[str, Folder]]:
    """Yields a folder and all below it, each with its path from the first: "", "monday/", "monday/late/", ..."""
    waiting = [("", folder)]
    while waiting:
        below, folder = waiting.pop()
        yield below, folder
        waiting += ((f"{below}{inner.path.name}/", inner) for inner in folder.folders)


def others(folder: Folder) -> list[Path]:
    """Files at any depth that are no clips."""
    return [inner.path / file for _, inner in walk(folder) for file in inner.others]


def rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the cells of each row of a CSV file that is not empty.

    Raises:
        InputError: the file cannot be read, or is no CSV in UTF-8.
    """
    try:
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
    """The error to raise if a file or folder cannot be read."""
    return InputError(f"{path} cannot be read ({error.strerror}); correct that or leave it out.")
