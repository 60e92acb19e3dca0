"""What a face does by the measures of `faces/expression.py`, and whether latents tell it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.faces.expression import MEASURES, at_rest, ratios


def measures(
    landmarks: Float[Array, "... 68 2"], irises: Float[Array, "... 2 2"]
) -> Float[Array, "... 19"]:
    """The `ratios` of JAX arrays, in the order of `MEASURES`."""
    return jnp.stack(ratios(landmarks, irises), -1)


def from_rest(
    landmarks: Float[Array, "... 68 2"], irises: Float[Array, "... 2 2"]
) -> Float[Array, "... 19"]:
    """How far the `measures` are from those of a generic face at rest, in their spreads."""
    spread = jnp.array(list(MEASURES.values()))
    return (measures(landmarks, irises) - at_rest()) / spread


def squared_errors(told: Float[Array, "b k"], wanted: Float[Array, "b k"]) -> Float[Array, "k"]:
    """Mean squared error of each measure over a batch. Those that are unknown, NaN, do not count."""
    known = ~jnp.isnan(wanted)
    error = jnp.where(known, told - wanted, 0)
    return (error**2).sum(0) / jnp.maximum(known.sum(0), 1)


def unread(
    z: Float[Array, "b latent"], kernel: Float[Array, "latent k"], wanted: Float[Array, "b k"]
) -> Float[Array, ""]:
    """Mean squared error of measures that are read linearly from latents of one persona, in their spreads.

    All are about their means over the batch: what a persona's face is like at rest, its latents need not tell.
    Measures that are unknown, NaN, do not count.

    Args:
        z: latents.
        kernel: of the reading.
        wanted: the measures of the same images.
    """
    known = ~jnp.isnan(wanted)
    spread = jnp.array(list(MEASURES.values()))
    error = jnp.where(known, z @ kernel - wanted / spread, 0)
    mean = error.sum(0) / jnp.maximum(known.sum(0), 1)
    return jnp.where(known, (error - mean) ** 2, 0).mean()


def correlations(told: Float[Array, "n k"], wanted: Float[Array, "n k"]) -> Float[Array, "k"]:
    """How each measure follows the wanted one over n faces; NaN where either stays the same."""
    about_mean = [measures - measures.mean(0) for measures in (told, wanted)]
    first, second = (measures / jnp.linalg.norm(measures, axis=0) for measures in about_mean)
    return (first * second).sum(0)
