"""The network that FID looks at images with: Inception v3, as Heusel et al. have it (NeurIPS 2017).

It differs from Szegedy's in its poolings: averages leave out what lies beyond the border, and the last block takes
maxima. Parameters are plain dictionaries, {"Mixed_5b.branch1x1": {"kernel", "bias"}, ...} by the names of PyTorch's
modules; batch normalisations are part of their convolutions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.ops.convolution import NHWC

SIDE = 299
"""Of the images that it knows, pixels."""

Params = Mapping[str, PyTree]
Maps = Float[Array, "b h w c"]


class Conv(NamedTuple):
    """A convolution, with its rectifier.

    Attributes:
        name: of the module, in its block.
        kernel: its height and width.
        channels: of its result.
        stride: of the kernel. Where it is 2, nothing is added around the images; else the result is as large.
    """

    name: str
    kernel: tuple[int, int]
    channels: int
    stride: int = 1


Branch = Sequence["Conv | str | tuple[Conv, Conv]"]
"""What follows what: convolutions, poolings by name, and pairs whose results lie side by side."""

ONE, THREE, FIVE, ROW, COLUMN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)

AVERAGE, MAXIMUM, HALVE = "average", "maximum", "halve"
"""Poolings of 3 x 3 pixels; the last halves the sides."""


def _block_a(pooled: int) -> list[Branch]:
    return [
        [Conv("branch1x1", ONE, 64)],
        [Conv("branch5x5_1", ONE, 48), Conv("branch5x5_2", FIVE, 64)],
        [
            Conv("branch3x3dbl_1", ONE, 64),
            Conv("branch3x3dbl_2", THREE, 96),
            Conv("branch3x3dbl_3", THREE, 96),
        ],
        [AVERAGE, Conv("branch_pool", ONE, pooled)],
    ]


def _block_b() -> list[Branch]:
    return [
        [Conv("branch3x3", THREE, 384, 2)],
        [
            Conv("branch3x3dbl_1", ONE, 64),
            Conv("branch3x3dbl_2", THREE, 96),
            Conv("branch3x3dbl_3", THREE, 96, 2),
        ],
        [HALVE],
    ]


def _block_c(inner: int) -> list[Branch]:
    return [
        [Conv("branch1x1", ONE, 192)],
        [
            Conv("branch7x7_1", ONE, inner),
            Conv("branch7x7_2", ROW, inner),
            Conv("branch7x7_3", COLUMN, 192),
        ],
        [
            Conv("branch7x7dbl_1", ONE, inner),
            Conv("branch7x7dbl_2", COLUMN, inner),
            Conv("branch7x7dbl_3", ROW, inner),
            Conv("branch7x7dbl_4", COLUMN, inner),
            Conv("branch7x7dbl_5", ROW, 192),
        ],
        [AVERAGE, Conv("branch_pool", ONE, 192)],
    ]


def _block_d() -> list[Branch]:
    return [
        [Conv("branch3x3_1", ONE, 192), Conv("branch3x3_2", THREE, 320, 2)],
        [
            Conv("branch7x7x3_1", ONE, 192),
            Conv("branch7x7x3_2", ROW, 192),
            Conv("branch7x7x3_3", COLUMN, 192),
            Conv("branch7x7x3_4", THREE, 192, 2),
        ],
        [HALVE],
    ]


def _block_e(pooling: str) -> list[Branch]:
    def both(name: str) -> tuple[Conv, Conv]:
        return Conv(f"{name}a", (1, 3), 384), Conv(f"{name}b", (3, 1), 384)

    return [
        [Conv("branch1x1", ONE, 320)],
        [Conv("branch3x3_1", ONE, 384), both("branch3x3_2")],
        [
            Conv("branch3x3dbl_1", ONE, 448),
            Conv("branch3x3dbl_2", THREE, 384),
            both("branch3x3dbl_3"),
        ],
        [pooling, Conv("branch_pool", ONE, 192)],
    ]


BLOCKS: Mapping[str, list[Branch]] = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": _block_b(),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": _block_d(),
    "Mixed_7b": _block_e(AVERAGE),
    "Mixed_7c": _block_e(MAXIMUM),
}
"""Whose branches lie side by side in their results."""


class Stem(NamedTuple):
    """A convolution before the blocks.

    Attributes:
        conv: with the module's name.
        valid: whether nothing is added around the images.
        then: a pooling after it, "" for none.
    """

    conv: Conv
    valid: bool = True
    then: str = ""


STEMS = (
    Stem(Conv("Conv2d_1a_3x3", THREE, 32, 2)),
    Stem(Conv("Conv2d_2a_3x3", THREE, 32)),
    Stem(Conv("Conv2d_2b_3x3", THREE, 64), valid=False, then=HALVE),
    Stem(Conv("Conv2d_3b_1x1", ONE, 80)),
    Stem(Conv("Conv2d_4a_3x3", THREE, 192), then=HALVE),
)


@dataclass(frozen=True)
class InceptionConfig:
    """Shape of the network.

    Attributes:
        width: of all channels, relative to the published.
        side: of the images that it knows, pixels, 75 or more.
    """

    width: float = 1.0
    side: int = SIDE

    def channels(self, conv: Conv) -> int:
        """Of a convolution's result."""
        return max(round(self.width * conv.channels), 1)


