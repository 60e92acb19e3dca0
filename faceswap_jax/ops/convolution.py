"""3 x 3 convolutions that are fast on CPUs too, by Winograd's minimal filtering.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), F(4 x 4, 3 x 3): of every 6 x 6 pixels of the
input, 4 x 4 of the output are computed with products at 36 points in place of 144. For an axis, with the matrices B, G
and A of their section 4.3,

    tile = A^T [ sum over channels of (B^T window B) * (G kernel G^T) ] A

which is three matrix products here: of all windows with B (x) B, at every point over the channels, and with A (x) A.
The gradient of the kernel is computed at the same points. Images enlarged by 2 with nearest neighbours have windows of
4 x 4 pixels, and at 11 of the points they are zero. The coefficients go up to 8: errors are about 1e-5 of the largest
value, ten times a plain convolution's.

Narrow convolutions are XLA's own, but for the gradient of their kernel. XLA's CPU backend makes that a convolution
whose window is the whole batch, which leaves the cache: here it is computed of a few images at a time. Where the result
has very few channels, as an image has, both gradients are products with patches of its gradient: 32 images of 64 px,
64 to 3 channels, then take 87 ms forward and backward, not 232.

Results of at most 2 x 2 pixels are one product with patches of the images, of kernels and strides of any kind: a
gradient of 3 x 3 pixels and 256 channels took 103 ms on 32 images of 2 px, and takes 5.

GPUs and TPUs have such algorithms in their libraries, so they get `jax.lax.conv_general_dilated`. So do other kernels,
strides and types, shapes that gain nothing, and programs that other machines will run (`platforms.portable`). What is
compiled for a mesh is for the mesh's devices, whatever this process runs on.

Images enlarged by 2 have four times the values, which a TPU's compiler copies into one layout for the convolution and
into others for its gradients. So for TPUs the images are convolved as they are, where they have more values than the
kernel, which becomes four times as large (ops/folding.py).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from faceswap_jax.ops.folding import convolve_enlarged, unfold
from faceswap_jax.ops.platforms import platform
from faceswap_jax.ops.resample import upsample

NHWC = ("NHWC", "HWIO", "NHWC")

Images = Float[Array, "b h w c"]
Result = Float[Array, "b oh ow f"]

# Pixels times input times output channels. Less work is not worth compiling more operations; images that are enlarged
# save more of it.
LEAST_WORK = 2**24
LEAST_WORK_ENLARGED = 2**22

# Input times output channels. Up to here the transforms of images cost what the products save.
LAX_UP_TO = 64 * 64

# Pixels of a result that is one product with patches.
FEW_PIXELS = 4

# Channels of a result whose gradient is cut into patches.
FEW_CHANNELS = 4

# Values of the result's gradient, 1 MiB, that stay in a core's cache while they are multiplied.
CACHED = 2**18


def conv_general_dilated(
    lhs: Images,
    rhs: Float[Array, "kh kw c f"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    upsampled: bool = False,
    **options: Any,
) -> Result:
    """`jax.lax.conv_general_dilated`, for `flax.linen.Conv(conv_general_dilated=...)`.

    Args:
        lhs: images, in float32 or another type.
        rhs: kernel.
        window_strides: of the kernel over the images.
        padding: as of `jax.lax`.
        upsampled: whether to convolve the images enlarged by 2 with nearest neighbours.
        options: of `jax.lax.conv_general_dilated`.
    """
    if upsampled and platform() == "tpu" and lhs.size > rhs.size:
        return unfold(convolve_enlarged(lhs, rhs))
    x = upsample(lhs) if upsampled else lhs
    if _has_few_pixels(x, rhs, window_strides, padding, options):
        return _of_patches(x, rhs, window_strides, padding)
    if not _plain(x, rhs, window_strides, padding, options):
        return lax.conv_general_dilated(x, rhs, window_strides, padding, **options)
    least = LEAST_WORK_ENLARGED if upsampled else LEAST_WORK
    if _filtering_pays(x, rhs, least):
        return _convolve(upsampled, *_varying_alike(lhs, rhs))
    return _narrow(*_varying_alike(x, rhs))


def _on_this_cpu(x) -> bool:
    """Whether images of float32 are convolved on a CPU, and on one like this."""
    return platform() == "cpu" and x.dtype == jnp.float32


def _plain(x, kernel, strides, padding, options) -> bool:
    """Whether this is a plain 3 x 3 convolution on a CPU."""
    if not _on_this_cpu(x):
        return False

    *sides, channels, _ = kernel.shape
    dilations = [*options.get("lhs_dilation", ()), *options.get("rhs_dilation", ())]
    steps = {*strides, *dilations}
    grouped = channels != x.shape[-1]
    return sides == [3, 3] and not grouped and padding == "SAME" and steps == {1}


def _has_few_pixels(x, kernel, strides, padding, options) -> bool:
    """Whether the result has, of a convolution without groups and dilations on a CPU."""
    if not _on_this_cpu(x):
        return False
    dilations = {*options.get("lhs_dilation", ()), *options.get("rhs_dilation", ())}
    if kernel.shape[2] != x.shape[-1] or dilations - {1}:
        return False
    height, width = _result_sides(x, kernel, strides, padding)
    return height * width <= FEW_PIXELS


def _result_sides(x, kernel, strides, padding):
    around = _around(x, kernel, strides, padding)
    sides = zip(x.shape[1:3], around, kernel.shape, strides, strict=False)
    return [(side + sum(both) - size) // stride + 1 for side, both, size, stride in sides]


def _around(x, kernel, strides, padding):
    """Pixels added before and behind, of both axes."""
    if isinstance(padding, str):
        return lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return padding


def _of_patches(x, kernel, strides, padding):
    """The convolution as a product with what the kernel sees of each pixel."""
    height, width = _result_sides(x, kernel, strides, padding)
    x = jnp.pad(x, ((0, 0), *_around(x, kernel, strides, padding), (0, 0)))
    patches = _patches(x, kernel.shape[:2], (height, width), strides)
    return patches @ kernel.reshape(-1, kernel.shape[-1])


def _patches(x, kernel_sides, sides, strides=(1, 1)):
    """What a kernel sees at each place of the padded images, [b, oh, ow, kh * kw * c]."""
    rows, columns = (stride * (side - 1) + 1 for stride, side in zip(strides, sides, strict=True))
    seen = []
    for i in range(kernel_sides[0]):
        for j in range(kernel_sides[1]):
            seen.append(x[:, i : i + rows : strides[0], j : j + columns : strides[1]])
    return jnp.concatenate(seen, -1)


def _filtering_pays(x, kernel, least) -> bool:
    """Whether images are of whole tiles and of enough work."""
    _, h, w, channels = x.shape
    whole_tiles = h % 4 == w % 4 == 0
    return whole_tiles and h * w * channels * kernel.shape[-1] >= least


def _varying_alike(x, kernel):
    """In a `shard_map`, makes each vary over the axes of the other: gradients of a shared kernel are then added up."""
    of_x = jax.typeof(x).manual_axis_type.varying
    of_kernel = jax.typeof(kernel).manual_axis_type.varying
    x = lax.pcast(x, tuple(of_kernel - of_x), to="varying")
    kernel = lax.pcast(kernel, tuple(of_x - of_kernel), to="varying")
    return x, kernel


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(upsampled, x, kernel):
    if upsampled:
        return filtered(ENLARGED, x, kernel)
    if kernel[0, 0].size > LAX_UP_TO:
        return filtered(PLAIN, x, kernel)
    return _laxs(x, kernel)


def _laxs(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


def _transposed(kernel):
    """The kernel that brings the result's gradient back to the input."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _forward(upsampled, x, kernel):
    return _convolve(upsampled, x, kernel), (x, kernel)


