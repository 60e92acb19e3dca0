"""Images sampled at given places: what a network says of where each pixel of its result comes from.

Plain gathers and arithmetic, a gather for each of the four neighbours. Their transpose adds up what the places want of
an image, so gradients cost about as much as two more forward passes. They have the batch as an axis of their own, so
that XLA splits them over devices as it splits the batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

Places = Float[Array, "b n m 2"]
"""(x, y): -1 is the centre of the first column or row, 1 that of the last."""


def identity_places(height: int, width: int) -> Float32[np.ndarray, "h w 2"]:
    """The places at which sampling changes nothing."""
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)
    return np.stack(np.meshgrid(x, y), axis=-1)


def sample(images: Float[Array, "b h w c"], places: Places) -> Float[Array, "b n m c"]:
    """Images at the places, bilinearly; what lies outside of an image is zero.

    So samples Jaderberg et al., Spatial Transformer Networks, 2015, Eq. 5.

    Args:
        images: of any kind.
        places: where to look in each of them.
    """
    b, h, w, c = images.shape
    x = (places[..., 0] + 1) * ((w - 1) / 2)
    y = (places[..., 1] + 1) * ((h - 1) / 2)
    left = jnp.floor(x)
    top = jnp.floor(y)
    pixels = images.reshape(b, h * w, c)

    # Not 1 minus the distance: that has no slope at the centres of pixels, where a training begins.
    columns = (left, 1 - (x - left)), (left + 1, x - left)
    rows = (top, 1 - (y - top)), (top + 1, y - top)
    total = 0.0
    for row, height in rows:
        for column, width in columns:
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            number = row.clip(0, h - 1) * w + column.clip(0, w - 1)
            weight = jnp.where(inside, height * width, 0)
            total += weight[..., None] * _take(pixels, number.astype(jnp.int32))
    return total


def _take(pixels, numbers):
    """Of each image the pixels of these numbers, [b, n, m, c]."""
    return jax.vmap(lambda image, chosen: image[chosen])(pixels, numbers)
