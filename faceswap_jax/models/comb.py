"""The comb network: one encoder, P persona decoders (US 2020/0372621, Figures 3 and 4).

Level l works at 4 * 2**l pixels. A network of level L is grown from the network of level L - 1 by one encoder block
and one decoder block, faded in by `alpha`. Decoder levels 0 and 1 are tied, one set of weights for all personas; from
level 2 on every persona has its own.

Parameters are plain dictionaries of three groups, each {module name: weights}, the module name ending in its level:

    encoder    level_0 .. level_L, from_rgb_{L-1}, from_rgb_L
    tied       level_0, level_1 of the decoder, and their to_rgb
    personas   level_2 .. level_L of the decoder, and their to_rgb; every leaf has a leading persona axis

With `mean_decoder` there is a fourth group, `mean`, with modules as of one persona; `personas` then holds how far each
persona's weights are from them, at first nothing. So all personas teach what faces have in common.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from faceswap_jax.config import at_least, check, one_of, positive
from faceswap_jax.errors import InputError
from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.ops.convolution import conv_general_dilated
from faceswap_jax.ops.folding import (
    convolve_enlarged,
    convolve_folded,
    downsample_folded,
    fold,
    unfold,
)
from faceswap_jax.ops.platforms import platform
from faceswap_jax.ops.resample import downsample, upsample

# Of level 0 .. 8 at full width
CHANNELS = (512, 512, 512, 512, 256, 128, 64, 32, 16)
MAX_LEVEL = len(CHANNELS) - 1
TIED_LEVELS = 2
LEAK = 0.2  # slope of LeakyReLU below zero

FOLDED_FROM = 4
FOLDED_UP_TO = 64
"""From which level on, and of how many channels at most, a TPU gets folded images, see ops/folding.py."""


def _keep(block):
    """Keeps all activations of a block for the gradient."""
    return block


REMAT = {"none": _keep, "blocks": nn.remat}
"""What happens to the class `Block`, by the names of `CombConfig.remat`."""


@dataclass(frozen=True)
class CombConfig:
    """Shape of a comb network.

    Attributes:
        level: growth level L; images are 4 * 2**L pixels wide.
        personas: number of persona decoders P.
        channels: feature channels of level 0 and up.
        latent: length of the latent z.
        fading: whether the RGB layers of level L - 1 exist, which a network needs until its alpha has reached 1.
        dtype: type of the arithmetic; parameters are float32 always.
        mean_decoder: whether decoders are the sum of a mean one and of what is a persona's own.
        remat: "none" keeps all activations for the gradient; "blocks" keeps the inputs of the blocks and computes what
            is inside a second time. XLA's CPU backend undoes that.
    """

    level: int
    personas: int
    channels: tuple[int, ...] = CHANNELS
    latent: int = 512
    fading: bool = True
    dtype: jnp.dtype = jnp.float32
    mean_decoder: bool = False
    remat: str = "none"

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return resolution(self.level)


def scaled(channels: Sequence[int], width: float) -> tuple[int, ...]:
    """Channel counts times a width, at least 4."""
    return tuple(max(4, round(width * count)) for count in channels)


def channels_of(config: ml_collections.ConfigDict, field: str, level: int) -> tuple[int, ...]:
    """Channel counts that a field of `config.model` gives, or the published ones, times the width.

    Raises:
        InputError: they do not reach up to `level`.
    """
    channels = config.model[field]
    if channels and (len(channels) <= level or min(channels) < 1):
        raise InputError(
            f"config.model.{field} is {tuple(channels)}; give a positive number for each of levels 0 to {level}."
        )
    return scaled(channels or CHANNELS, config.model.width)


def resolution(level: int) -> int:
    """Side in pixels of the images of `level`."""
    return 4 * 2**level


def multiplications(config: CombConfig) -> int:
    """Multiplications of one image's 3 x 3 convolutions in the encoder, about as many as in a decoder."""
    total = 0
    for level in range(config.level + 1):
        channels = config.channels[level]
        # Level 0 leads to itself, then to the latent.
        below = config.channels[max(level - 1, 0)]
        # The first convolution keeps the channels, the second leads to those of the level below.
        weights = 9 * channels * (channels + below)
        total += weights * resolution(level) ** 2
    return total


