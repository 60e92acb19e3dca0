"""Damaged checkpoints: what is said of them, and where they are put."""

import contextlib
import itertools
from pathlib import Path

DAMAGED = "damaged"
"""Folder beside the checkpoints for those that cannot be read."""

# Orbax wraps whatever it meets in a KeyError; without metadata there is None, which has no config.
CAUSES = (ValueError, KeyError, TypeError, OSError)


class DamagedError(Exception):
    """A checkpoint cannot be read."""


def place_aside(folder: Path, step: int) -> Path:
    """Where a damaged checkpoint of `folder` goes: a name that is free."""
    place = folder.with_name(DAMAGED) / str(step)
    for number in itertools.count(1):
        if not place.exists():
            return place
        place = place.with_name(f"{step}.{number}")


def put_aside(folder: Path, step: int, place: Path) -> None:
    """Moves a damaged checkpoint out of the way."""
    place.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another process was quicker
        (folder / str(step)).rename(place)


def gist(error: BaseException) -> str:
    """The last line that says something, of a message that may be pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
