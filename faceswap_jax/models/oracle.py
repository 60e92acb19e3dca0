"""The oracle: a small convolutional network that tells what an image of a puppet shows.

Parameters are {module name: weights}: stem, level_0 .. (each halves the side, then adds a residual block), squeeze,
values.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class OracleConfig:
    """Shape of an oracle.

    Attributes:
        outputs: number of values to tell.
        side: of the images in pixels; a multiple of 2 * 2**levels.
        stem: channels at half of that.
        levels: channels of each further level.
        squeeze: channels of the last level when it is laid flat.
        dtype: type of the arithmetic; parameters and values are float32 always.
    """

    outputs: int
    side: int = 64
    stem: int = 32
    levels: tuple[int, ...] = (64, 96)
    squeeze: int = 32
    dtype: jnp.dtype = jnp.float32


class Level(nn.Module):
    """A convolution that halves the side, then a residual block."""

    channels: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 channels"]:
        def conv(name, init, strides=1):
            return nn.Conv(
                self.channels, (3, 3), strides, kernel_init=init, dtype=self.dtype, name=name
            )

        init = nn.initializers.he_normal()
        h = nn.relu(conv("down", init, strides=2)(x))
        added = nn.relu(conv("first", init)(h))
        # A block that adds nothing at first trains without normalisation (Zhang et al., Fixup Initialization, 2019).
        added = conv("second", nn.initializers.zeros)(added)
        return nn.relu(h + added)


class Oracle(nn.Module):
    """Images to values."""

    config: OracleConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b outputs"]:
        c, init = self.config, nn.initializers.he_normal()
        # Each 2 x 2 pixels become 12 channels of one.
        b, h, w, _ = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, 3)
        x = x.transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(b, h // 2, w // 2, 12)

        x = nn.relu(nn.Conv(c.stem, (3, 3), kernel_init=init, dtype=c.dtype, name="stem")(x))
        for i, channels in enumerate(c.levels):
            x = Level(channels, c.dtype, name=f"level_{i}")(x)
        x = nn.Conv(c.squeeze, (1, 1), kernel_init=init, dtype=c.dtype, name="squeeze")(x)
        # Laid flat, not averaged: where things are is what many of the values are about.
        x = x.reshape(b, -1)
        # Zeros: it starts by telling the middle of everything, and learns several times as fast as from noise.
        return 0.5 + nn.Dense(c.outputs, kernel_init=nn.initializers.zeros, name="values")(x)


def init(config: OracleConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    return Oracle(config).init(key, jnp.zeros((1, config.side, config.side, 3)))["params"]


def apply(
    config: OracleConfig, params: Params, x: Float[Array, "b h w 3"]
) -> Float[Array, "b outputs"]:
    """Values of what images in [0, 1] show."""
    return Oracle(config).apply({"params": params}, (2 * x - 1).astype(config.dtype))