# Keep the variance of what passes through (He et al. 2015)
initial_kernels = nn.initializers.variance_scaling(2.0 / (1.0 + LEAK**2), "fan_in", "normal")


class FoldedConv(nn.Module):
    """A 'SAME' convolution with bias, the weights of `nn.Conv`, and a folded result.

    Its input is folded, or is convolved as if enlarged by 2.
    """

    features: int
    kernel: int
    dtype: jnp.dtype
    kernel_init: Callable = nn.linear.default_kernel_init
    upsampled: bool = False

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1] if self.upsampled else x.shape[-1] // 4
        shape = (self.kernel, self.kernel, channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))

        convolve = convolve_enlarged if self.upsampled else convolve_folded
        y = convolve(x.astype(self.dtype), kernel)
        return y + jnp.tile(bias, 4).astype(self.dtype)


class ConvLeaky(nn.Module):
    """Stride-1 convolution, of the input or of the input upsampled, with bias and LeakyReLU."""

    features: int
    kernel: int
    dtype: jnp.dtype
    padding: str | int = "SAME"
    upsampled: bool = False
    folded: bool = False

    @nn.compact
    def __call__(self, x):
        if self.folded:
            return nn.leaky_relu(self.folded_convolution()(x), LEAK)
        return nn.leaky_relu(self.convolution()(x), LEAK)

    def folded_convolution(self) -> FoldedConv:
        """The convolution alone, of a folded result."""
        return FoldedConv(
            self.features,
            self.kernel,
            self.dtype,
            kernel_init=initial_kernels,
            upsampled=self.upsampled,
            name="conv",
        )

    def convolution(self, bias: bool = True) -> nn.Conv:
        """The convolution alone, with or without bias."""
        return nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            padding=self.padding,
            use_bias=bias,
            kernel_init=initial_kernels,
            dtype=self.dtype,
            conv_general_dilated=partial(conv_general_dilated, upsampled=self.upsampled),
            name="conv",
        )


class Block(nn.Module):
    """The two convolutions of one level, after upsampling if it is one of a decoder."""

    features: tuple[int, int]
    kernels: tuple[int, int] = (3, 3)
    paddings: tuple[str | int, str | int] = ("SAME", "SAME")
    dtype: jnp.dtype = jnp.float32
    upsampled: bool = False
    conv: Callable[..., nn.Module] = ConvLeaky  # makes its convolutions

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            conv = self.conv(
                features=self.features[i],
                kernel=self.kernels[i],
                dtype=self.dtype,
                padding=self.paddings[i],
                upsampled=self.upsampled and i == 0,
                name=f"conv_{i}",
            )
            x = conv(x)
        return x


def folds(config: CombConfig, level: int) -> bool:
    """Whether the squares of a level's images are folded into channels: large and narrow ones, on TPUs."""
    large = level >= FOLDED_FROM
    return platform() == "tpu" and large and config.channels[level] <= FOLDED_UP_TO


class Encoder(nn.Module):
    """Images to latents (Figure 3)."""

    config: CombConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w 3"],
        alpha: Float[Array, ""],
        below: Float[Array, "b h/2 w/2 3"] | None = None,
    ) -> Float[Array, "b latent"]:
        c = self.config
        block = REMAT[c.remat](Block)

        def from_rgb(level, x, folded=False):
            conv = ConvLeaky(c.channels[level], 1, c.dtype, folded=folded, name=f"from_rgb_{level}")
            return conv(x)

        # Folded as images, not as features: these have more channels.
        folded = folds(c, c.level)
        h = from_rgb(c.level, fold(x) if folded else x, folded)
        for level in range(c.level, 0, -1):
            folded = folds(c, level)
            if folded and level < c.level:
                h = fold(h)
            down = block(
                features=(c.channels[level], c.channels[level - 1]),
                dtype=c.dtype,
                conv=partial(ConvLeaky, folded=folded),
                name=f"level_{level}",
            )
            h = down(h)
            h = downsample_folded(h) if folded else downsample(h)
            # Fade-in: the newest block beside what came in before there was one
            if level == c.level and c.fading:
                old = from_rgb(level - 1, downsample(x) if below is None else below)
                h = (1 - alpha) * old + alpha * h
            h = h.astype(c.dtype)

        # 4 x 4 pixels to one: the latent
        to_latent = block(
            features=(c.channels[0], c.latent),
            kernels=(3, 4),
            paddings=("SAME", "VALID"),
            dtype=c.dtype,
            name="level_0",
        )
        z = to_latent(h)
        return z[:, 0, 0].astype(jnp.float32)


