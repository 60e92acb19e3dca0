"""Content losses: whether a frozen network sees in two images the same (X2Face's stage II)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Features = Sequence[Float[Array, "b ..."]]
Value = Float[Array, ""]

LEAST = 1e-6  # of a distance that another one is divided by


def distances(x: Features, y: Features) -> list[Value]:
    """Mean absolute difference of the features of each layer."""
    return [jnp.abs(a - b).mean() for a, b in zip(x, y, strict=True)]


def balanced(
    photometric: Value, same: Sequence[Value], other: Sequence[Value], weight: float
) -> Value:
    """Content of all layers, each weighted so that it counts as much as the photometric loss does.

    The weights follow the losses and have no gradient, so that no layer's scale needs to be known.

    Args:
        photometric: L1 of an image that has a truth.
        same: distances of that image's features from those of its truth, by layer.
        other: distances of another image's features from those of the source, of the last layers; that image shows
            the source's person doing what somebody else does.
        weight: of these, relative to those.
    """
    ratios = [photometric / jnp.maximum(distance, LEAST) for distance in same]
    ratios = jax.lax.stop_gradient(ratios)
    of_same = sum(ratio * distance for ratio, distance in zip(ratios, same, strict=True))
    last = ratios[len(ratios) - len(other) :]
    of_other = sum(ratio * distance for ratio, distance in zip(last, other, strict=True))
    return of_same + weight * of_other
