"""Losses of latents: what makes an encoder forget who it sees, and what keeps styles of an image together."""

import jax.numpy as jnp
from jaxtyping import Array, Float

LEAST_VARIANCE = 1e-6
LEAST_LENGTH = 1e-6


def mismatch(
    z: Float[Array, "p b latent"], everybody: Float[Array, "P b latent"]
) -> Float[Array, "p"]:
    """How far the mean and the deviation of each persona's latents are from those of all personas.

    Squared, relative to the variance over all latents, averaged over the latent's numbers. Decoders of personas whose
    latents are alike get nothing that they have not seen when a performance is swapped. Ours, of no source.

    Args:
        z: latents of some personas.
        everybody: latents of all personas.
    """
    variance = everybody.var((0, 1)) + LEAST_VARIANCE
    mean = everybody.mean((0, 1))
    # The deviation within a persona, not that over all of them, which the distance of the means enlarges
    deviation = _deviation(everybody).mean(0)
    of_means = (z.mean(1) - mean) ** 2 / variance
    of_deviations = (_deviation(z) - deviation) ** 2 / variance
    return (of_means + of_deviations).mean(-1)


def deltas(w: Float[Array, "b styles latent"]) -> Float[Array, ""]:
    """How far the styles of an image are from its first one: their distances, summed, mean over the images.

    e4e's regularisation (Tov et al. 2021).
    """
    apart = w[:, 1:] - w[:, :1]
    # A distance of zero has no slope.
    distances = jnp.sqrt((apart * apart).sum(-1) + LEAST_LENGTH**2)
    return distances.sum(1).mean()


def _deviation(z: Float[Array, "p b latent"]) -> Float[Array, "p latent"]:
    return jnp.sqrt(z.var(1) + LEAST_VARIANCE)
