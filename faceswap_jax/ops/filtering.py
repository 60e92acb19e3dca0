"""Images made twice and half as large through the filter [1, 3, 3, 1] / 8, and 3 x 3 convolutions that do so.

As StyleGAN2 has them (Karras et al. 2020): what is enlarged, or left out, would alias without. Beyond the border there
are zeros.

On CPUs a convolution and its filter are one 3 x 3 convolution, with a kernel composed of both: of images whose squares
of 2 x 2 pixels it reads, or makes, as channels (ops/folding.py). It has four times the products of the convolution
alone, but is fast: enlarging 8 images of 32 px, 64 to 32 channels, forward and backward, takes 26 ms of the processor;
as one convolution for each pixel of the square 144, and as a transposed convolution 202.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from faceswap_jax.ops.convolution import NHWC, conv_general_dilated
from faceswap_jax.ops.folding import fold, unfold
from faceswap_jax.ops.platforms import platform

TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)

Images = Float[Array, "b h w c"]
Kernel = Float[Array, "3 3 c f"]


def enlarge(x: Images) -> Float[Array, "b 2*h 2*w c"]:
    """Images twice as large."""
    return _doubled(_doubled(x, 1), 2)


def reduce(x: Images) -> Float[Array, "b h/2 w/2 c"]:
    """Images half as large; sides are even."""
    return _halved(_halved(x, 1), 2)


def enlarge_convolved(x: Images, kernel: Kernel) -> Float[Array, "b 2*h 2*w f"]:
    """The images with zeros between their pixels, convolved, then filtered, with four times the brightness."""
    if platform() == "cpu":
        composed = _of_enlarged(kernel).astype(x.dtype)
        squares = conv_general_dilated(x, composed, (1, 1), "SAME", dimension_numbers=NHWC)
        return unfold(squares)
    around = (2, 2)
    spread = lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (1, 1),
        (around, around),
        lhs_dilation=(2, 2),
        dimension_numbers=NHWC,
    )
    return 4 * _filtered(spread, 1)


def convolve_reduced(x: Images, kernel: Kernel) -> Float[Array, "b h/2 w/2 f"]:
    """The images filtered, then convolved with a stride of 2; sides are even."""
    if platform() == "cpu":
        composed = _of_reduced(kernel).astype(x.dtype)
        return conv_general_dilated(fold(x), composed, (1, 1), "SAME", dimension_numbers=NHWC)
    return lax.conv_general_dilated(
        _filtered(x, 2), kernel.astype(x.dtype), (2, 2), "VALID", dimension_numbers=NHWC
    )


def _doubled(x, axis):
    """Each pixel becomes two, which lie a quarter of a pixel before and behind it."""
    length = x.shape[axis]
    padded = _padded(x, axis, 1, 1)
    before = lax.slice_in_dim(padded, 0, length, axis=axis)
    behind = lax.slice_in_dim(padded, 2, length + 2, axis=axis)

    first = 0.75 * x + 0.25 * before
    second = 0.75 * x + 0.25 * behind
    shape = list(x.shape)
    shape[axis] = 2 * length
    return jnp.stack([first, second], axis + 1).reshape(shape)


def _halved(x, axis):
    """Two pixels become one, of which their neighbours are a part."""
    pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
    first, second = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    length = first.shape[axis]
    before = lax.slice_in_dim(_padded(second, axis, 1, 0), 0, length, axis=axis)
    behind = lax.slice_in_dim(_padded(first, axis, 0, 1), 1, length + 1, axis=axis)
    return (before + 3 * first + 3 * second + behind) / 8


def _filtered(x, around):
    """Images through the filter, with so many zeros around them."""
    for axis in (1, 2):
        padded = _padded(x, axis, around, around)
        length = padded.shape[axis] - len(TAPS) + 1
        total = 0.0
        for i, tap in enumerate(TAPS):
            total += tap * lax.slice_in_dim(padded, i, i + length, axis=axis)
        x = total
    return x


def _padded(x, axis, before, behind):
    """The array with zeros before and behind along an axis.

    Not jnp.pad: ONNX's writer takes no batch of any size there. XLA makes one of it.
    """
    for count, in_front in ((before, True), (behind, False)):
        if not count:
            continue
        shape = list(x.shape)
        shape[axis] = count
        zeros = jnp.zeros(shape, x.dtype)
        x = jnp.concatenate([zeros, x] if in_front else [x, zeros], axis)
    return x


def _composed(kernel) -> Float[Array, "6 6 c f"]:
    """The kernel and the filter, one after the other."""
    for axis in (0, 1):
        total = 0.0
        for i, tap in enumerate(TAPS):
            total += tap * _padded(kernel, axis, i, len(TAPS) - 1 - i)
        kernel = total
    return kernel


def _of_reduced(kernel) -> Float[Array, "3 3 4*c f"]:
    """The kernel of `convolve_reduced` for images whose squares are folded."""
    squares = _squares(_composed(kernel))
    c, f = kernel.shape[2:]
    # [square, square, row, column, c, f]
    return squares.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 4 * c, f)


def _of_enlarged(kernel) -> Float[Array, "3 3 c 4*f"]:
    """The kernel of `enlarge_convolved` whose results are folded squares.

    Pixel o of the result takes pixel j of the images by tap 2 - 2 j + o of the kernel turned round.
    """
    turned = 4 * _composed(kernel[::-1, ::-1])
    squares = _squares(turned)[::-1, :, ::-1]
    c, f = kernel.shape[2:]
    # [square, square, c, row, column, f]
    return squares.transpose(0, 2, 4, 1, 3, 5).reshape(3, 3, c, 4 * f)


def _squares(composed: Float[Array, "6 6 c f"]) -> Float[Array, "3 2 3 2 c f"]:
    """Taps by their square and by the pixel in it, along both axes."""
    return composed.reshape(3, 2, 3, 2, *composed.shape[2:])
