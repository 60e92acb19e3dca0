"""ReStyle (Alaluf, Patashnik and Cohen-Or, ICCV 2021): a picture into the latent space W+ of a generator, step by step.

The encoder sees the picture and what the generator has made so far, and says how the styles are to change. The first
image is that of the generator's mean style.

Weights of a generator are {"params": of models/stylegan2.py, "mean": its mean style [latent]}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from faceswap_jax.models import psp, stylegan2
from faceswap_jax.ops.resample import downsample

Pictures = Float[Array, "b s s 3"]
Styles = Float[Array, "b styles latent"]
Weights = Mapping[str, PyTree]


@dataclass(frozen=True)
class ReStyleConfig:
    """Shapes of both networks.

    Attributes:
        encoder: of the encoder, whose `side` is that of the pictures.
        generator: of the generator, whose images are as large or larger by a power of two.
        refinements: how often the encoder sees what was made.
    """

    encoder: psp.EncoderConfig
    generator: stylegan2.StyleGAN2Config
    refinements: int = 5


class Made(NamedTuple):
    """Styles, and what the generator makes of them.

    Attributes:
        styles: of each picture.
        images: not clipped, as large as the generator makes them.
        seen: the same as large as the encoder reads pictures.
    """

    styles: Styles
    images: Float[Array, "b r r 3"]
    seen: Pictures


def generate(
    config: ReStyleConfig, generator: Weights, styles: Styles, noise_key: PRNGKeyArray | None = None
) -> Made:
    """The images of styles; with a key, of noise that is drawn anew."""
    images = stylegan2.synthesize(config.generator, generator["params"], styles, noise_key)
    return Made(styles, images, reduced(images, config.encoder.side))


def begin(config: ReStyleConfig, generator: Weights, count: int) -> Made:
    """What refinement begins with, for so many pictures: the mean style, and its image."""
    layers = config.generator.layers
    mean = jnp.broadcast_to(generator["mean"], (1, layers, config.generator.latent))
    one = generate(config, generator, mean)
    return jax.tree.map(lambda array: jnp.broadcast_to(array, (count, *array.shape[1:])), one)


def refine(
    config: ReStyleConfig,
    params: psp.Params,
    statistics: psp.Statistics,
    generator: Weights,
    pictures: Pictures,
    made: Made,
    *,
    train: bool = False,
    noise_key: PRNGKeyArray | None = None,
    begun: Int[Array, ""] | int | None = None,
) -> tuple[Made, psp.Statistics]:
    """One step: what was made, nearer to the pictures; and the statistics of the encoder's normalisations.

    Of an encoder with deltas, only the first `begun` styles are changed each by itself. The others are changed as the
    first one, and their heads learn nothing.
    """
    both = jnp.concatenate([pictures, made.seen], -1)
    change, statistics = psp.apply(config.encoder, params, statistics, both, train)
    if config.encoder.deltas and begun is not None:
        first = jnp.broadcast_to(change[:, :1], change.shape)
        change = stylegan2.mixed(change, first, jnp.full(len(change), begun))
    return generate(config, generator, made.styles + change, noise_key), statistics


def invert(
    config: ReStyleConfig,
    params: psp.Params,
    statistics: psp.Statistics,
    generator: Weights,
    pictures: Pictures,
) -> list[Made]:
    """What each step of refinement makes of pictures in [0, 1], the mean image first."""
    found = [begin(config, generator, pictures.shape[0])]
    for _ in range(config.refinements):
        made, _ = refine(config, params, statistics, generator, pictures, found[-1])
        found.append(made)
    return found


def reduced(images: Float[Array, "b r r 3"], side: int) -> Pictures:
    """Images as large as an encoder reads them."""
    while images.shape[1] > side:
        images = downsample(images)
    return images
