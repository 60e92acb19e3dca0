"""StyleGAN2's generator, config F (Karras et al., CVPR 2020): latents to styles, styles to images.

A mapping network turns a latent z into a style w. The synthesis network begins with a constant of 4 x 4 pixels and
doubles its side block by block. Each convolution has a style of its own, which scales its input channels; all channels
of the result are scaled back to a variance of 1, and noise is added. Each block adds its colours to the image.

A style belongs to an image, a kernel to all: so an image's channels are scaled before and after a convolution that is
the same for all images. That is what a kernel of its own for each image computes, and on CPUs 13 times as fast.

Parameters are plain dictionaries {"mapping" or "synthesis": {module: weights}, "noise": {layer: [side, side]}}. The
noise is what is added where none is drawn; it is not trained.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.equalized import STANDARD, Dense, activate, plain, scaled
from faceswap_jax.ops.filtering import enlarge, enlarge_convolved
from faceswap_jax.ops.layout import as_batch

FIRST = 4
"""Side of the constant, pixels."""

MAPPING_RATE = 0.01
"""At which the mapping network learns, relative to all else."""

EPSILON = 1e-8  # added to mean squares
LEAST = 4  # channels

Images = Float[Array, "b r r 3"]
Latents = Float[Array, "b latent"]
Styles = Float[Array, "b layers latent"]
Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class StyleGAN2Config:
    """Shape of a generator; the default is that of config F at 1024 px.

    Attributes:
        resolution: side of the images in pixels, a power of two, 8 or more.
        latent: length of latents and styles.
        width: of all channels, relative to the default's.
        mapping_layers: of the mapping network.
        most: channels of the smallest sides, times the width.
        dtype: type of the convolutions; parameters, styles and images are float32 always.
    """

    resolution: int = 1024
    latent: int = 512
    width: float = 1.0
    mapping_layers: int = 8
    most: int = 512
    dtype: jnp.dtype = jnp.float32

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the blocks, pixels, the smallest first."""
        count = int(math.log2(self.resolution / FIRST)) + 1
        return tuple(FIRST << i for i in range(count))

    @property
    def layers(self) -> int:
        """Number of styles of an image: of two convolutions for each side but the first, and of the last colours."""
        return 2 * len(self.sides)

    def channels(self, side: int) -> int:
        """Of a block: 32 at 1024 px, 64 at 512 px, and so on, 512 at most, times the width."""
        return max(LEAST, round(self.width * min(2**15 // side, self.most)))


class MappingNetwork(nn.Module):
    """Latents to styles."""

    config: StyleGAN2Config

    @nn.compact
    def __call__(self, z: Latents) -> Latents:
        x = z * jax.lax.rsqrt((z * z).mean(-1, keepdims=True) + EPSILON)
        for i in range(self.config.mapping_layers):
            x = activate(Dense(self.config.latent, MAPPING_RATE, name=f"layer_{i}")(x))
        return x


class Layer(nn.Module):
    """A convolution with a style, noise, a bias and LeakyReLU.

    Attributes:
        features: channels of the result.
        enlarges: whether the result is twice as large.
        dtype: type of the convolution.
    """

    features: int
    enlarges: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], w: Latents, noise: Float[Array, "#b oh ow"]
    ) -> Float[Array, "b oh ow f"]:
        x = as_batch(x)
        style = Dense(x.shape[-1], bias=1.0, name="style")(w)
        kernel = self.param("kernel", STANDARD, (3, 3, x.shape[-1], self.features))
        kernel = scaled(kernel)
        convolve = enlarge_convolved if self.enlarges else plain
        y = convolve(_times(x.astype(self.dtype), style), kernel)

        # What the result's variance is, if the input's is 1
        variance = (style * style) @ (kernel * kernel).sum((0, 1))
        y = _times(y, jax.lax.rsqrt(variance + EPSILON))

        strength = self.param("noise", nn.initializers.zeros, (1,))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        added = strength * noise[..., None] + bias
        return activate(y + added.astype(self.dtype))


class Colours(nn.Module):
    """What a block adds to the image: a 1 x 1 convolution with a style, float32."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], w: Latents) -> Float[Array, "b h w 3"]:
        style = Dense(x.shape[-1], bias=1.0, name="style")(w)
        kernel = self.param("kernel", STANDARD, (x.shape[-1], 3))
        bias = self.param("bias", nn.initializers.zeros, (3,))
        # An image's own kernel, for it is small
        own = style[:, :, None] * kernel / math.sqrt(x.shape[-1])
        y = jnp.einsum("bhwc,bcf->bhwf", x, own.astype(x.dtype))
        return y.astype(jnp.float32) + bias


class SynthesisNetwork(nn.Module):
    """Styles to images in [-1, 1] and a little beyond."""

    config: StyleGAN2Config

    @nn.compact
    def __call__(self, w: Styles, noise: Sequence[Float[Array, "#b s s"]]) -> Images:
        c = self.config
        start = self.param("start", STANDARD, (FIRST, FIRST, c.channels(FIRST)))
        x = jnp.broadcast_to(start, (w.shape[0], *start.shape))
        image = 0.0
        layer = 0
        for side in c.sides:
            block = f"side_{side}"
            if side > FIRST:
                grown = Layer(c.channels(side), True, c.dtype, name=f"{block}_enlarge")
                x = grown(x, w[:, layer], noise[layer])
                layer += 1
                image = enlarge(image)
            x = Layer(c.channels(side), False, c.dtype, name=f"{block}_conv")(
                x, w[:, layer], noise[layer]
            )
            layer += 1
            # The colours have the style of the next convolution.
            image = image + Colours(name=f"{block}_colours")(x, w[:, layer])
        return image


def init(config: StyleGAN2Config, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    mapping_key, synthesis_key, noise_key = jax.random.split(key, 3)
    z = jnp.zeros((1, config.latent))
    w = jnp.zeros((1, config.layers, config.latent))
    noise = _drawn(config, 1, noise_key)
    mapping = MappingNetwork(config).init(mapping_key, z)
    synthesis = SynthesisNetwork(config).init(synthesis_key, w, noise)
    return {
        "mapping": mapping["params"],
        "synthesis": synthesis["params"],
        "noise": {f"layer_{i}": layer[0] for i, layer in enumerate(noise)},
    }


def styles(config: StyleGAN2Config, params: Params, z: Latents) -> Latents:
    """The styles w of latents z, which are drawn from a normal distribution; of a latent only its direction counts."""
    return MappingNetwork(config).apply({"params": params["mapping"]}, z)


def synthesize(
    config: StyleGAN2Config, params: Params, w: Styles, noise_key: PRNGKeyArray | None = None
) -> Images:
    """Images in [0, 1] and a little beyond, for they are not clipped.

    Args:
        config: shape of the network.
        params: without "noise" where that is drawn.
        w: a style for each layer: `everywhere(config, w)` for the same in all.
        noise_key: draws the noise; if None, it is that of the parameters.
    """
    if noise_key is None:
        noise = [params["noise"][f"layer_{i}"][None] for i in range(config.layers - 1)]
    else:
        noise = _drawn(config, len(w), noise_key)
    images = SynthesisNetwork(config).apply({"params": params["synthesis"]}, w, noise)
    return (images + 1) / 2


def everywhere(config: StyleGAN2Config, w: Latents) -> Styles:
    """A style for all layers."""
    return jnp.repeat(w[:, None], config.layers, axis=1)


def mixed(w: Styles, other: Styles, begins: Float[Array, "b"]) -> Styles:
    """The styles of `w`, and from layer `begins` on, which is each image's own, those of `other`."""
    layer = jnp.arange(w.shape[1])
    return jnp.where((layer < begins[:, None])[..., None], w, other)


def truncated(
    w: Float[Array, "*n latent"], mean: Float[Array, "latent"], psi: float
) -> Float[Array, "*n latent"]:
    """Styles moved towards their mean: those of psi times the distance are less varied, and look better."""
    return mean + psi * (w - mean)


def _drawn(config, count, key) -> list[Float[Array, "b s s"]]:
    """Noise for each layer."""
    noise = []
    for i in range(config.layers - 1):
        side = FIRST << ((i + 1) // 2)
        noise.append(jax.random.normal(jax.random.fold_in(key, i), (count, side, side)))
    return noise


def _times(x, factors):
    """Channels times a factor of each image."""
    return x * factors[:, None, None].astype(x.dtype)
