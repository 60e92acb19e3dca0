"""The frozen face embedder: what identity losses and the bench compare faces by.

A network of this project's own training, or one of InsightFace; both look at the same part of an aligned crop.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.image import ResizeMethod
from jaxtyping import Array, Float

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import read_parts
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.losses import identity
from faceswap_jax.models import iresnet
from faceswap_jax.ops import precision
from faceswap_jax.ops.masks import masked
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.pretrained import insightface

_TEMPLATE = 112
"""Side in pixels of the pictures that ArcFace is published with."""

_EYES = ((38.2946, 51.6963), (73.5318, 51.5014))
"""Where the eyes lie in them, (x, y), pixel centres at integers. By the nose and the corners of the mouth as well, the
faces of a few clips would be 3% larger; which of all these a crop shows where depends on the face."""


@dataclass(frozen=True, eq=False)
class Embedder:
    """A trained network.

    Attributes:
        config: its shape.
        params: its weights, NumPy arrays.
        statistics: of its batch normalisations, NumPy arrays.
        alignment: how the faces are cut that it knows; for InsightFace's, `view` finds the eyes in such crops alone.
    """

    config: iresnet.IResNetConfig
    params: iresnet.Params
    statistics: iresnet.Statistics
    alignment: str = "eyes"


def load(path: Path) -> Embedder:
    """The embedder of a run of `config.task` "identity", at its newest checkpoint, or of a file of `insightface.read`.

    Raises:
        InputError: `path` is neither, the run has no checkpoint yet, or the file cannot be used.
    """
    if not path.is_dir():
        return Embedder(*insightface.read(path))
    config = configs.load(path / "config.json")
    if config.task != "identity":
        raise InputError(
            f"'{path}' holds a run of '{config.task}', which trains no embedder; give one of 'identity', or a file."
        )
    network = shape(config)
    params, statistics = jax.eval_shape(partial(iresnet.init, network), jax.random.key(0))
    wanted = {"params": {"embedder": params}, "extras": {"statistics": statistics}}
    state = jax.tree.map(np.asarray, read_parts(path, wanted, make_mesh()))
    return Embedder(
        network, state["params"]["embedder"], state["extras"]["statistics"], config.alignment
    )


def shape(config: ml_collections.ConfigDict) -> iresnet.IResNetConfig:
    """The shape of the network that a config of `config.task` "identity" describes."""
    c = config.model
    return iresnet.IResNetConfig(
        blocks=tuple(c.blocks),
        channels=tuple(c.channels),
        stem=c.stem,
        embedding=c.embedding,
        side=c.side,
        dtype=precision.dtype(config.precision),
    )


def view(crops: Float[Array, "b h w c"], side: int) -> Float[Array, "b side side c"]:
    """What an embedder sees of aligned square crops: their eyes where ArcFace's template has them.

    Resampled linearly, without aliasing where it shrinks. All of it lies inside the crop.

    Args:
        crops: pictures, aligned as `faces/align.py` does, or their masks.
        side: of the view in pixels.
    """
    right, left = np.array(_EYES)
    scale = (left[0] - right[0]) / align.INTEROCULAR  # template pixels per width of the crop
    corner = (right + left) / 2 + 0.5 - scale * np.array(align.EYE_MIDPOINT)  # of the crop
    return jax.image.scale_and_translate(
        crops,
        (len(crops), side, side, crops.shape[-1]),
        (1, 2),
        jnp.float32(scale / _TEMPLATE * side / np.array(crops.shape[1:3])),
        jnp.float32(corner[::-1] / _TEMPLATE * side),
        ResizeMethod.LINEAR,
    )


def embed(
    config: iresnet.IResNetConfig,
    params: iresnet.Params,
    statistics: iresnet.Statistics,
    crops: Float[Array, "b h w 3"],
    masks: Float[Array, "b h w"] | None = None,
) -> Float[Array, "b d"]:
    """Embeddings of unit length of aligned square crops in [0, 1].

    Args:
        config: shape of the network.
        params: its weights.
        statistics: of its batch normalisations.
        crops: aligned as `faces/align.py` does.
        masks: 0..1, what may be seen; outside there is grey, before the picture is resampled.
    """
    return embed_seen(
        config,
        params,
        statistics,
        view(crops if masks is None else masked(crops, masks), config.side),
    )


def embed_seen(
    config: iresnet.IResNetConfig,
    params: iresnet.Params,
    statistics: iresnet.Statistics,
    seen: Float[Array, "b side side 3"],
) -> Float[Array, "b d"]:
    """Embeddings of unit length of what `view` shows."""
    return identity.normalised(iresnet.apply(config, params, statistics, seen)[0])
