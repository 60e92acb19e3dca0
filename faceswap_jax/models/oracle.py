"""The oracle: a small convolutional network that tells what an image of a puppet shows.

It sees the face, and eyes and mouth once more, closer. Parameters are {module name: weights}: face, eye and mouth, each
with stem, level_0 .. (each halves the side, then adds a residual block) and squeeze; then hidden and values. Both eyes
share the weights of eye.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

Params = Mapping[str, PyTree]

Details = Float[Array, "b 3 d d 3"]
"""The eye at the left, the one at the right mirrored, the mouth."""


@dataclass(frozen=True)
class OracleConfig:
    """Shape of an oracle.

    Attributes:
        outputs: number of values to tell.
        side: of the images in pixels; a multiple of 2 * 2**(number of levels).
        detail_side: of the details in pixels, likewise.
        stem: channels at half of the side.
        levels: channels of each further level.
        detail_stem: as stem, of the details.
        detail_levels: as levels, of the details.
        squeeze: channels of the last level when it is laid flat.
        hidden: features of face and details together.
        dtype: type of the arithmetic; parameters and values are float32 always.
    """

    outputs: int
    side: int = 64
    detail_side: int = 48
    stem: int = 32
    levels: tuple[int, ...] = (48, 80)
    detail_stem: int = 24
    detail_levels: tuple[int, ...] = (48, 64)
    squeeze: int = 16
    hidden: int = 96
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
        h = conv("down", init, strides=2)(x)
        h = nn.relu(h)

        added = conv("first", init)(h)
        added = nn.relu(added)
        # A block that adds nothing at first trains without normalisation (Zhang et al., Fixup Initialization, 2019).
        added = conv("second", nn.initializers.zeros)(added)
        return nn.relu(h + added)


class Tower(nn.Module):
    """Images to features."""

    stem: int
    levels: tuple[int, ...]
    squeeze: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b features"]:
        def conv(features, side, name):
            init = nn.initializers.he_normal()
            return nn.Conv(features, (side, side), kernel_init=init, dtype=self.dtype, name=name)

        x = conv(self.stem, 3, "stem")(_squares(x))
        x = nn.relu(x)
        for i, channels in enumerate(self.levels):
            x = Level(channels, self.dtype, name=f"level_{i}")(x)
        x = conv(self.squeeze, 1, "squeeze")(x)
        # Laid flat, not averaged: where things are is what many of the values are about.
        return x.reshape(x.shape[0], -1)


class Oracle(nn.Module):
    """Images and their details to values."""

    config: OracleConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], details: Details) -> Float[Array, "b outputs"]:
        c = self.config

        def look_closely(name):
            return Tower(c.detail_stem, c.detail_levels, c.squeeze, c.dtype, name=name)

        face = Tower(c.stem, c.levels, c.squeeze, c.dtype, name="face")(x)
        eyes = look_closely("eye")(details[:, :2].reshape(-1, *details.shape[2:]))
        mouth = look_closely("mouth")(details[:, 2])

        x = jnp.concatenate([face, eyes.reshape(len(x), -1), mouth], axis=1)
        # What an eye shows depends on where the head looks.
        x = nn.Dense(c.hidden, kernel_init=nn.initializers.he_normal(), name="hidden")(x)
        x = nn.relu(x)
        # Zeros: it starts by telling the middle of everything, and learns several times as fast as from noise.
        values = nn.Dense(c.outputs, kernel_init=nn.initializers.zeros, name="values")
        return 0.5 + values(x)


def _squares(x: Float[Array, "b h w 3"]) -> Float[Array, "b h/2 w/2 12"]:
    """Each 2 x 2 pixels become 12 channels of one."""
    b, h, w, _ = x.shape
    rows = h // 2
    columns = w // 2
    x = x.reshape(b, rows, 2, columns, 2, 3)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, rows, columns, 12)


def init(config: OracleConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    images = jnp.zeros((1, config.side, config.side, 3))
    details = jnp.zeros((1, 3, config.detail_side, config.detail_side, 3))
    return Oracle(config).init(key, images, details)["params"]


def apply(
    config: OracleConfig, params: Params, x: Float[Array, "b h w 3"], details: Details
) -> Float[Array, "b outputs"]:
    """Values of what images in [0, 1] and their details show, normalised: 0 to 1 over the span of each."""
    x = (2 * x - 1).astype(config.dtype)
    details = (2 * details - 1).astype(config.dtype)
    return Oracle(config).apply({"params": params}, x, details)
