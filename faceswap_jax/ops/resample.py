"""Images twice and half as large."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from faceswap_jax.ops.platforms import platform


def upsample(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Nearest-neighbour upsampling by 2."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def upsample_linear(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Bilinear upsampling by 2; beyond the border the outermost pixels are repeated."""
    b, h, w, c = x.shape
    # Each new row lies a quarter of a pixel before or behind an old one.
    above, below = _neighbours(x, 1)
    before = 0.75 * x + 0.25 * above
    behind = 0.75 * x + 0.25 * below
    x = jnp.stack([before, behind], 2).reshape(b, 2 * h, w, c)

    # Columns likewise
    left, right = _neighbours(x, 2)
    before = 0.75 * x + 0.25 * left
    behind = 0.75 * x + 0.25 * right
    return jnp.stack([before, behind], 3).reshape(b, 2 * h, 2 * w, c)


def _neighbours(x, axis):
    """The pixels before and behind along an axis, those at the border themselves.

    Not jnp.pad: it also joins nothing to the batch, which ONNX does not understand.
    """
    length = x.shape[axis]
    if length == 1:
        return x, x

    def part(start, stop):
        return lax.slice_in_dim(x, start, stop, axis=axis)

    before = jnp.concatenate([part(0, 1), part(0, length - 1)], axis)
    behind = jnp.concatenate([part(1, length), part(length - 1, length)], axis)
    return before, behind


def downsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """2 x 2 average pooling; an odd last row or column is left out."""
    # A TPU would copy the squares into another layout.
    if platform() == "tpu":
        return pooled(x)
    b, h, w, c = x.shape
    rows = h // 2
    columns = w // 2
    even = x[:, : 2 * rows, : 2 * columns]
    squares = even.reshape(b, rows, 2, columns, 2, c)
    return squares.mean((2, 4))


def pooled(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """The same as one operation, whose gradient is slow on CPUs."""
    squares = (1, 2, 2, 1)
    sums = lax.reduce_window(x.astype(jnp.float32), 0.0, lax.add, squares, squares, "VALID")
    return (sums / 4).astype(x.dtype)


def max_pooled(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """Maxima of 2 x 2 pixels; sides are even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
