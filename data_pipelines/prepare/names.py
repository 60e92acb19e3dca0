"""Names of personas and clips: what records, shards and reports can hold."""

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from data_pipelines.clips import Clip
from faceswap_jax.errors import InputError

MAX_NAME = 200
"""Bytes of a persona's name; file systems end at 255, and shards append to it."""

# Slashes, control characters, and lone surrogates, which stand for bytes that are no text.
_UNFIT = re.compile(r"[/\x00-\x1f\x7f\ud800-\udfff]")


def persona_name(name: str, where: object) -> str:
    """Returns the name of a persona with accents composed (NFC).

    Args:
        name: as the user gives it.
        where: it comes from, for the error.

    Raises:
        InputError: it cannot name files.
    """
    # Some systems decompose the accents of file names: the same person would be two.
    name = unicodedata.normalize("NFC", name)
    if not name or name.startswith(".") or _UNFIT.search(name) or len(name.encode()) > MAX_NAME:
        raise InputError(
            f"The persona {name!r} of {' '.join(str(where).splitlines())} cannot name files; give it "
            f"a name of at most {MAX_NAME} bytes of UTF-8 without slashes and control characters "
            "that does not begin with a dot."
        )
    return name


def check_case(origins: Mapping[str, Path]) -> None:
    """Raises InputError if a file system could take one persona for another.

    Args:
        origins: the input that each persona comes from.
    """
    folded: dict[str, str] = {}  # the first persona of each name without case
    for persona in sorted(origins):
        other = folded.setdefault(persona.casefold(), persona)
        if other != persona:
            raise InputError(
                f"The personas {other} of {origins[other]} and {persona} of {origins[persona]} "
                "differ only by case, which not every file system tells apart; rename one."
            )


def check_text(clip: Clip) -> None:
    """Raises InputError if the clip's name is no text: records and reports could not hold it."""
    try:
        clip.name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"The name of {os.fsencode(clip.path)!r} is not UTF-8 text; rename it."
        ) from error
