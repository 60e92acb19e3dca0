"""Random light, colour and blur, on the device, as part of the compiled step."""

from typing import Protocol

import dm_pix
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Images = Float[Array, "*n h w 3"]
Square = Float[Array, "b s s c"]


class Strengths(Protocol):
    """How far each property may change; zero leaves it alone and out of the compiled program.

    Attributes:
        brightness: added to all channels, ± this.
        contrast: factor of the distance from the image's mean colour, 1 ± this.
        saturation: factor of the saturation, 1 ± this.
        hue: turn of the colour circle, ± this; 0.5 reaches every hue.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float


def photometric(key: PRNGKeyArray, images: Images, strengths: Strengths) -> Images:
    """Changes brightness, contrast, saturation and hue of every image by amounts of its own, drawn uniformly.

    A system that reconstructs what it sees should see the changed image and be asked for the unchanged one: then it
    learns that light and tint do not belong to the performance. Asked for the changed one, a decoder would learn
    colours that its persona never has.

    Args:
        key: decides on the amounts.
        images: RGB, 0..1; leading axes count images and keep their sharding.
        strengths: such as `config.augment`.

    Returns:
        RGB, 0..1; the very same array if all strengths are zero.
    """
    brightness_key, contrast_key, saturation_key, hue_key = jax.random.split(key, 4)

    def draw(key: PRNGKeyArray, strength: float) -> Float[Array, "*n 1 1"]:
        """One amount for each image, for all pixels of a channel."""
        amounts = jax.random.uniform(key, images.shape[:-3], minval=-strength, maxval=strength)
        return amounts[..., None, None]

    if strengths.brightness:
        amounts = draw(brightness_key, strengths.brightness)
        images = dm_pix.adjust_brightness(images, amounts[..., None])
    if strengths.contrast:
        factors = 1 + draw(contrast_key, strengths.contrast)
        images = dm_pix.adjust_contrast(images, factors[..., None])
    # Saturation and hue are defined for 0..1 alone.
    if strengths.brightness or strengths.contrast:
        images = images.clip(0, 1)
    if strengths.saturation:
        factors = 1 + draw(saturation_key, strengths.saturation)
        images = dm_pix.adjust_saturation(images, factors)
    if strengths.hue:
        turns = draw(hue_key, strengths.hue)
        images = dm_pix.adjust_hue(images, turns)
    return images


def blurred(key: PRNGKeyArray, x: Square, most: float) -> Square:
    """Every image blurred by a Gaussian of its own standard deviation, 0 to `most` pixels.

    Along each axis it is a product with a matrix: grouped convolutions are slow on CPUs.
    """
    # Never 0, by which it divides
    sigma = most * jax.random.uniform(key, (len(x), 1, 1)) + 1e-3

    # [b, s, s]: what each pixel takes from every other, in sum 1 up to the border
    position = jnp.arange(x.shape[1])
    distance = position[:, None] - position
    kernel = jnp.exp(-0.5 * (distance / sigma) ** 2)
    kernel /= kernel.sum(-1, keepdims=True)
    return jnp.einsum("bij,bkl,bjlc->bikc", kernel, kernel, x)
