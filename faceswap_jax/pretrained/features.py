"""Features of a face that MC-AAD takes from other pictures: a frozen network for each, by the name of its role.

Another feature is another entry of `FEATURES`, and nothing else.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.losses import identity
from faceswap_jax.models import iresnet
from faceswap_jax.pretrained import embedder, expression

Shape = Any  # of a network, a dataclass
Vectors = Float[Array, "b d"]


class Feature(NamedTuple):
    """How a feature is read and compared.

    Attributes:
        load: from a path and the alignment of the faces to shape and weights; InputError if it does not fit.
        described_shape: a shape from what `embedder.described` gave.
        init: from a shape and a key to fresh weights.
        length: of the vectors that a network of this shape gives.
        read: (shape, weights, crops in [0, 1]) -> vectors, of about variance 1.
        distance: of one batch of vectors from another, about 1 for faces that have nothing in common.
    """

    load: Callable[[str, str], tuple[Shape, PyTree]]
    described_shape: Callable[[ml_collections.ConfigDict], Shape]
    init: Callable[[Shape, PRNGKeyArray], PyTree]
    length: Callable[[Shape], int]
    read: Callable[[Shape, PyTree, Float[Array, "b h w 3"]], Vectors]
    distance: Callable[[Vectors, Vectors], Float[Array, "b"]]


def shapes_of(described: ml_collections.ConfigDict) -> dict[str, Shape]:
    """Shapes from what `embedder.described` gave of each, by role, in the order of `FEATURES`."""
    shapes = {}
    for role, feature in FEATURES.items():
        if role in described:
            shapes[role] = feature.described_shape(described[role])
    return shapes


# Whose face it is: a direction


def _load_identity(path, alignment):
    given = embedder.load_for(path, alignment)
    return given.config, {"params": given.params, "statistics": given.statistics}


def _init_identity(shape, key):
    params, statistics = iresnet.init(shape, key)
    return {"params": params, "statistics": statistics}


def _read_identity(shape, weights, crops):
    directions = embedder.embed(shape, **weights, crops=crops)
    return directions * jnp.sqrt(directions.shape[-1])


# What it does: how far each measure is from that of a face at rest, or MediaPipe's blendshapes


def _load_expression(path, alignment):
    given = expression.load_for(path, alignment)
    return given.config, {"params": given.params}


def _init_expression(shape, key):
    return {"params": expression.init(shape, key)}


def _read_expression(shape, weights, crops):
    return expression.vectors(shape, **weights, crops=crops)


FEATURES = {
    "identity": Feature(
        load=_load_identity,
        described_shape=embedder.described_shape,
        init=_init_identity,
        length=lambda shape: shape.embedding,
        read=_read_identity,
        distance=identity.dissimilarity,
    ),
    "expression": Feature(
        load=_load_expression,
        described_shape=expression.described_shape,
        init=_init_expression,
        length=expression.length,
        read=_read_expression,
        distance=lambda x, y: 0.5 * ((x - y) ** 2).mean(-1),
    ),
}
"""By role, as `config.features` names them."""
