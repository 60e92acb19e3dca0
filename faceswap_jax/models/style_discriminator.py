"""Whether single styles look like those that a generator's mapping network makes: e4e's discriminator.

Four fully connected layers (Tov et al., SIGGRAPH 2021). Parameters are {"layer_{i}" or "verdict": weights}.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.psp import PYTORCHS

HIDDEN = 3  # layers, as wide as a style
LEAK = 0.2  # slope of LeakyReLU below zero

Params = Mapping[str, PyTree]


class StyleDiscriminator(nn.Module):
    """Styles to verdicts."""

    @nn.compact
    def __call__(self, w: Float[Array, "*n latent"]) -> Float[Array, "*n"]:
        x = w
        for i in range(HIDDEN):
            x = nn.Dense(w.shape[-1], kernel_init=PYTORCHS, name=f"layer_{i}")(x)
            x = nn.leaky_relu(x, LEAK)
        return nn.Dense(1, kernel_init=PYTORCHS, name="verdict")(x)[..., 0]


def init(latent: int, key: PRNGKeyArray) -> Params:
    """Fresh parameters, for styles of such a length."""
    return StyleDiscriminator().init(key, jnp.zeros((1, latent)))["params"]


def apply(params: Params, w: Float[Array, "*n latent"]) -> Float[Array, "*n"]:
    """Verdicts on styles: the higher, the more real."""
    return StyleDiscriminator().apply({"params": params}, w)
