"""SSIM (Wang et al. 2004) and MS-SSIM (Wang et al. 2003) of images in [0, 1].

The 11 x 11 Gaussian window is separable, so it is applied as two products with a banded matrix: on a CPU that is more
than ten times faster than the grouped convolution it equals.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from faceswap_jax.losses.arrays import Images, PerImage
from faceswap_jax.ops.resample import downsample

WINDOW = 11
SIGMA = 1.5

# (K L)^2 of the source, whose K are 0.01 and 0.03, for values of a range L of 1
C1 = 0.01**2
C2 = 0.03**2

# The exponents of MS-SSIM, from the finest scale to the coarsest
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# A negative mean has no real power, and the slope of the power at 0 is infinite.
LEAST_TERM = 1e-4

Map = Float[Array, "b h-10 w-10 c"]
"""A value for every window that lies inside the image."""


def _window(size: int) -> Float32[np.ndarray, "size-10 size"]:
    """The banded matrix whose rows are the shifted Gaussian window."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    taps /= taps.sum()
    rows = np.zeros((size - WINDOW + 1, size), np.float32)
    for i, row in enumerate(rows):
        row[i : i + WINDOW] = taps
    return rows


def _filter(x: Images) -> Map:
    """Weighted means of all windows."""
    _, height, width, _ = x.shape
    x = jnp.einsum("ih,bhwc->biwc", _window(height), x)
    return jnp.einsum("iw,bhwc->bhic", _window(width), x)


def _terms(x: Images, y: Images) -> tuple[Map, Map]:
    """The luminance term l and the contrast-structure term cs; SSIM is their product."""
    mean_x = _filter(x)
    mean_y = _filter(y)
    square_x = mean_x**2
    square_y = mean_y**2
    product = mean_x * mean_y

    covariance = _filter(x * y) - product
    variances = _filter(x * x) - square_x + _filter(y * y) - square_y
    luminance = (2 * mean_x * mean_y + C1) / (square_x + square_y + C1)
    contrast_structure = (2 * covariance + C2) / (variances + C2)
    return luminance, contrast_structure


def ssim_map(x: Images, y: Images) -> Map:
    """SSIM around every pixel whose window lies inside the image; sides are at least 11."""
    luminance, contrast_structure = _terms(x, y)
    return luminance * contrast_structure


def ssim(x: Images, y: Images) -> PerImage:
    """Mean SSIM of each image."""
    return ssim_map(x, y).mean((1, 2, 3))


def scales(side: int) -> int:
    """Number of MS-SSIM scales whose images are at least one window wide, 5 at most."""
    halvings = int(math.log2(side / WINDOW))
    return min(len(MS_WEIGHTS), halvings + 1)


def scale_terms(x: Images, y: Images) -> list[tuple[float, Map]]:
    """The exponent and the map of every scale of MS-SSIM, each scale half as large as the one before.

    The maps are those of contrast and structure, the last one that of SSIM; the exponents are the standard ones,
    renormalised over the scales that fit.
    """
    count = scales(min(x.shape[1:3]))
    weights = MS_WEIGHTS[:count]
    terms = []
    for i, weight in enumerate(weights):
        luminance, term = _terms(x, y)
        # Luminance counts at the coarsest scale alone.
        if i == count - 1:
            term = luminance * term
        terms.append((weight / sum(weights), term))
        x = downsample(x)
        y = downsample(y)
    return terms


def ms_ssim(x: Images, y: Images) -> PerImage:
    """MS-SSIM of each image with the standard weights, renormalised over the scales that fit."""
    product = 1.0
    for weight, term in scale_terms(x, y):
        mean = term.mean((1, 2))
        product *= jnp.maximum(mean, LEAST_TERM) ** weight
    return product.mean(-1)
