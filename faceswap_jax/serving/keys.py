"""API keys: who may ask, from a file that only its owner may read."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from faceswap_jax.errors import InputError
from faceswap_jax.files import readable
from faceswap_jax.serving.refusal import NO_KEY, Refusal

SHORTEST = 20
"""Characters of a key: one that cannot be guessed."""

ANYBODY = "anybody"
"""Who asks a server without keys."""


class Keys:
    """The keys of a server.

    Attributes:
        names: whose they are, by the SHA-256 of the key; {} if anybody may ask.
    """

    def __init__(self, names: Mapping[bytes, str]):
        self.names = names

    def owner(self, authorization: str | None) -> str:
        """Who asks, from the header `Authorization: Bearer KEY`.

        Raises:
            Refusal: there is no such key.
        """
        if not self.names:
            return ANYBODY
        scheme, _, key = (authorization or "").partition(" ")
        # Digests are compared: how long it takes tells nothing of a key.
        name = self.names.get(_digest(key.strip()))
        if scheme.lower() != "bearer" or name is None:
            raise Refusal(NO_KEY, "Send a key of this server, as Authorization: Bearer KEY.")
        return name


def read_keys(path: Path | None) -> Keys:
    """The keys of a file with lines of NAME KEY; lines that begin with # say nothing. Anybody may ask without a file.

    Raises:
        InputError: it cannot be read, others can read it too, or a line is written otherwise.
    """
    if path is None:
        return Keys({})
    with readable(path), path.open(encoding="utf-8") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(f"{path} can be read by others than its owner; say chmod 600 {path}.")
        try:
            lines = file.read().splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is no text; write lines of a name and a key.") from error

    names = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, key = line.strip().partition(" ")
        # Without the key: what is said here may be logged.
        if len(key.split()) != 1 or len(key.strip()) < SHORTEST:
            raise InputError(
                f"{path}, line {number}: write a name, a space and a key of {SHORTEST} characters or more."
            )
        if _digest(key.strip()) in names:
            raise InputError(
                f"{path}, line {number}: this key stands there twice; give each a key of its own."
            )
        names[_digest(key.strip())] = name
    if not names:
        raise InputError(f"{path} has no key; write lines of a name and a key.")
    return Keys(names)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
