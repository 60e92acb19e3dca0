"""Random light, colour and blur, on the device, as part of the compiled step."""

from typing import Protocol

import dm_pix
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Strengths(Protocol):
    """How far each property may change; zero leaves it alone and out of the compiled program.

    Attributes:
        brightness: added to all channels, ± this.
        contrast: factor of the distance from the picture's mean colour, 1 ± this.
        saturation: factor of the saturation, 1 ± this.
        hue: turn of the colour circle, ± this; 0.5 reaches every hue.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float


def photometric(
    key: PRNGKeyArray, pictures: Float[Array, "*n h w 3"], strengths: Strengths
) -> Float[Array, "*n h w 3"]:
    """Changes brightness, contrast, saturation and hue of every picture by amounts of its own, drawn uniformly.

    A system that reconstructs what it sees should see the changed picture and be asked for the unchanged one: then it
    learns that light and tint do not belong to the performance. Asked for the changed one, a decoder would learn
    colours that its persona never has.

    Args:
        key: decides on the amounts.
        pictures: RGB, 0..1; leading axes count pictures and keep their sharding.
        strengths: such as `config.augment`.

    Returns:
        RGB, 0..1; the very same array if all strengths are zero.
    """
    keys = jax.random.split(key, 4)

    def draw(key: PRNGKeyArray, strength: float, axes: int) -> Float[Array, "..."]:
        amounts = jax.random.uniform(key, pictures.shape[:-3], minval=-strength, maxval=strength)
        return jnp.expand_dims(amounts, tuple(range(-axes, 0)))

    if strengths.brightness:
        pictures = dm_pix.adjust_brightness(pictures, draw(keys[0], strengths.brightness, 3))
    if strengths.contrast:
        pictures = dm_pix.adjust_contrast(pictures, 1 + draw(keys[1], strengths.contrast, 3))
    if strengths.brightness or strengths.contrast:
        pictures = pictures.clip(0, 1)
    if strengths.saturation:
        pictures = dm_pix.adjust_saturation(pictures, 1 + draw(keys[2], strengths.saturation, 2))
    if strengths.hue:
        pictures = dm_pix.adjust_hue(pictures, draw(keys[3], strengths.hue, 2))
    return pictures


def blurred(key: PRNGKeyArray, x: Float[Array, "b s s c"], most: float) -> Float[Array, "b s s c"]:
    """Every picture blurred by a Gaussian of its own standard deviation, 0 to `most` pixels.

    Along each axis a product with a matrix: grouped convolutions are slow on CPUs.
    """
    sigma = most * jax.random.uniform(key, (len(x), 1, 1)) + 1e-3
    position = jnp.arange(x.shape[1])
    kernel = jnp.exp(-0.5 * ((position[:, None] - position) / sigma) ** 2)
    kernel /= kernel.sum(-1, keepdims=True)
    return jnp.einsum("bij,bkl,bjlc->bikc", kernel, kernel, x)
