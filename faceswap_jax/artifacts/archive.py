"""The archive: weights as safetensors, and the config that says what to do with them."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.flax import load_file, save

from faceswap_jax import config as configs
from faceswap_jax.artifacts.manifest import CONFIG, WEIGHTS, Artifact
from faceswap_jax.errors import InputError
from faceswap_jax.inference.trained import TrainedGenerator
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.base import abstract_state, phase_of
from faceswap_jax.tasks.registry import load_task


def write(folder: Path, config: ml_collections.ConfigDict, variables: PyTree) -> None:
    """Writes weights, as they are stored, and the config."""
    configs.save(config, folder / CONFIG)
    # Not by `save_file`, whose files nobody else may read.
    (folder / WEIGHTS).write_bytes(save(_flat(variables)))


def stored(variables: PyTree, precision: str) -> PyTree:
    """Weights as they are stored."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, precision), variables)


def restored(variables: PyTree) -> PyTree:
    """Weights as they are used: float32 always."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), variables)


def read(folder: Path, like: PyTree) -> PyTree:
    """The weights as they are stored.

    Args:
        folder: of the artifact.
        like: a tree of the same structure and shapes.

    Raises:
        InputError: the file is damaged, or has other tensors.
    """
    path = folder / WEIGHTS
    try:
        leaves = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); copy the artifact again.") from error
    wanted = {name: leaf.shape for name, leaf in _flat(like).items()}
    if {name: leaf.shape for name, leaf in leaves.items()} != wanted:
        raise InputError(
            f"{path} has other tensors than {CONFIG} describes; export the run with this version again."
        )
    return tree_map_with_path(lambda path, _: leaves[_name(path)], like)


def _flat(variables: PyTree) -> dict[str, jax.Array]:
    """The leaves by their paths."""
    return {_name(path): leaf for path, leaf in tree_leaves_with_path(variables)}


def _name(path: tuple) -> str:
    return keystr(path, simple=True, separator="/")


def load(folder: Path, artifact: Artifact) -> TrainedGenerator:
    """The generator of an artifact, by the code of its task.

    Raises:
        InputError: the weights are not those that the config describes.
    """
    config = configs.load(folder / CONFIG)
    step = artifact.description.step
    task = load_task(config)
    phase = phase_of(task, step)
    like = jax.eval_shape(partial(task.variables, phase), abstract_state(task, phase))
    variables = restored(read(folder, like))
    return generator_of(config, variables, step, artifact.digest, artifact.version)


def generator_of(
    config: ml_collections.ConfigDict,
    variables: PyTree,
    step: int,
    digest: str,
    version: str | None = None,
) -> TrainedGenerator:
    """The generator of a config, with weights that it has after so many steps."""
    task = load_task(config)
    synthesis = task.synthesis(phase_of(task, step))
    return TrainedGenerator(synthesis, variables, step, make_mesh(), digest, version)