class Decoder(nn.Module):
    """Latents to images of one persona (Figure 4). Modules below `TIED_LEVELS` are shared by all personas."""

    config: CombConfig

    def conv_of(self, level: int) -> Callable[..., nn.Module]:
        """What makes the convolutions of a level."""
        return partial(ConvLeaky, folded=self.folds(level))

    def folds(self, level: int) -> bool:
        """Whether the images of a level are folded."""
        return folds(self.config, level)

    @nn.compact
    def __call__(
        self, z: Float[Array, "b latent"], alpha: Float[Array, ""]
    ) -> Float[Array, "b h w 3"]:
        c = self.config
        block = REMAT[c.remat](Block)

        def to_rgb(level, h, folded=False):
            name = f"to_rgb_{level}"
            if folded:
                y = unfold(FoldedConv(3, 1, c.dtype, name=name)(h))
            else:
                y = nn.Conv(3, (1, 1), dtype=c.dtype, name=name)(h)
            return nn.sigmoid(y.astype(jnp.float32))

        # A 4 x 4 'full' convolution of one pixel: the latent spreads over 4 x 4 positions, one bias a channel.
        from_latent = block(
            features=(c.channels[0], c.channels[0]),
            kernels=(4, 3),
            paddings=(3, "SAME"),
            dtype=c.dtype,
            conv=self.conv_of(0),
            name="level_0",
        )
        pixel = z[:, None, None]
        h = from_latent(pixel.astype(c.dtype))
        for level in range(1, c.level + 1):
            below = unfold(h) if self.folds(level - 1) else h
            up = block(
                features=(c.channels[level], c.channels[level]),
                dtype=c.dtype,
                upsampled=True,
                conv=self.conv_of(level),
                name=f"level_{level}",
            )
            h = up(below)

        y = to_rgb(c.level, h, self.folds(c.level))
        # Fade-in: the newest block beside the image of the level below
        if c.level > 0 and c.fading:
            old = upsample(to_rgb(c.level - 1, below))
            y = (1 - alpha) * old + alpha * y
        return y


def level_of(module: str) -> int:
    """Growth level that a module belongs to, from its name."""
    return int(module.rsplit("_", 1)[1])


