"""The folder of a running server: removed when it ends, by the next one if it was killed."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceswap_jax.errors import InputError
from faceswap_jax.files import is_locked, locked

PATIENCE = 10.0
"""Seconds for other servers that start at this moment."""


@contextmanager
def workspace() -> Iterator[Path]:
    """A private folder for this server, among those of the same user under the folder for temporary files.

    Raises:
        InputError: the folder that holds it is somebody else's.
    """
    parent = Path(tempfile.gettempdir()) / f"faceswap-serve-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    # Anybody may make that name in a folder that all share.
    status = parent.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise InputError(f"{parent} is not a private folder of yours; remove it or set TMPDIR.")

    with locked(parent, PATIENCE):
        sweep(parent)
        own = Path(tempfile.mkdtemp(dir=parent))
        lock = locked(own)
        lock.__enter__()
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        lock.__exit__(None, None, None)


def sweep(parent: Path) -> None:
    """Removes what servers have left that run no more: a lock ends with its process."""
    for folder in parent.iterdir():
        if not is_locked(folder):
            shutil.rmtree(folder, ignore_errors=True)
