"""Frozen networks of runs: parts of their newest checkpoints. Some ship with the package."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import ml_collections
import numpy as np
from jaxtyping import PyTree

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import read_parts
from faceswap_jax.errors import InputError
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.pretrained import shipped

Config = ml_collections.ConfigDict
Parts = PyTree
"""Arrays, or their shapes and types, by group and entry of a state, such as {"params": {"embedder": ...}}."""


def load(
    path: Path, task: str, parts: Callable[[Config], Parts], alignment: str | None = None
) -> tuple[Config, Parts]:
    """A run's config, and parts of its newest checkpoint, NumPy arrays.

    Args:
        path: of the run's folder, or "puppets" for a network that ships.
        task: that it must be of.
        parts: from its config to the shapes and types of those that are wanted.
        alignment: of the faces that it must know; any if None.

    Raises:
        InputError: there is no such run, it is of another task, knows faces of another alignment, or has no checkpoint
            yet.
    """
    ours = shipped.ships(path, task)
    if ours:
        found, about = shipped.read(shipped.path_of(task))
        config = Config(json.loads(about["config"]))
    else:
        config = configs.load(path / "config.json")

    if config.task != task:
        raise InputError(f"'{path}' holds a run of '{config.task}'; give one of '{task}'.")
    if alignment is not None:
        check_alignment(str(path), config.alignment, alignment)
    if not ours:
        wanted = parts(config)
        found = jax.tree.map(np.asarray, read_parts(path, lambda _: wanted, make_mesh()))
    return config, found


def ship(workdir: Path, task: str, parts: Callable[[Config], Parts], path: Path) -> None:
    """Writes what `load` gives of a run as a file that can ship.

    Raises:
        InputError: as `load`.
    """
    config, found = load(workdir, task, parts)
    about = configs.plain(config) | {"identities": []}
    shipped.write(path, found, {"config": json.dumps(about)})


def check_alignment(path: str, known: str, alignment: str) -> None:
    """Checks that the network at a path knows faces as `config.alignment` cuts them.

    Raises:
        InputError: it knows faces that are cut otherwise.
    """
    if known != alignment:
        raise InputError(
            f"config.alignment is '{alignment}', but '{path}' knows faces aligned as '{known}'; set "
            f"config.alignment={known}, or train another with --config.alignment={alignment}."
        )
