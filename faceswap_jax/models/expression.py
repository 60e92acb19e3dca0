"""The network that reads from an aligned crop what a face does.

Parameters are {"tower", "hidden" or "values": weights}; the tower is one of the oracle's, `models/oracle.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.oracle import Tower

Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class ExpressionConfig:
    """Shape of the network.

    Attributes:
        outputs: number of values to tell.
        side: of the images in pixels; a multiple of 2 * 2**(number of levels).
        stem: channels at half of the side.
        levels: channels of each further level.
        squeeze: channels of the last level when it is laid flat.
        hidden: features before the values.
        dtype: type of the arithmetic; parameters and values are float32 always.
    """

    outputs: int
    side: int = 64
    stem: int = 32
    levels: tuple[int, ...] = (48, 64, 96)
    squeeze: int = 24
    hidden: int = 128
    dtype: jnp.dtype = jnp.float32


class Network(nn.Module):
    """Images in [-1, 1] to values."""

    config: ExpressionConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b side side 3"]) -> Float[Array, "b outputs"]:
        c = self.config
        x = Tower(c.stem, c.levels, c.squeeze, c.dtype, name="tower")(x)
        x = nn.Dense(c.hidden, kernel_init=nn.initializers.he_normal(), name="hidden")(x)
        # Zeros: it starts by telling a face at rest.
        return nn.Dense(c.outputs, kernel_init=nn.initializers.zeros, name="values")(nn.relu(x))


def init(config: ExpressionConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    images = jnp.zeros((1, config.side, config.side, 3))
    return Network(config).init(key, images)["params"]


def apply(
    config: ExpressionConfig, params: Params, crops: Float[Array, "b h w 3"]
) -> Float[Array, "b outputs"]:
    """Values of what aligned square crops in [0, 1] show, seen at the network's own side."""
    shape = (crops.shape[0], config.side, config.side, 3)
    seen = jax.image.resize(crops, shape, "linear")
    return Network(config).apply({"params": params}, (2 * seen - 1).astype(config.dtype))
