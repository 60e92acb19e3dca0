"""What makes an encoder forget who it sees: losses of latents."""

import jax.numpy as jnp
from jaxtyping import Array, Float

LEAST_VARIANCE = 1e-6


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


def _deviation(z: Float[Array, "p b latent"]) -> Float[Array, "p latent"]:
    return jnp.sqrt(z.var(1) + LEAST_VARIANCE)