# Compiled: the networks are run for the shapes of their weights, and XLA drops what they compute.
@partial(jax.jit, static_argnums=0)
def init(config: CombConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters by group; see the module's docstring."""
    encoder_key, tied_key, personas_key = jax.random.split(key, 3)
    z = jnp.zeros((1, config.latent))
    alpha = jnp.ones(())

    def decoder(key):
        return Decoder(config).init(key, z, alpha)["params"]

    # Of whole decoders: the tied levels of one, the other levels of all
    one = decoder(tied_key)
    stacked = jax.vmap(decoder)(jax.random.split(personas_key, config.personas))
    tied = [name for name in one if level_of(name) < TIED_LEVELS]
    own = {name: w for name, w in stacked.items() if name not in tied}
    params = {
        "encoder": init_encoder(config, encoder_key),
        "tied": {name: one[name] for name in tied},
        "personas": own,
    }
    if config.mean_decoder:
        params["mean"] = {name: one[name] for name in own}
        params["personas"] = jax.tree.map(jnp.zeros_like, own)
    return params


def init_encoder(config: CombConfig, key: PRNGKeyArray) -> Params:
    """Fresh modules of the encoder."""
    x = jnp.zeros((1, config.resolution, config.resolution, 3))
    return Encoder(config).init(key, x, jnp.ones(()))["params"]


def encode(
    config: CombConfig,
    encoder: Params,
    x: Float[Array, "b h w 3"],
    alpha: Float[Array, ""] | float = 1.0,
    below: Float[Array, "b h/2 w/2 3"] | None = None,
) -> Float[Array, "b latent"]:
    """Latents of aligned crops in [0, 1].

    Args:
        config: shape of the encoder.
        encoder: its modules.
        x: crops.
        alpha: fade-in gain of the newest level.
        below: what the level below saw before the network grew, if not the crops in half their size.
    """
    params = _used(encoder, config)
    if below is not None:
        below = below.astype(config.dtype)
    return Encoder(config).apply({"params": params}, x.astype(config.dtype), alpha, below)


def decode(
    config: CombConfig,
    tied: Params,
    own: Params,
    z: Float[Array, "b latent"],
    alpha: Float[Array, ""] | float = 1.0,
) -> Float[Array, "b h w 3"]:
    """Images in [0, 1] of one persona, whose own weights `own` carry no persona axis."""
    params = _used({**tied, **own}, config)
    return Decoder(config).apply({"params": params}, z, alpha)


def _used(modules: Params, config: CombConfig) -> Params:
    """Modules that a network of this level has: none of the RGB layers that growing has left behind."""
    lowest_rgb = config.level - 1 if config.fading else config.level
    used = {}
    for name, weights in modules.items():
        if "rgb" not in name or level_of(name) >= lowest_rgb:
            used[name] = weights
    return used


@dataclass(frozen=True)
class Network(Autoencoder):
    """The comb network as the autoencoder task takes it."""

    config: CombConfig
    memory_advice: ClassVar[str] = "set config.model.remat=blocks"
    # Below, all personas are one.
    last_levels: ClassVar[range] = range(TIED_LEVELS, MAX_LEVEL + 1)

    @classmethod
    def build(cls, config, level, personas, dtype):
        """The network of `config.model`."""
        demands = {
            "model.width": positive(),
            "model.latent": at_least(1),
            "model.remat": one_of(*REMAT),
        }
        check(config, demands)
        c = config.model
        return cls(
            CombConfig(
                level=level,
                personas=personas,
                channels=channels_of(config, "channels", level),
                latent=c.latent,
                # The first level that is trained has nothing to fade from.
                fading=any(config.level_steps[:level]),
                # Networks with another decoder have no such field.
                mean_decoder=c.get("mean_decoder", False),
                dtype=dtype,
                remat=c.remat,
            )
        )

    @property
    def resolution(self):
        """Side of the images in pixels."""
        return self.config.resolution

    @property
    def latent(self):
        """Length of the latents."""
        return self.config.latent

    @property
    def multiplications(self):
        """Multiplications of one image in the encoder."""
        return multiplications(self.config)

    def init(self, key):
        """Fresh parameters."""
        return init(self.config, key)

    def init_encoder(self, key: PRNGKeyArray) -> Params:
        """Fresh modules of the group "encoder"."""
        return init_encoder(self.config, key)

    def encode(self, shared, inputs, alpha):
        """Latents of images."""
        return encode(self.config, shared["encoder"], inputs["image"], alpha)

    def decode(self, shared, own, z, alpha):
        """Images of one persona."""
        if self.config.mean_decoder:
            own = jax.tree.map(jnp.add, shared["mean"], own)
        return decode(self.config, shared["tied"], own, z, alpha)

    def adopted(self, given, numbers):
        """Weights out of a trained network's; a mean decoder is made or dissolved where only one of them has it."""
        if not self.config.mean_decoder and "mean" not in given:
            return super().adopted(given, numbers)
        shared = dict(given)
        personas = shared.pop("personas")
        if "mean" not in given:
            shared["mean"] = jax.tree.map(lambda leaf: leaf.mean(0), personas)
            personas = jax.tree.map(lambda leaf, mean: leaf - mean, personas, shared["mean"])

        def own(leaf):
            nothing = np.zeros(leaf.shape[1:], leaf.dtype)
            return np.stack([nothing if n is None else leaf[n] for n in numbers])

        personas = jax.tree.map(own, personas)
        if not self.config.mean_decoder:
            personas = jax.tree.map(np.add, personas, shared.pop("mean"))
        return shared | {"personas": personas}
