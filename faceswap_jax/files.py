"""Files: failures of the operating system as sentences, results that appear only when they are complete."""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from faceswap_jax.errors import InputError

PARTIAL = ".partial"
"""Marks the names of files that are being written, or that a killed process left."""

LONGEST_NAME = 255
"""Bytes of a file's name that all usual file systems take."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns the failures of opening and reading a file into sentences.

    Raises:
        InputError: the path is missing, no regular file, or empty; the file may not or cannot be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder; give one file.")
        # A pipe would be waited for, a device may never end.
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is a pipe or a device; give a file.")
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or export it again.")
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check its name.") from error
    except PermissionError as error:
        raise InputError(
            f"{path} may not be read; give yourself permission, for example with chmod u+r."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); copy it again.") from error


def aside_of(path: Path) -> Path:
    """Where this process writes what will become `path`: hidden, in the same folder, with the same suffix."""
    stem = path.stem
    end = f".{os.getpid()}{PARTIAL}{path.suffix}"
    room = LONGEST_NAME - len(os.fsencode(f".{end}"))
    encoded = os.fsencode(stem)
    if len(encoded) > room:
        # Names that begin alike stay apart.
        digest = hashlib.sha256(encoded).hexdigest()[:16]
        stem = encoded[: room - len(digest)].decode(errors="ignore") + digest
    return path.with_name(f".{stem}{end}")


def partial_files(folder: Path) -> list[Path]:
    """What killed processes have left in a folder of files that they were writing."""
    return [path for path in folder.glob(".*") if is_partial(path)]


def is_partial(path: Path) -> bool:
    """Whether a file was being written under the name that `aside_of` gives."""
    return path.name.startswith(".") and PARTIAL in path.suffixes


def unwritable(path: Path, problem: object) -> InputError:
    """The error to raise when a file cannot be written."""
    return InputError(
        f"{path} cannot be written ({problem}); correct that and run the same command again: what is finished is kept."
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end, removed if anything fails.

    No crash leaves half of what was written under the name.

    Raises:
        InputError: there is no such folder, or it cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: there is no folder {path.parent}; make it first."
        )
    aside = aside_of(path)
    try:
        yield aside
        # On the disk before it gets its name.
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise unwritable(path, error.strerror) from error
    finally:
        # A file system that cannot be written says so even of files that are not there.
        with suppress(OSError):
            aside.unlink()


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, unless it is there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}); name a folder elsewhere."
        ) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that gets its name when it is complete, and is not there at all if anything fails.

    An empty folder may be there.

    Raises:
        InputError: it is there already, or cannot be written.
    """
    path = path.absolute()
    if _is_taken(path):
        raise InputError(f"'{path}' is there already; name a new folder.")
    make_folder(path.parent)
    aside = aside_of(path)
    try:
        aside.mkdir()
        yield aside
        # Another process may have been faster.
        if _is_taken(path):
            raise InputError(f"'{path}' has appeared meanwhile; name a new folder.")
        aside.rename(path)
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror}); name a folder elsewhere."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _is_taken(path: Path) -> bool:
    """Whether there is something other than an empty folder."""
    return os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path))


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file that appears under its name, or replaces the one there, only when it is complete.

    Raises:
        InputError: it cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def read_rows(path: Path) -> list[dict]:
    """The rows of a file of JSON lines, without one that is just being written; none if there is no file."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


@contextmanager
def locked(directory: Path, patience: float = 0.5) -> Iterator[int]:
    """Keeps other processes of this machine from writing into a folder meanwhile.

    The lock ends with the process, or with the last child that inherits it.

    Args:
        directory: the folder, which is there.
        patience: seconds to wait for a process that has the lock; `is_locked` has it for a moment.

    Yields:
        The file descriptor that holds the lock.

    Raises:
        InputError: another process is writing, or the folder cannot be read.
    """
    deadline = time.monotonic() + patience
    with _opened(directory) as lock:
        while not _take(lock, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise InputError(f"Another process is writing {directory}; wait for it or stop it.")
            time.sleep(0.05)
        yield lock


def is_locked(directory: Path) -> bool:
    """Whether a process of this machine is writing into a folder.

    Raises:
        InputError: the folder cannot be read.
    """
    with _opened(directory) as lock:
        return not _take(lock, fcntl.LOCK_SH)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{directory} cannot be read ({error.strerror}); correct that.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> bool:
    """Takes a lock, unless another process has it; returns whether it did."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_versioned(path: Path, version: int) -> dict:
    """The content of a JSON file, without the version that it has.

    Args:
        path: of the file.
        version: the newest one that is understood.

    Raises:
        InputError: the file is newer, or cannot be read.
        ValueError, KeyError, AttributeError: it is damaged.
    """
    with readable(path):
        content = json.loads(path.read_text(encoding="utf-8"))
    found = content.pop("version")
    if found > version:
        raise InputError(
            f"{path} has version {found}, newer than {version}, which this faceswap reads; update it."
        )
    return content
