"""MC-AAD: a picture's attributes, with the identity, the expression or more of others (US 2023/0252687).

The attribute encoder makes a map of each level of the picture that is changed. The generator starts from the features,
vectors that frozen encoders read off other pictures, and goes through a block for each level. A layer of multi-channel
adaptive attentional denormalisation (MC-AAD) normalises what it is given, then says once how the attributes would have
it, and once for each feature how that would. Masks, in sum 1 at every pixel, say whom to follow where.

The source leaves numbers of levels, widths and kernels open. Those of the default are of FaceShifter's public
reimplementations at 256 px. Choices of this project: the encoder normalises each image as a whole, not over the batch,
and not at all behind its first convolution, so that brightness stays; it enlarges before 3 x 3 convolutions, where they
have transposed ones; a bypass is a 1 x 1 convolution, and what it joins is scaled to stay as large; images are pale
at first.

Parameters are plain dictionaries {"encoder" or "generator": {module: weights}}.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.ops.convolution import conv_general_dilated
from faceswap_jax.ops.masks import filled
from faceswap_jax.ops.resample import upsample_linear

LEAK = 0.1  # slope of the encoder's LeakyReLU below zero
EPSILON = 1e-5  # added to variances
HE = nn.initializers.he_normal()
PALE = nn.initializers.variance_scaling(0.02, "fan_in", "truncated_normal")
"""A tenth of it."""
MOST = 1024  # channels, times the width

Images = Float[Array, "b r r 3"]
Map = Float[Array, "b h w c"]
Vectors = Float[Array, "b d"]
Masks = Float[Array, "b h w m"]
Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class AttributeConfig:
    """Shape of encoder and generator; the default is that of public code at 256 px.

    Attributes:
        features: length of each feature, at least one.
        resolution: side of the images in pixels, a multiple of 2**(levels - 1).
        levels: how many maps the encoder makes, each twice as large as the one before, the last as large as the images.
        width: of all channels, relative to the default's.
        layers: of MC-AAD in each block.
        hides: whether the encoder is told which pixels it doesn't see.
        masks: "each": every feature has one, as in the source; "one": that of the attributes alone is learned, and the
            features share what it leaves equally.
        dtype: type of the arithmetic; parameters, normalisation and images are float32 always.
    """

    features: tuple[int, ...] = (512,)
    resolution: int = 256
    levels: int = 8
    width: float = 1.0
    layers: int = 2
    hides: bool = False
    masks: Literal["each", "one"] = "each"
    dtype: jnp.dtype = jnp.float32

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the levels, pixels, the smallest first."""
        return tuple(self.resolution >> k for k in reversed(range(self.levels)))

    def encoded(self, halvings: int) -> int:
        """Channels of the encoder after so many halvings of the images: 32, 64, 128 ..."""
        return self._scaled(16 * 2**halvings)

    def generated(self, level: int) -> int:
        """Channels with which a level of the generator begins: 64 at the last, 128 at the one before ..."""
        return self._scaled(64 * 2 ** (self.levels - 1 - level))

    def _scaled(self, channels: int) -> int:
        return max(4, round(self.width * min(channels, MOST)))


def _conv(features: int, side: int, dtype: jnp.dtype, name: str, **options) -> nn.Conv:
    defaults = {
        "kernel_init": HE,
        "conv_general_dilated": conv_general_dilated,
    }
    return nn.Conv(features, (side, side), dtype=dtype, name=name, **defaults | options)


class Encoder(nn.Module):
    """Images in [-1, 1], and perhaps a mask, to a map of each level, the smallest first: a U-Net."""

    config: AttributeConfig

    @nn.compact
    def __call__(self, x: Map) -> list[Map]:
        c = self.config

        # Down: each map is half as large as the one before
        found = []
        for i in range(c.levels - 1):
            x = _conv(c.encoded(i + 1), 4, c.dtype, f"down_{i}", strides=2, padding=1)(x)
            if i:
                x = self._normalised(x, f"down_norm_{i}")
            x = nn.leaky_relu(x, LEAK)
            found.append(x)

        # Up again, each with the map of its side
        *skips, x = found
        maps = [x]
        for i in reversed(range(len(skips))):
            enlarged = partial(conv_general_dilated, upsampled=True)
            x = _conv(c.encoded(i + 1), 3, c.dtype, f"up_{i}", conv_general_dilated=enlarged)(x)
            x = nn.leaky_relu(self._normalised(x, f"up_norm_{i}"), LEAK)
            x = jnp.concatenate([x, skips[i]], -1)
            maps.append(x)
        return [*maps, upsample_linear(x)]

    def _normalised(self, x, name):
        norm = nn.GroupNorm(num_groups=1, epsilon=EPSILON, dtype=jnp.float32, name=name)
        return norm(x).astype(self.config.dtype)


