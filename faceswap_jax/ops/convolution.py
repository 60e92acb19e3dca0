"""3 x 3 convolutions that are fast on CPUs too, by Winograd's minimal filtering.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), F(4 x 4, 3 x 3): of every 6 x 6 pixels of the
input, 4 x 4 of the output are computed with products at 36 points in place of 144. For an axis, with the matrices B, G
and A of their section 4.3,

    tile = A^T [ sum over channels of (B^T window B) * (G kernel G^T) ] A

which is three matrix products here: of all windows with B (x) B, at every point over the channels, and with A (x) A.
The gradient of the kernel is computed at the same points, where XLA's CPU backend has a convolution whose window is the
whole picture. Pictures enlarged by 2 with nearest neighbours have windows of 4 x 4 pixels, and at 11 of the points they
are zero. The coefficients go up to 8: errors are about 1e-5 of the largest value, ten times a plain convolution's.

GPUs and TPUs have such algorithms in their libraries, so they get `jax.lax.conv_general_dilated`; and so do other
kernels, strides and types, and shapes that gain nothing.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from faceswap_jax.ops.resample import upsample

NHWC = ("NHWC", "HWIO", "NHWC")
LEAST_WORK = (
    2**24
)  # pixels times input times output channels, which is what compiling more operations must be worth
LAX_UP_TO = (
    64 * 64
)  # input times output channels; above, products outweigh the transforms of pictures


def conv_general_dilated(
    lhs: Float[Array, "b h w c"],
    rhs: Float[Array, "kh kw c f"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    upsampled: bool = False,
    **options: Any,
) -> Float[Array, "b oh ow f"]:
    """`jax.lax.conv_general_dilated`, for `flax.linen.Conv(conv_general_dilated=...)`.

    With `upsampled`, of pictures enlarged by 2 with nearest neighbours, which are given as they were before.
    """
    x = upsample(lhs) if upsampled else lhs
    if _pays(x, rhs, window_strides, padding, options):
        return _convolve(upsampled, *_varying_alike(lhs, rhs))
    return lax.conv_general_dilated(x, rhs, window_strides, padding, **options)


def _pays(x, kernel, strides, padding, options) -> bool:
    """Whether filtering pays: a plain 3 x 3 convolution of pictures of whole tiles, on a CPU."""
    plain = kernel.shape[:2] == (3, 3) and kernel.shape[2] == x.shape[3] and padding == "SAME"
    steps = {*strides, *options.get("lhs_dilation", ()), *options.get("rhs_dilation", ())}
    (_, h, w, c), features = x.shape, kernel.shape[-1]
    worth = h % 4 == w % 4 == 0 and h * w * c * features > LEAST_WORK
    return (
        plain
        and steps == {1}
        and worth
        and x.dtype == jnp.float32
        and jax.default_backend() == "cpu"
    )


def _varying_alike(x, kernel):
    """In a `shard_map`, each varying over what the other does: the gradient of a shared kernel is then added up."""
    axes, others = (jax.typeof(a).manual_axis_type.varying for a in (x, kernel))
    x, kernel = (
        lax.pcast(x, tuple(others - axes), to="varying"),
        lax.pcast(kernel, tuple(axes - others), to="varying"),
    )
    return x, kernel


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(upsampled, x, kernel):
    if upsampled:
        return filtered(ENLARGED, x, kernel)
    if kernel[0, 0].size > LAX_UP_TO:
        return filtered(PLAIN, x, kernel)
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


def _forward(upsampled, x, kernel):
    return _convolve(upsampled, x, kernel), (x, kernel)


def _backward(upsampled, residuals, g):
    x, kernel = residuals
    transposed = kernel[::-1, ::-1].swapaxes(2, 3)
    # Every pixel of the input is two by two pixels enlarged, whose gradients add up.
    input_gradient = (
        filtered(REDUCED, g, transposed) if upsampled else _convolve(False, g, transposed)
    )
    return input_gradient, kernel_gradient(ENLARGED if upsampled else PLAIN, x, g)


_convolve.defvjp(_forward, _backward)


class Filter(NamedTuple):
    """Minimal filtering along an axis.

    Attributes:
        window: B^T, [points, pixels of a window]; windows overlap by two pixels.
        kernel: G, [points, 3].
        tile: A^T, [pixels of a tile, points].
    """

    window: np.ndarray
    kernel: np.ndarray
    tile: np.ndarray

    @property
    def stride(self) -> int:
        """Pixels from one window to the next."""
        return self.window.shape[1] - 2


def _filter(spread: Float[np.ndarray, "6 window"], gather: Float[np.ndarray, "tile 4"]) -> Filter:
    """F(4, 3) of windows that `spread` makes of fewer pixels, whose tiles `gather` multiplies.

    Points that are always zero then, or never used, are left out.
    """
    window = np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    )
    kernel = (
        np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
    )
    tile = np.array(
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    )
    window, tile = window @ spread, gather @ tile
    used = window.any(1) & tile.any(0)
    return Filter(*(np.float32(matrix) for matrix in (window[used], kernel[used], tile[:, used])))


PLAIN = _filter(np.eye(6), np.eye(4))
ENLARGED = _filter(
    np.eye(4)[[0, 1, 1, 2, 2, 3]], np.eye(4)
)  # of pictures that are to be enlarged by 2
REDUCED = _filter(
    np.eye(6), np.eye(2).repeat(2, axis=1)
)  # every 2 x 2 pixels of the result added up


def filtered(
    f: Filter, x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c f"]
) -> Float[Array, "b oh ow f"]:
    """The 'SAME' convolution, enlarged or reduced as `f` has it."""
    points = _points(f.window, _windows(_padded(f, x), f.stride + 2, f.stride))
    products = jnp.einsum(
        "pbhwc,pcf->pbhwf", points, _points(f.kernel, kernel.reshape(9, *kernel.shape[2:]))
    )
    tiles, side = _points(f.tile, products), len(f.tile)
    _, b, h, w, features = tiles.shape
    tiles = tiles.reshape(side, side, b, h, w, features).transpose(2, 3, 0, 4, 1, 5)
    return tiles.reshape(b, side * h, side * w, features)


def kernel_gradient(
    f: Filter, x: Float[Array, "b h w c"], g: Float[Array, "b oh ow f"]
) -> Float[Array, "3 3 c f"]:
    """Gradient of the kernel in `filtered(f, x, kernel)`, from that of the result."""
    points = _points(f.window, _windows(_padded(f, x), f.stride + 2, f.stride))
    products = _points(f.tile.T, _windows(g, len(f.tile), len(f.tile)))
    gradient = _points(f.kernel.T, jnp.einsum("pbhwc,pbhwf->pcf", points, products))
    return gradient.reshape(3, 3, *gradient.shape[1:])


def _padded(f, x):
    """One pixel in front, where 'SAME' convolution wants it, and behind enough for the last window."""
    around = (1, f.stride - 1)
    return jnp.pad(x, ((0, 0), around, around, (0, 0)))


def _windows(x, size, stride):
    """Pixels of all size x size windows, [size**2, b, h, w, c]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // stride, stride, w // stride, stride, c)
    h, w = (n // stride - (size - 1) // stride for n in (h, w))
    at = [divmod(i, stride) for i in range(size)]
    return jnp.stack(
        [x[:, down : down + h, i, right : right + w, j] for down, i in at for right, j in at]
    )


def _points(matrix, x):
    """`matrix` times both axes of small squares, which lie flat in the first axis of `x`."""
    return jnp.tensordot(np.kron(matrix, matrix), x, 1)