def _backward(upsampled, residuals, g):
    x, kernel = residuals
    transposed = _transposed(kernel)
    if upsampled:
        # Every pixel of the input is two by two pixels enlarged, whose gradients add up.
        of_x = filtered(REDUCED, g, transposed)
        return of_x, kernel_gradient(ENLARGED, x, g)
    of_x = _convolve(False, g, transposed)
    return of_x, kernel_gradient(PLAIN, x, g)


_convolve.defvjp(_forward, _backward)


@jax.custom_vjp
def _narrow(x, kernel):
    return _laxs(x, kernel)


def _narrow_forward(x, kernel):
    return _laxs(x, kernel), (x, kernel)


def _narrow_backward(residuals, g):
    x, kernel = residuals
    if g.shape[-1] <= FEW_CHANNELS:
        return _gradients_of_patches(x, kernel, g)
    return _laxs(g, _transposed(kernel)), _gradient_in_parts(x, kernel, g)


_narrow.defvjp(_narrow_forward, _narrow_backward)


def _gradients_of_patches(x, kernel, g):
    """Gradients of images and kernel from what each pixel of the images is asked for."""
    _, h, w, features = g.shape
    around = (1, 1)
    padded = jnp.pad(g, ((0, 0), around, around, (0, 0)))
    patches = _patches(padded, (3, 3), (h, w))
    of_x = patches @ _transposed(kernel).reshape(9 * features, -1)
    of_kernel = jnp.tensordot(patches, x, ((0, 1, 2), (0, 1, 2)))
    return of_x, _transposed(of_kernel.reshape(3, 3, features, -1))


