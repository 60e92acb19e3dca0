"""The encoder of pictures into a generator's latent space W+: pSp's, as ReStyle has it (Alaluf et al., ICCV 2021).

A residual network with squeeze and excitation, IR-SE-50 as published, makes a map of the picture; a small head for
each style of the generator makes that style of the map. ReStyle's heads all read the last map, where pSp's (Richardson
et al., CVPR 2021) read three maps.

With e4e's deltas (Tov et al., SIGGRAPH 2021) the first head makes one style for all layers, and each other head what
its layer's style differs from that one.

Parameters and statistics are plain dictionaries {module name: weights}:

    stem, stem_norm, stem_slope    3 x 3 convolution, batch normalisation, PReLU
    block_{i}_{j}                  block j of stage i: norm, conv_1, slope, conv_2, conv_norm, squeeze, excite, and
                                   where the number of channels changes shortcut, shortcut_norm
    style_{k}                      head of style k, or of its delta: conv_{n} that halve the map until it is a pixel,
                                   styles

The statistics are the running "mean" and "var" of every batch normalisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.iresnet import PReLU
from faceswap_jax.ops.convolution import conv_general_dilated

EPSILON = 1e-5  # of the batch normalisations

SQUEEZE = 16  # times fewer channels decide how much each channel counts

PYTORCHS = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's own. Each layer makes less of what it reads, so that a fresh encoder stays near where it starts from."""

Params = Mapping[str, PyTree]
Statistics = Mapping[str, PyTree]
Styles = Float[Array, "b styles latent"]


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder; the default is ReStyle's for 1024 px.

    Attributes:
        styles: how many the generator takes.
        latent: length of each.
        inputs: channels of the pictures; 6 are a picture and what was made of it.
        side: of the pictures in pixels, a multiple of 2**(number of stages + 1).
        blocks: residual blocks of each stage; every stage halves the side.
        channels: of each stage.
        stem: channels before the first stage.
        deltas: whether all heads but the first make what their styles differ from the first one.
        dtype: type of the arithmetic; parameters, statistics and styles are float32 always.
    """

    styles: int = 18
    latent: int = 512
    inputs: int = 6
    side: int = 256
    blocks: tuple[int, ...] = (3, 4, 14, 3)
    channels: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    deltas: bool = False
    dtype: jnp.dtype = jnp.float32

    @property
    def halvings(self) -> int:
        """How often a head halves the last map, until it is a pixel."""
        return (self.side >> len(self.blocks)).bit_length() - 1


def _conv(
    channels: int, kernel: int, dtype: jnp.dtype, name: str, strides: int = 1, bias: bool = False
) -> nn.Conv:
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides,
        # Where the stride is 2, 'SAME' would pad otherwise than PyTorch.
        padding="SAME" if strides == 1 else kernel // 2,
        use_bias=bias,
        kernel_init=PYTORCHS,
        dtype=dtype,
        name=name,
        conv_general_dilated=conv_general_dilated,
    )


def _norm(train: bool, dtype: jnp.dtype, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=EPSILON, dtype=dtype, name=name
    )


class Block(nn.Module):
    """Normalise, convolve, rectify, convolve, normalise, weigh the channels; and the input, or a projection of it."""

    channels: int
    strides: int
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h/s w/s channels"]:
        h = _norm(self.train, self.dtype, "norm")(x)
        h = _conv(self.channels, 3, self.dtype, "conv_1")(h)
        h = PReLU(name="slope")(h)
        h = _conv(self.channels, 3, self.dtype, "conv_2", self.strides)(h)
        h = _norm(self.train, self.dtype, "conv_norm")(h)
        h = h * self._weights(h)

        # The input at every other pixel, with as many channels
        x = x[:, :: self.strides, :: self.strides]
        if x.shape[-1] != self.channels:
            x = _conv(self.channels, 1, self.dtype, "shortcut")(x)
            x = _norm(self.train, self.dtype, "shortcut_norm")(x)
        return x + h

    def _weights(self, h: Float[Array, "b h w c"]) -> Float[Array, "b 1 1 c"]:
        """How much each channel counts, 0 to 1."""
        means = h.mean((1, 2), keepdims=True)
        squeezed = max(self.channels // SQUEEZE, 1)
        means = nn.relu(_conv(squeezed, 1, self.dtype, "squeeze")(means))
        return nn.sigmoid(_conv(self.channels, 1, self.dtype, "excite")(means))


class Head(nn.Module):
    """A map to a style, or to a delta, which begins as zero (choice): so it says nothing before it has learned."""

    halvings: int
    latent: int
    is_delta: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b s s c"]) -> Float[Array, "b latent"]:
        for n in range(self.halvings):
            x = _conv(self.latent, 3, self.dtype, f"conv_{n}", strides=2, bias=True)(x)
            x = nn.leaky_relu(x, 0.01)
        # As published: of variance 1, scaled in use
        x = x.reshape(x.shape[0], self.latent) / jnp.sqrt(self.latent)
        return nn.Dense(
            self.latent,
            kernel_init=nn.initializers.zeros if self.is_delta else nn.initializers.normal(1.0),
            dtype=jnp.float32,
            name="styles",
        )(x)


class Encoder(nn.Module):
    """Pictures in [-1, 1] to styles."""

    config: EncoderConfig
    train: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b s s c"]) -> Styles:
        c = self.config
        # Full resolution: the first stage is the first to halve it.
        x = _conv(c.stem, 3, c.dtype, "stem")(x)
        x = _norm(self.train, c.dtype, "stem_norm")(x)
        x = PReLU(name="stem_slope")(x)
        stages = zip(c.blocks, c.channels, strict=True)
        for i, (blocks, channels) in enumerate(stages):
            for j in range(blocks):
                strides = 2 if j == 0 else 1
                x = Block(channels, strides, self.train, c.dtype, name=f"block_{i}_{j}")(x)

        styles = []
        for k in range(c.styles):
            is_delta = c.deltas and k > 0
            style = Head(c.halvings, c.latent, is_delta, c.dtype, name=f"style_{k}")(x)
            styles.append(styles[0] + style if is_delta else style)
        return jnp.stack(styles, 1)


def init(config: EncoderConfig, key: PRNGKeyArray) -> tuple[Params, Statistics]:
    """Fresh parameters, and statistics of means 0 and variances 1."""
    pictures = jnp.zeros((1, config.side, config.side, config.inputs))
    variables = Encoder(config, train=True).init(key, pictures)
    return variables["params"], variables["batch_stats"]


def apply(
    config: EncoderConfig,
    params: Params,
    statistics: Statistics,
    x: Float[Array, "b s s c"],
    train: bool = False,
) -> tuple[Styles, Statistics]:
    """Styles of RGB pictures in [0, 1], `inputs` channels of them side by side, and the statistics.

    With `train` the batch's own means and variances normalise, and the running ones move a tenth of the way to them;
    otherwise the running ones normalise and stay.
    """
    network = Encoder(config, train)
    variables = {"params": params, "batch_stats": statistics}
    x = (2 * x - 1).astype(config.dtype)
    if not train:
        return network.apply(variables, x), statistics
    styles, changed = network.apply(variables, x, mutable=["batch_stats"])
    return styles, changed["batch_stats"]
