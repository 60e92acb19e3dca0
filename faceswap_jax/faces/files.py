"""Files: failures of the operating system as sentences, results that appear only when they are complete."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceswap_jax.errors import InputError


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
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device may never end
            raise InputError(f"{path} is a pipe or a device; give a file.")
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or export it again.")
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check its name.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read; give yourself permission, for example with chmod u+r.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); copy it again.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end, removed if anything fails.

    Raises:
        InputError: there is no such folder, or it cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); check its folder.") from error
    finally:
        aside.unlink(missing_ok=True)
