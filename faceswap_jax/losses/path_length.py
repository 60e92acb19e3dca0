"""How far images move with their styles: a generator in which it is always as far is easier to invert."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from faceswap_jax.losses.arrays import Images

Styles = Float[Array, "b layers latent"]


def path_lengths(
    generate: Callable[[Styles], Images], w: Styles, key: PRNGKeyArray
) -> Float[Array, "b"]:
    """Lengths of the slope of images in a random direction, along their styles (Karras et al. 2020, section 3.2).

    Args:
        generate: images of styles, in [-1, 1].
        w: styles, of which each image has its own.
        key: draws the directions.
    """
    images, pull = jax.vjp(generate, w)
    side = images.shape[1]
    directions = jax.random.normal(key, images.shape) / side
    (slopes,) = pull(directions)
    squares = (slopes * slopes).sum(-1)
    return jnp.sqrt(squares.mean(-1))
