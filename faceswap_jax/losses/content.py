"""Content losses: whether a frozen network sees in two images the same (X2Face's stage II)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Features = Sequence[Float[Array, "b ..."]]
Value = Float[Array, ""]

LEAST = 1e-6  # of a distance that another one is divided by


class Layers(NamedTuple):
    """Which layers of a network count, by their numbers.

    Attributes:
        same: for an image that has a truth.
        other: for an image of the source's person doing what somebody else does.
    """

    same: Sequence[int]
    other: Sequence[int]


def distances(x: Features, y: Features) -> list[Value]:
    """Mean absolute difference of the features of each layer."""
    return [jnp.abs(a - b).mean() for a, b in zip(x, y, strict=True)]


def balanced(
    photometric: Value,
    same: Sequence[Value],
    other: Sequence[Value],
    layers: Layers,
    weight: float,
) -> Value:
    """Content of the layers that count, each weighted so that it counts as much as the photometric loss does.

    The weights follow the losses and have no gradient, so that no layer's scale needs to be known.

    Args:
        photometric: L1 of an image that has a truth.
        same: distances of that image's features from those of its truth, by layer.
        other: distances of another image's features from those of the source, likewise.
        layers: which of them count.
        weight: of `other`, relative to `same`.
    """
    ratios = [photometric / jnp.maximum(distance, LEAST) for distance in same]
    ratios = jax.lax.stop_gradient(ratios)
    of_same = sum(ratios[i] * same[i] for i in layers.same)
    of_other = sum(ratios[i] * other[i] for i in layers.other)
    return of_same + weight * of_other
