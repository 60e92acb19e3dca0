"""A trained inversion, of a run or a file of the user's, with the generator in whose latent space it works."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import ml_collections
from jaxtyping import PRNGKeyArray, PyTree

from faceswap_jax.config import check, one_of
from faceswap_jax.errors import InputError
from faceswap_jax.models import psp
from faceswap_jax.models.psp import EncoderConfig
from faceswap_jax.models.restyle import ReStyleConfig
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.ops import precision
from faceswap_jax.pretrained import embedder, generator, restyle, runs


def load_for(path: str, alignment: str) -> tuple[ReStyleConfig, PyTree]:
    """The inversion that `config.networks.inversion` names, for faces of `config.alignment`.

    Args:
        path: folder of a run, whose newest checkpoint is taken, or a file that `pretrained/restyle.py` reads.
        alignment: of the faces.

    Returns:
        Its shape, and {"params", "statistics"} of the encoder with the "generator", NumPy arrays.

    Raises:
        InputError: it cannot be used, the run has no checkpoint yet, or it knows faces of another alignment.
    """
    place = Path(path)
    return _of_run(place, alignment) if place.is_dir() else _of_file(place, alignment)


def _of_run(folder: Path, alignment: str) -> tuple[ReStyleConfig, PyTree]:
    config, found = runs.load(folder, "inversion", parts, alignment)
    return shape(config), {"params": found["params"]["encoder"], **found["extras"]}


def parts(config: ml_collections.ConfigDict) -> runs.Parts:
    """Shapes of what is read of a run: not e4e's discriminator, nor the optimizer's state."""
    weights = jax.eval_shape(partial(init, shape(config)), jax.random.key(0))
    return {
        "params": {"encoder": weights["params"]},
        "extras": {"statistics": weights["statistics"], "generator": weights["generator"]},
    }


def _of_file(path: Path, alignment: str) -> tuple[ReStyleConfig, PyTree]:
    found = restyle.read(path)
    if alignment != restyle.ALIGNMENT:
        raise InputError(
            f"config.alignment is '{alignment}', but ReStyle's public weights, as in '{path}', invert faces aligned as "
            f"'{restyle.ALIGNMENT}'; set config.alignment={restyle.ALIGNMENT}, or give a run of "
            "experiments/inversion.py."
        )
    return found


def shape(config: ml_collections.ConfigDict) -> ReStyleConfig:
    """The shape of the networks that a config of `config.task` "inversion" describes.

    Raises:
        InputError: the config is of an older version.
    """
    check(config, {"model.deltas": one_of(False, True)})
    dtype = precision.dtype(config.precision)
    made_by = embedder.described_shape(config.shapes.generator, StyleGAN2Config)
    c = config.model
    encoder = EncoderConfig(
        styles=made_by.layers,
        latent=made_by.latent,
        inputs=2 * 3,
        side=c.side,
        blocks=tuple(c.blocks),
        channels=tuple(c.channels),
        stem=c.stem,
        deltas=c.deltas,
        dtype=dtype,
    )
    return ReStyleConfig(encoder, replace(made_by, dtype=dtype), config.refinements)


def described(shape: ReStyleConfig) -> dict:
    """A shape as values of a config; `described_shape` reads them. A frozen network computes in float32."""
    return {
        "encoder": embedder.described(shape.encoder),
        "generator": embedder.described(shape.generator),
        "refinements": shape.refinements,
    }


def described_shape(values: ml_collections.ConfigDict) -> ReStyleConfig:
    """A shape from what `described` gave."""
    return ReStyleConfig(
        encoder=embedder.described_shape(values.encoder, EncoderConfig),
        generator=embedder.described_shape(values.generator, StyleGAN2Config),
        refinements=values.refinements,
    )


def init(shape: ReStyleConfig, key: PRNGKeyArray) -> PyTree:
    """Fresh weights."""
    params, statistics = psp.init(shape.encoder, key)
    return {
        "params": params,
        "statistics": statistics,
        "generator": generator.init(shape.generator, key),
    }
