"""The networks that LPIPS looks at images with: the convolutions of AlexNet and of VGG-16, and how channels count.

Parameters are plain dictionaries, {"conv_{n}": {"kernel", "bias"}} for the convolutions in order, and {"head_{i}"}: how
much each channel of layer i counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.ops.convolution import NHWC, conv_general_dilated
from faceswap_jax.ops.resample import max_pooled

SHIFT = (-0.030, -0.088, -0.188)  # of images in [-1, 1]: red, green, blue
SCALE = (0.458, 0.448, 0.450)

Params = Mapping[str, PyTree]


class Conv(NamedTuple):
    """A convolution.

    Attributes:
        kernel: side of its kernel.
        channels: of its result.
        stride: of the kernel.
        pad: pixels around the images.
        pooling: side of the maximum pooling before it, which halves the sides; 0 for none.
        told: whether its rectified result is one of the layers.
    """

    kernel: int
    channels: int
    stride: int = 1
    pad: int = 1
    pooling: int = 0
    told: bool = False


def _blocks_of_vgg() -> tuple[Conv, ...]:
    """VGG-16: the last convolution of each block is told."""
    found = []
    for block, (count, channels) in enumerate(
        zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True)
    ):
        for number in range(count):
            pooling = 2 if block and not number else 0
            found.append(Conv(3, channels, pooling=pooling, told=number == count - 1))
    return tuple(found)


NETWORKS = {
    "alex": (
        Conv(11, 64, stride=4, pad=2, told=True),
        Conv(5, 192, pad=2, pooling=3, told=True),
        Conv(3, 384, pooling=3, told=True),
        Conv(3, 256, told=True),
        Conv(3, 256, told=True),
    ),
    "vgg": _blocks_of_vgg(),
}
"""By the names that the source's code gives them."""


@dataclass(frozen=True)
class LPIPSConfig:
    """Shape of a network.

    Attributes:
        network: one of NETWORKS.
        width: of all channels, relative to the published.
    """

    network: str = "alex"
    width: float = 1.0

    @property
    def convolutions(self) -> list[Conv]:
        """In their order."""
        of_width = []
        for conv in NETWORKS[self.network]:
            of_width.append(conv._replace(channels=max(round(self.width * conv.channels), 1)))
        return of_width


def init(config: LPIPSConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters; all channels count alike."""
    draw = jax.nn.initializers.he_normal()
    params = {}
    into = 3
    layers = 0
    for n, conv in enumerate(config.convolutions):
        key, own = jax.random.split(key)
        kernel = draw(own, (conv.kernel, conv.kernel, into, conv.channels))
        params[f"conv_{n}"] = {"kernel": kernel, "bias": jnp.zeros(conv.channels)}
        if conv.told:
            params[f"head_{layers}"] = jnp.ones(conv.channels)
            layers += 1
        into = conv.channels
    return params


def features(
    config: LPIPSConfig, params: Params, x: Float[Array, "b h w 3"]
) -> list[Float[Array, "b h w c"]]:
    """What each layer makes of RGB images in [0, 1], behind its rectifier."""
    x = (2 * x - 1 - jnp.array(SHIFT)) / jnp.array(SCALE)
    found = []
    for n, conv in enumerate(config.convolutions):
        if conv.pooling:
            x = _pooled(x, conv.pooling)
        weights = params[f"conv_{n}"]
        strides = (conv.stride, conv.stride)
        # The fast forms know 'SAME', which would pad otherwise than PyTorch where the stride is 4.
        padding = "SAME" if conv.stride == 1 else [(conv.pad, conv.pad)] * 2
        x = conv_general_dilated(x, weights["kernel"], strides, padding, dimension_numbers=NHWC)
        x = jax.nn.relu(x + weights["bias"])
        if conv.told:
            found.append(x)
    return found


def heads(config: LPIPSConfig, params: Params) -> list[Float[Array, "c"]]:
    """How much each channel of each layer counts."""
    layers = sum(conv.told for conv in config.convolutions)
    return [params[f"head_{i}"] for i in range(layers)]


def _pooled(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b oh ow c"]:
    """Maxima of squares whose corners are two pixels apart; those that do not fit are left out."""
    if side == 2:
        _, height, width, _ = x.shape
        return max_pooled(x[:, : height // 2 * 2, : width // 2 * 2])
    window = (1, side, side, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, (1, 2, 2, 1), "VALID")
