"""A discriminator of several scales: whether each patch of an image, and of smaller copies of it, looks real.

As pix2pixHD has it (Wang et al. 2018), but without normalisation (choice): it is held by penalties on its gradients,
which are told of each image alone. Parameters are {"scale_{i}": {"conv_{j}" or "verdict": weights}}.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.ops.convolution import conv_general_dilated
from faceswap_jax.ops.resample import downsample

LEAK = 0.2  # slope of LeakyReLU below zero

Images = Float[Array, "b r r 3"]
Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of a discriminator.

    Attributes:
        channels: of each scale after each halving of the side.
        scales: how many, each seeing the image half as large as the one before.
        dtype: type of the arithmetic; parameters and verdicts are float32 always.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    scales: int = 3
    dtype: jnp.dtype = jnp.float32


def channels_of(halvings: int, width: float) -> tuple[int, ...]:
    """64, 128, 256 and so on, 512 at most, times a width, for so many halvings of the side."""
    return tuple(max(4, round(width * min(64 * 2**i, 512))) for i in range(halvings))


class Scale(nn.Module):
    """Images in [-1, 1] to a verdict on each patch."""

    channels: tuple[int, ...]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Images) -> Float[Array, "b h w"]:
        for i, features in enumerate(self.channels):
            x = self._conv(features, 4, f"conv_{i}", strides=2, padding=1)(x)
            x = nn.leaky_relu(x, LEAK)
        verdict = self._conv(1, 3, "verdict")(x)
        return verdict[..., 0].astype(jnp.float32)

    def _conv(self, features, side, name, **options):
        return nn.Conv(
            features,
            (side, side),
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
            conv_general_dilated=conv_general_dilated,
            name=name,
            **options,
        )


def init(config: DiscriminatorConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters; they do not depend on the side of the images."""
    side = 2 ** len(config.channels)
    images = jnp.zeros((1, side, side, 3))
    keys = jax.random.split(key, config.scales)
    scale = Scale(config.channels, config.dtype)
    return {f"scale_{i}": scale.init(key, images)["params"] for i, key in enumerate(keys)}


def apply(
    config: DiscriminatorConfig, params: Params, images: Images
) -> list[Float[Array, "b h w"]]:
    """Verdicts on images in [0, 1], of each scale: the higher, the more real.

    Their side is a multiple of 2**(channels + scales - 1).
    """
    scale = Scale(config.channels, config.dtype)
    x = 2 * images - 1
    verdicts = []
    for i in range(config.scales):
        if i:
            x = downsample(x)
        verdicts.append(scale.apply({"params": params[f"scale_{i}"]}, x))
    return verdicts
