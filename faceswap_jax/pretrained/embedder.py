"""The frozen face embedder: what identity losses and the bench compare faces by.

A network of this project's own training, or one of InsightFace; both look at the same part of an aligned crop.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.image import ResizeMethod
from jaxtyping import Array, Float

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.embedding import TEMPLATE, TEMPLATE_SIDE
from faceswap_jax.losses import identity
from faceswap_jax.models import iresnet
from faceswap_jax.ops import precision
from faceswap_jax.ops.masks import masked
from faceswap_jax.pretrained import insightface, runs, shipped

# Nose and mouth of the template are left out: where a crop shows them depends on the face. With them the faces of a few
# clips would be 3 % larger.
_EYES = TEMPLATE[:2]

Shape = TypeVar("Shape")


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
    """A frozen embedder.

    Args:
        path: a run of `config.task` "identity", of which the newest checkpoint is taken; "puppets", which ships; or a
            file of `insightface.read`.

    Raises:
        InputError: `path` is none of these, the run has no checkpoint yet, or the file cannot be used.
    """
    if path.is_dir() or shipped.ships(path, "identity"):
        config, found = runs.load(path, "identity", parts)
        return Embedder(
            config=shape(config),
            params=found["params"]["embedder"],
            statistics=found["extras"]["statistics"],
            alignment=config.alignment,
        )
    if not path.suffix and not path.exists():
        raise InputError(
            f"There is neither a run nor a file '{path}'; give a run of experiments/identity.py, or the weights of a "
            "face network."
        )
    return Embedder(*insightface.read(path))


def parts(config: ml_collections.ConfigDict) -> runs.Parts:
    """Shapes of what is read of a run: not the centres of the identities, nor the optimizer's state."""
    params, statistics = jax.eval_shape(partial(iresnet.init, shape(config)), jax.random.key(0))
    return {"params": {"embedder": params}, "extras": {"statistics": statistics}}


def load_for(path: str, alignment: str) -> Embedder:
    """The embedder that `config.loss.embedder` names, for faces of `config.alignment`.

    Raises:
        InputError: there is none, or it knows faces of another alignment.
    """
    given = load(Path(path))
    runs.check_alignment(path, given.alignment, alignment)
    return given


def described(config: Shape) -> dict[str, Any]:
    """A shape as values of a config; `described_shape` reads them. A frozen network computes in float32."""
    # A type is no JSON.
    return {name: value for name, value in asdict(config).items() if name != "dtype"}


def described_shape(
    values: ml_collections.ConfigDict, kind: type[Shape] = iresnet.IResNetConfig
) -> Shape:
    """A shape from what `described` gave, in which JSON may have made lists of tuples."""
    fields = values.to_dict()
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = tuple(value)
    return kind(**fields)


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
        crops: images, aligned as the embedder's `alignment` says, or their masks.
        side: of the view in pixels.
    """
    # The crop's scale, template pixels per width, and its corner in the template
    right, left = _EYES
    scale = (left[0] - right[0]) / align.INTEROCULAR
    # Half a pixel more: JAX counts from the border of the image, not from its first pixel's centre.
    eyes = (right + left) / 2 + 0.5
    corner = eyes - scale * np.array(align.EYE_MIDPOINT)

    batch, height, width, channels = crops.shape
    return jax.image.scale_and_translate(
        crops,
        shape=(batch, side, side, channels),
        spatial_dims=(1, 2),
        scale=jnp.float32(scale / TEMPLATE_SIDE * side / np.array([height, width])),
        translation=jnp.float32(corner[::-1] / TEMPLATE_SIDE * side),
        method=ResizeMethod.LINEAR,
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
        crops: aligned as the embedder's `alignment` says.
        masks: 0..1, what may be seen; outside there is grey, before the image is resampled.
    """
    if masks is not None:
        crops = masked(crops, masks)
    return embed_views(config, params, statistics, view(crops, config.side))


def embed_views(
    config: iresnet.IResNetConfig,
    params: iresnet.Params,
    statistics: iresnet.Statistics,
    views: Float[Array, "b side side 3"],
) -> Float[Array, "b d"]:
    """Embeddings of unit length of what `view` shows."""
    # Statistics change in training alone.
    embeddings, _ = iresnet.apply(config, params, statistics, views)
    return identity.normalised(embeddings)
