"""Files of our own networks. Some ship with the package: they were trained on rendered puppets, who are nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree
from safetensors import safe_open
from safetensors.numpy import save

from faceswap_jax.files import replacing
from faceswap_jax.pretrained import tensor_files

PUPPETS = "puppets"
"""Given in the place of a run's folder, it names those that ship."""

_FOLDER = Path(__file__).with_name(PUPPETS)


def path_of(task: str) -> Path:
    """Where the network of a `config.task` ships; there need not be one."""
    return _FOLDER / f"{task}.safetensors"


def ships(name: str | Path, task: str) -> bool:
    """Whether a name is that of the network that ships, and of no run of the user's own."""
    own = (Path(name) / "config.json").exists()
    return str(name) == PUPPETS and path_of(task).is_file() and not own


def write(path: Path, parts: PyTree, about: Mapping[str, str]) -> None:
    """Writes a network, kernels as float16.

    Args:
        path: of the file.
        parts: nested dictionaries of arrays.
        about: what `read` tells besides.
    """
    tensors = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(parts):
        name = jax.tree_util.keystr(keys, simple=True, separator="/")
        # Vectors are few, and a variance may be too small for 16 bits.
        kind = np.float16 if leaf.ndim > 1 else np.float32
        tensors[name] = np.ascontiguousarray(leaf, kind)
    with replacing(path) as aside:
        aside.write_bytes(save(tensors, dict(about)))


def read(path: Path) -> tuple[PyTree, dict[str, str]]:
    """A network's arrays in float32, nested as they were written, and what is told besides.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it has no other way
    except tensor_files.CAUSES as error:
        raise ValueError(f"reading fails: {error}") from error

    nested: dict[str, Any] = {}
    for key, tensor in tensors.items():
        *parents, leaf = key.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = tensor.astype(np.float32)
    return nested, about