def convolutions(config: InceptionConfig) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """The name of each convolution and the shape of its kernel, in the order in which it computes."""
    into = 3
    for stem in STEMS:
        yield stem.conv.name, (*stem.conv.kernel, into, config.channels(stem.conv))
        into = config.channels(stem.conv)
    for block, branches in BLOCKS.items():
        out = 0
        for branch in branches:
            length = into
            for entry in branch:
                if isinstance(entry, str):
                    continue
                pair = entry if isinstance(entry[0], Conv) else (entry,)
                for conv in pair:
                    yield f"{block}.{conv.name}", (*conv.kernel, length, config.channels(conv))
                length = sum(config.channels(conv) for conv in pair)
            out += length
        into = out


def init(config: InceptionConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    draw = jax.nn.initializers.he_normal()
    params = {}
    for name, shape in convolutions(config):
        key, own = jax.random.split(key)
        params[name] = {"kernel": draw(own, shape), "bias": jnp.zeros(shape[-1])}
    return params


def features(
    config: InceptionConfig, params: Params, x: Float[Array, "b h w 3"]
) -> Float[Array, "b c"]:
    """What the last block makes of RGB images in [0, 1], on average over the places: 2,048 numbers as published."""
    # Linearly, and without care for aliasing: numbers that are published were measured so.
    shape = (len(x), config.side, config.side, 3)
    x = 2 * jax.image.resize(x, shape, "linear", antialias=False) - 1
    convolve = partial(_convolve, params)
    for stem in STEMS:
        x = convolve("", stem.conv, x, stem.valid)
        if stem.then:
            x = _pool(stem.then, x)

    for block, branches in BLOCKS.items():
        results = []
        for branch in branches:
            h = x
            for entry in branch:
                if isinstance(entry, str):
                    h = _pool(entry, h)
                elif isinstance(entry[0], Conv):
                    h = jnp.concatenate([convolve(f"{block}.", conv, h) for conv in entry], -1)
                else:
                    h = convolve(f"{block}.", entry, h)
            results.append(h)
        x = jnp.concatenate(results, -1)
    return x.mean((1, 2))


def _convolve(params: Params, block: str, conv: Conv, x: Maps, valid: bool = False) -> Maps:
    weights = params[f"{block}{conv.name}"]
    padding = "VALID" if valid or conv.stride > 1 else "SAME"
    strides = (conv.stride, conv.stride)
    x = lax.conv_general_dilated(x, weights["kernel"], strides, padding, dimension_numbers=NHWC)
    return jax.nn.relu(x + weights["bias"])


def _pool(kind: str, x: Maps) -> Maps:
    squares = (1, 3, 3, 1)
    if kind == HALVE:
        return lax.reduce_window(x, -jnp.inf, lax.max, squares, (1, 2, 2, 1), "VALID")
    if kind == MAXIMUM:
        return lax.reduce_window(x, -jnp.inf, lax.max, squares, (1, 1, 1, 1), "SAME")
    sums = lax.reduce_window(x, 0.0, lax.add, squares, (1, 1, 1, 1), "SAME")
    inside = jnp.ones((1, *x.shape[1:3], 1))
    counts = lax.reduce_window(inside, 0.0, lax.add, squares, (1, 1, 1, 1), "SAME")
    return sums / counts
