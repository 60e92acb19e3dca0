"""Images twice and half as large."""

from jaxtyping import Array, Float


def upsample(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Nearest-neighbour upsampling by 2."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def downsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """2 x 2 average pooling; an odd last row or column is left out."""
    b, h, w, c = x.shape
    rows = h // 2
    columns = w // 2
    even = x[:, : 2 * rows, : 2 * columns]
    squares = even.reshape(b, rows, 2, columns, 2, c)
    return squares.mean((2, 4))
