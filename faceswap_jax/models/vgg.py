"""The convolutions of VGG (Simonyan and Zisserman, ICLR 2015), which X2Face's stage II looks at images with.

Parameters are plain dictionaries, {"conv2_1": {"kernel", "bias"}, ...} for the first convolution of the second block.
Blocks are parted by max pooling. What lies behind the last of `LAYERS` plays no role.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.ops.convolution import NHWC, conv_general_dilated
from faceswap_jax.ops.resample import max_pooled

CONFIGURATIONS = {"A": (1, 1, 2, 2, 2), "D": (2, 2, 3, 3, 3)}
"""Convolutions of each block, by the source's names: A is VGG-11, D is VGG-16."""

LAYERS = ("conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1")
"""Whose features are told. Counted through, they are convolutions 2 to 7 of A. D has them at the same places in its
blocks, after as many poolings."""

MEAN = (129.1863, 104.7624, 93.5940)  # of the faces that VGG-Face knows: red, green, blue

Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class VGGConfig:
    """Shape of a network.

    Attributes:
        configuration: one of CONFIGURATIONS.
        channels: of each block.
        side: of the images that it knows, pixels.
    """

    configuration: str = "A"
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    side: int = 224


def convolutions(config: VGGConfig) -> dict[str, int]:
    """Channels of each convolution up to the last of LAYERS, in order."""
    blocks = zip(CONFIGURATIONS[config.configuration], config.channels, strict=True)
    found = {}
    for block, (count, channels) in enumerate(blocks, 1):
        for number in range(1, count + 1):
            found[f"conv{block}_{number}"] = channels
            if f"conv{block}_{number}" == LAYERS[-1]:
                return found
    return found


def init(config: VGGConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    draw = jax.nn.initializers.he_normal()
    into = 3
    params = {}
    for name, out in convolutions(config).items():
        key, own = jax.random.split(key)
        params[name] = {"kernel": draw(own, (3, 3, into, out)), "bias": jnp.zeros(out)}
        into = out
    return params


def features(
    config: VGGConfig, params: Params, x: Float[Array, "b s s 3"]
) -> list[Float[Array, "b h w c"]]:
    """What each of LAYERS makes of RGB images in [0, 1], behind its rectifier; that is a choice."""
    x = 255 * x - jnp.array(MEAN)
    found = []
    for name in convolutions(config):
        if name.endswith("_1") and name != "conv1_1":
            x = max_pooled(x)
        x = conv_general_dilated(x, params[name]["kernel"], (1, 1), "SAME", dimension_numbers=NHWC)
        x = jax.nn.relu(x + params[name]["bias"])
        if name in LAYERS:
            found.append(x)
    return found
