"""Images twice and half as large."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def upsample(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Nearest-neighbour upsampling by 2."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def upsample_linear(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Bilinear upsampling by 2; beyond the border the outermost pixels are repeated."""
    b, h, w, c = x.shape
    # Each new row lies a quarter of a pixel before or behind an old one.
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    before = 0.75 * x + 0.25 * padded[:, :-2]
    behind = 0.75 * x + 0.25 * padded[:, 2:]
    x = jnp.stack([before, behind], 2).reshape(b, 2 * h, w, c)

    # Columns likewise
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    before = 0.75 * x + 0.25 * padded[:, :, :-2]
    behind = 0.75 * x + 0.25 * padded[:, :, 2:]
    return jnp.stack([before, behind], 3).reshape(b, 2 * h, 2 * w, c)


def downsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """2 x 2 average pooling; an odd last row or column is left out."""
    b, h, w, c = x.shape
    rows = h // 2
    columns = w // 2
    even = x[:, : 2 * rows, : 2 * columns]
    squares = even.reshape(b, rows, 2, columns, 2, c)
    return squares.mean((2, 4))
