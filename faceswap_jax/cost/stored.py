"""What was found of a program is kept beside the compiled programs, by the program's digest."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import jax
from jax.sharding import Mesh

from faceswap_jax.cost.collectives import Collective
from faceswap_jax.files import make_folder, write_json
from faceswap_jax.training.cache import FOLDER

VERSION = 1
"""Of what is found; another one finds anew."""

T = TypeVar("T")


def digest(lowered: jax.stages.Lowered, mesh: Mesh) -> str:
    """SHA-256 of a program, of the devices that it is for, and of the compiler."""
    device = mesh.devices.flat[0]
    about = (VERSION, mesh.shape, device.device_kind, device.client.platform_version)
    return hashlib.sha256(f"{about}\n{lowered.as_text()}".encode()).hexdigest()


def read(digest: str, kinds: Sequence[type[T]]) -> T | None:
    """What was found of a program, as the one of `kinds` that it was; None if nothing was, or if it is damaged."""
    file = _file(digest)
    if file is None:
        return None
    try:
        name, values = json.loads(file.read_text())
        (kind,) = [kind for kind in kinds if kind.__name__ == name]
        if "collectives" in values:
            values["collectives"] = tuple(map(_collective, values["collectives"]))
        return kind(**values)
    except (OSError, ValueError, TypeError):
        return None


def write(digest: str, found: object) -> None:
    """Keeps what was found of a program, if anything is to be kept.

    Raises:
        InputError: the folder cannot be written.
    """
    file = _file(digest)
    if file is not None:
        make_folder(file.parent)
        write_json(file, [type(found).__name__, dataclasses.asdict(found)])


def _file(digest: str) -> Path | None:
    folder = os.environ.get(FOLDER)
    # Nothing is to be kept, or in the cloud, where JAX alone can look.
    if not folder or "://" in folder:
        return None
    return Path(folder, "costs", f"{digest}.json")


def _collective(values: dict) -> Collective:
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Collective(**values | lists)