def _gradient_in_parts(x, kernel, g):
    """Gradient of the kernel, added up over as many images at a time as the cache holds."""
    parts = _parts(len(g), g[0].size)
    # Each part takes images of every device that has some: [images, part, h, w, channels]
    x = x.reshape(-1, parts, *x.shape[1:])
    g = g.reshape(-1, parts, *g.shape[1:])

    total = jnp.zeros_like(kernel)
    for i in range(parts):
        _, pull = jax.vjp(partial(_laxs, x[:, i]), kernel)
        (gradient,) = pull(g[:, i])
        total += gradient
    return total


def _parts(images: int, size: int) -> int:
    """Into how many parts a batch is cut whose images are of `size` values."""
    # Devices along axes that XLA shards by itself, as it does a batch
    mesh = jax.sharding.get_abstract_mesh()
    devices = math.prod(mesh.shape[name] for name in mesh.auto_axes)
    if images % devices:
        return 1

    each = images // devices
    cached = max(1, CACHED // size)
    return next(n for n in range(1, each + 1) if each % n == 0 and each // n <= cached)


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


# B^T, G and A^T of the source's section 4.3
_WINDOW = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL_24 = np.array(
    [
        [6, 0, 0],
        [-4, -4, -4],
        [-4, 4, -4],
        [1, 2, 4],
        [1, -2, 4],
        [0, 0, 24],
    ]
)
_KERNEL = _KERNEL_24 / 24
_TILE = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ]
)


def _filter(spread: Float[np.ndarray, "6 window"], gather: Float[np.ndarray, "tile 4"]) -> Filter:
    """F(4, 3) of windows that `spread` makes of fewer pixels, whose tiles `gather` multiplies.

    Points that are always zero then, or never used, are left out.
    """
    window = _WINDOW @ spread
    tile = gather @ _TILE
    used = window.any(1) & tile.any(0)
    return Filter(
        window=np.float32(window[used]),
        kernel=np.float32(_KERNEL[used]),
        tile=np.float32(tile[:, used]),
    )


PLAIN = _filter(np.eye(6), np.eye(4))

# Of images that are to be enlarged by 2: a window of 6 pixels shows 4, the inner ones twice.
_SHOWN = [0, 1, 1, 2, 2, 3]
ENLARGED = _filter(np.eye(4)[_SHOWN], np.eye(4))

# Every 2 x 2 pixels of the result are added up.
REDUCED = _filter(np.eye(6), np.eye(2).repeat(2, axis=1))


def filtered(f: Filter, x: Images, kernel: Float[Array, "3 3 c f"]) -> Result:
    """The 'SAME' convolution, enlarged or reduced as `f` has it."""
    images = _image_points(f, x)
    kernels = _points(f.kernel, kernel.reshape(9, *kernel.shape[2:]))
    # At every point p, over the channels
    products = jnp.einsum("pbhwc,pcf->pbhwf", images, kernels)
    tiles = _points(f.tile, products)

    # Tiles side by side: [side**2, b, h, w, f] to [b, side * h, side * w, f]
    side = len(f.tile)
    _, b, h, w, features = tiles.shape
    tiles = tiles.reshape(side, side, b, h, w, features)
    tiles = tiles.transpose(2, 3, 0, 4, 1, 5)
    return tiles.reshape(b, side * h, side * w, features)


def kernel_gradient(f: Filter, x: Images, g: Result) -> Float[Array, "3 3 c f"]:
    """Gradient of the kernel in `filtered(f, x, kernel)`, from that of the result."""
    images = _image_points(f, x)
    side = len(f.tile)
    tiles = _points(f.tile.T, _windows(g, side, side))
    products = jnp.einsum("pbhwc,pbhwf->pcf", images, tiles)
    gradient = _points(f.kernel.T, products)
    return gradient.reshape(3, 3, *gradient.shape[1:])


def _image_points(f, x):
    """The points of all windows of the images, [points, b, h, w, c]."""
    # One pixel in front, where 'SAME' convolution wants it, and behind enough for the last window
    around = (1, f.stride - 1)
    x = jnp.pad(x, ((0, 0), around, around, (0, 0)))
    return _points(f.window, _windows(x, f.stride + 2, f.stride))


def _windows(x, size, stride):
    """Pixels of all size x size windows, [size**2, b, h, w, c]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // stride, stride, w // stride, stride, c)
    # Squares of `stride` pixels: [row, column, b, squares down, squares right, c]
    x = x.transpose(2, 4, 0, 1, 3, 5)

    # The last pixels of a window are the first ones of the next square. Few large operands compile faster than a
    # slice for every pixel.
    over = size - stride
    if over:
        x = jnp.concatenate([x[:, :, :, :-1], x[:over, :, :, 1:]], 0)
        x = jnp.concatenate([x[:, :, :, :, :-1], x[:, :over, :, :, 1:]], 1)
    return x.reshape(size**2, *x.shape[2:])


def _points(matrix, x):
    """`matrix` times both axes of small squares, which lie flat in the first axis of `x`."""
    return jnp.tensordot(np.kron(matrix, matrix), x, 1)
