"""Square windows of images: seen closer, or hidden."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.ops.masks import GREY


def window(
    x: Float[Array, "b h w c"], centre: Float[Array, "b 2"], width: float, side: int
) -> Float[Array, "b side side c"]:
    """Square windows of images, sampled linearly; beyond an image's border are its outermost pixels.

    Args:
        x: images.
        centre: (x, y) of the windows, in pixels.
        width: of the windows, in pixels.
        side: of the result, in pixels.
    """
    steps = (jnp.arange(side) - (side - 1) / 2) * (width / side)

    def weights(middle, length):
        # Of each pixel of a row, or of a column, in each of the samples [b, side, length]
        places = jnp.clip(middle[:, None] + steps, 0, length - 1)
        away = jnp.abs(places[..., None] - jnp.arange(length))
        return jnp.maximum(1 - away, 0)

    rows = weights(centre[:, 1], x.shape[1])
    columns = weights(centre[:, 0], x.shape[2])
    return jnp.einsum("bsh,btw,bhwc->bstc", rows, columns, x)


def without(
    x: Float[Array, "b h w c"], centre: Float[Array, "b 2"], width: float
) -> Float[Array, "b h w c"]:
    """Images with grey in the place of square windows, see `window`."""

    def inside(middle, length):
        away = jnp.abs(jnp.arange(length) - middle[:, None])
        return jnp.clip((width + 1) / 2 - away, 0, 1)

    rows = inside(centre[:, 1], x.shape[1])[:, :, None, None]
    columns = inside(centre[:, 0], x.shape[2])[:, None, :, None]
    return x + rows * columns * (GREY - x)