class Denormalisation(nn.Module):
    """A layer of MC-AAD.

    Choices: kernels are 1 x 1, as in public code, so that a dense layer does; gammas begin at about 1.

    Attributes:
        masks: see `AttributeConfig`.
        dtype: type of the arithmetic.
    """

    masks: Literal["each", "one"]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h: Map, attributes: Map, features: Sequence[Vectors]) -> tuple[Map, Masks]:
        """What becomes of `h`, and the masks: that of the attributes, then those of the features."""
        normalised = normalise(h).astype(self.dtype)

        # How the attributes, and each feature, would have it
        wanted = [self._denormalised(normalised, attributes, "attributes")]
        for i, feature in enumerate(features):
            everywhere = feature[:, None, None]
            wanted.append(self._denormalised(normalised, everywhere, f"feature_{i}"))

        # Whom to follow where: one mask tells what is left for a single feature, or for all together.
        count = len(wanted)
        is_one = self.masks == "one" or count == 2
        dense = nn.Dense(1 if is_one else count, dtype=self.dtype, name="masks")
        logits = dense(normalised).astype(jnp.float32)
        if is_one:
            mask = nn.sigmoid(logits)
            left = (1 - mask) / (count - 1)
            masks = jnp.concatenate([mask, *[left] * (count - 1)], -1)
        else:
            masks = nn.softmax(logits)
        weights = jnp.split(masks.astype(self.dtype), count, -1)
        return sum(m * e for m, e in zip(weights, wanted, strict=True)), masks

    def _denormalised(self, normalised, told, name):
        """The scale and the shift that are told at each pixel, or for all of them."""
        dense = nn.Dense(2 * normalised.shape[-1], dtype=self.dtype, name=name)
        scale, shift = jnp.split(dense(told), 2, -1)
        return (1 + scale) * normalised + shift


def normalise(h: Map) -> Float[Array, "b h w c"]:
    """Mean 0 and variance 1 of every channel of every image, in float32."""
    h = h.astype(jnp.float32)
    h = h - h.mean((1, 2), keepdims=True)
    variance = (h * h).mean((1, 2), keepdims=True)
    return h * jax.lax.rsqrt(variance + EPSILON)


class Block(nn.Module):
    """A few times MC-AAD, ReLU, 3 x 3 convolution; and the input, through a 1 x 1 convolution if channels differ.

    Attributes:
        channels: of the result.
        layers: of MC-AAD.
        masks: see `AttributeConfig`.
        kernel_init: of the weights that make the result.
        dtype: type of the arithmetic.
    """

    channels: int
    layers: int
    masks: Literal["each", "one"]
    kernel_init: nn.initializers.Initializer
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, h: Map, attributes: Map, features: Sequence[Vectors]) -> tuple[Map, Masks]:
        """What becomes of `h`, and the mean of the layers' masks."""
        bypass = h
        if h.shape[-1] != self.channels:
            dense = nn.Dense(
                self.channels,
                use_bias=False,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
                name="bypass",
            )
            bypass = dense(h)

        found = []
        for i in range(self.layers):
            layer = Denormalisation(self.masks, self.dtype, name=f"layer_{i}")
            h, masks = layer(h, attributes, features)
            # All but the last keep the channels, and the next layer takes a bias away.
            last = i == self.layers - 1
            channels = self.channels if last else h.shape[-1]
            init = self.kernel_init if last else HE
            conv = _conv(channels, 3, self.dtype, f"conv_{i}", use_bias=last, kernel_init=init)
            h = conv(nn.relu(h))
            found.append(masks)
        # As large as each of both
        return (bypass + h) * 0.5**0.5, sum(found) / len(found)


class Generator(nn.Module):
    """Maps of the attributes and features to images in [-1, 1], and the masks of each level."""

    config: AttributeConfig

    @nn.compact
    def __call__(
        self, attributes: Sequence[Map], features: Sequence[Vectors]
    ) -> tuple[Images, list[Masks]]:
        c = self.config
        first = c.sides[0]
        start = nn.Dense(first * first * c.generated(0), dtype=c.dtype, name="start")
        h = start(jnp.concatenate(features, -1)).reshape(-1, first, first, c.generated(0))

        found = []
        for level, given in enumerate(attributes):
            last = level == c.levels - 1
            if level:
                h = upsample_linear(h)
            channels = 3 if last else c.generated(level + 1)
            # Pale images at first: tanh has no slope where they are strong. Not grey ones, whose variance is zero.
            init = PALE if last else HE
            block = Block(channels, c.layers, c.masks, init, c.dtype, name=f"block_{level}")
            h, masks = block(h, given, features)
            found.append(masks)
        return jnp.tanh(h.astype(jnp.float32)), found


def init(config: AttributeConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters of both."""
    encoder_key, generator_key = jax.random.split(key)
    images = jnp.zeros((1, config.resolution, config.resolution, 3 + config.hides))
    maps, encoder = Encoder(config).init_with_output(encoder_key, images)
    features = [jnp.zeros((1, length)) for length in config.features]
    generator = Generator(config).init(generator_key, maps, features)
    return {"encoder": encoder["params"], "generator": generator["params"]}


def encode(
    config: AttributeConfig,
    params: Params,
    images: Images,
    mask: Float[Array, "b r r"] | None = None,
) -> list[Map]:
    """The maps of the attributes of images in [0, 1], one for each level, the smallest first.

    Args:
        config: of the network, which says whether anything is hidden.
        params: of the encoder.
        images: whose attributes.
        mask: 0 where the images are hidden, else 1; what is there is taken from around.
    """
    if config.hides:
        images = jnp.concatenate([filled(images, mask), mask[..., None]], -1)
    return Encoder(config).apply({"params": params["encoder"]}, 2 * images - 1)


class Generated(NamedTuple):
    """What the generator makes.

    Attributes:
        images: in [0, 1].
        masks: of each level, the smallest first: whom the block follows, the attributes or one of the features in their
            order. They are 0 to 1, in sum 1 at every pixel; means over the block's layers.
    """

    images: Images
    masks: list[Masks]


def generate(
    config: AttributeConfig, params: Params, attributes: Sequence[Map], features: Sequence[Vectors]
) -> Generated:
    """Images with the attributes that `encode` gave and with these features, in the order of `config.features`."""
    network = Generator(config)
    images, masks = network.apply({"params": params["generator"]}, attributes, features)
    return Generated((images + 1) / 2, masks)
