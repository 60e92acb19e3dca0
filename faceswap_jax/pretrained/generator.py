"""The frozen StyleGAN2 in whose latent space others work, for faces that are cut alike."""

from pathlib import Path

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from faceswap_jax import config as configs
from faceswap_jax.models import stylegan2
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.pretrained import runs
from faceswap_jax.pretrained.stylegan2 import load


def load_for(path: str, alignment: str) -> tuple[StyleGAN2Config, PyTree]:
    """The generator that `config.networks.generator` names, for faces of `config.alignment`.

    Args:
        path: of what `pretrained.stylegan2.load` takes; of a run the averaged weights are taken.
        alignment: of the faces. A file does not tell which its generator makes.

    Returns:
        Its shape, and {"params": weights, "mean": the mean style [latent]}, NumPy arrays.

    Raises:
        InputError: it cannot be used, or it makes faces of another alignment.
    """
    folder = Path(path)
    given = load(folder)
    if folder.is_dir():
        runs.check_alignment(path, configs.load(folder / "config.json").alignment, alignment)
    return given.config, {"params": given.params, "mean": given.mean}


def init(shape: StyleGAN2Config, key: PRNGKeyArray) -> PyTree:
    """Fresh weights, and a mean style of zeros."""
    return {"params": stylegan2.init(shape, key), "mean": jnp.zeros(shape.latent)}
