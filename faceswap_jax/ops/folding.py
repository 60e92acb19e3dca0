"""Images with their squares of 2 x 2 pixels folded into channels, and convolutions of them.

[b, h, w, c] becomes [b, h/2, w/2, 4c]: the same values in half as many rows and columns, channels in the order row,
column, channel.

A TPU has 128 lanes for the channels of a pixel. Of 16 channels it would leave seven eighths empty, in memory as in its
products. A folded kernel has four times as many products, three quarters of them with zeros, and these cost less than
empty lanes.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

Images = Float[Array, "b h w c"]
Folded = Float[Array, "b h/2 w/2 4*c"]
Kernel = Float[Array, "k k c f"]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def fold(x: Images) -> Folded:
    """Images with even sides, folded."""
    b, h, w, c = x.shape
    squares = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def unfold(x: Folded) -> Images:
    """The inverse of `fold`."""
    b, h, w, c = x.shape
    squares = x.reshape(b, h, w, 2, 2, c // 4)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)


def downsample_folded(x: Folded) -> Float[Array, "b h/2 w/2 c"]:
    """The means of the squares, which are no longer folded."""
    # A product: a sum over a part of the channels would need another layout.
    means = np.tile(np.eye(x.shape[-1] // 4) / 4, (4, 1))
    return x @ means.astype(x.dtype)


def convolve_folded(x: Folded, kernel: Kernel) -> Float[Array, "b h/2 w/2 4*f"]:
    """The 'SAME' convolution of folded images, with a kernel of 1 x 1 or 3 x 3."""
    taps = _taps(len(kernel))
    folded = jnp.einsum("paqt,rbsu,tucf->abqscprf", taps, taps, kernel, precision="highest")
    return _convolve(x, folded, kernel)


def convolve_enlarged(x: Images, kernel: Kernel) -> Float[Array, "b h w 4*f"]:
    """The 'SAME' convolution of images enlarged by 2 with nearest neighbours, folded.

    Nothing is enlarged: where all pixels of a square are the same, their taps add up.
    """
    taps = _taps(len(kernel)).sum(2)
    folded = jnp.einsum("pat,rbu,tucf->abcprf", taps, taps, kernel, precision="highest")
    return _convolve(x, folded, kernel)


def _convolve(x, folded, kernel):
    sides = folded.shape[:2]
    folded = folded.reshape(*sides, x.shape[-1], 4 * kernel.shape[-1])
    folded = folded.astype(x.dtype)
    return lax.conv_general_dilated(x, folded, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def _taps(size: int) -> Float32[np.ndarray, "2 squares 2 size"]:
    """Which tap of a kernel sees what along an axis: [pixel of the result, square, pixel in this square, tap]."""
    reach = size // 2
    around = (reach + 1) // 2
    taps = np.zeros((2, 2 * around + 1, 2, size), np.float32)
    for pixel in range(2):
        for tap in range(size):
            square, inside = divmod(pixel + tap - reach, 2)
            taps[pixel, around + square, inside, tap] = 1
    return taps
