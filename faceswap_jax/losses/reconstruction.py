"""Reconstruction losses of the comb network (US 2020/0372621, Eq. 1 and 2)."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.losses.arrays import Images, Masks, PerImage
from faceswap_jax.losses.ssim import ms_ssim, ssim
from faceswap_jax.ops.windows import window

SINGLE_SCALE = 16
"""Side in pixels up to which one scale of SSIM is used: its window of 11 px fits no smaller scale."""

Masking = Literal["target", "both"]


def dissimilarity(x: Images, y: Images) -> PerImage:
    """f_l of the source: 1 - SSIM up to 16 px, images smaller than 16 px enlarged to it; 1 - MS-SSIM above."""
    side = x.shape[1]
    if side > SINGLE_SCALE:
        return 1 - ms_ssim(x, y)
    factor = SINGLE_SCALE // side
    return 1 - ssim(_enlarged(x, factor), _enlarged(y, factor))


def closer(
    x: Images, y: Images, centres: Sequence[Float[Array, "b 2"]], widths: Sequence[float]
) -> PerImage:
    """The mean dissimilarity of square windows, which are seen in half as many pixels as the images have.

    Ours, of no source. SSIM compares contrasts: in a window of an eye those of the pupil count, in the face they drown.

    Args:
        x: images.
        y: images.
        centres: (x, y) of each window, in pixels.
        widths: of each window, in pixels.
    """
    found = []
    for centre, width in zip(centres, widths, strict=True):
        seen = [window(images, centre, width, x.shape[1] // 2) for images in (x, y)]
        found.append(dissimilarity(*seen))
    return sum(found) / len(found)


def _enlarged(x: Images, factor: int) -> Images:
    return x.repeat(factor, axis=1).repeat(factor, axis=2)


def compared(
    target: Images,
    mask: Masks,
    output: Images,
    masking: Masking,
) -> tuple[Images, Images]:
    """The pair of images that a loss compares: masking "target" is Eq. 1, "both" is Eq. 2 (background-invariant)."""
    if masking == "both":
        output = output * mask
    return target * mask, output


def l1(x: Images, y: Images, mask: Masks, emphasis: Masks | float = 1.0) -> PerImage:
    """Mean absolute difference over pixels and channels, weighted by the mask; 0 where the mask is empty.

    Args:
        x: images.
        y: images.
        mask: where they count.
        emphasis: how much more than others a pixel counts; the mean is not divided by it.
    """
    difference = jnp.sum(jnp.abs(x - y) * mask * emphasis, (1, 2, 3))
    # Every pixel of the mask has three channels.
    values = 3 * jnp.sum(mask, (1, 2, 3))
    return difference / jnp.maximum(values, 1.0)
