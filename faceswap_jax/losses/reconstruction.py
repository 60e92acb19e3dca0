"""Reconstruction losses of the comb network (US 2020/0372621, Eq. 1 and 2)."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.losses.ssim import ms_ssim, ssim

Masking = Literal["target", "both"]


def dissimilarity(x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]) -> Float[Array, "b"]:
    """f_l of the source: 1 - SSIM up to 16 px, images smaller than 16 px enlarged to it; 1 - MS-SSIM above."""
    side = x.shape[1]
    if side > 16:
        return 1 - ms_ssim(x, y)
    return 1 - ssim(_enlarged(x, 16 // side), _enlarged(y, 16 // side))


def _enlarged(x: Float[Array, "b h w 3"], factor: int) -> Float[Array, "b fh fw 3"]:
    return x.repeat(factor, axis=1).repeat(factor, axis=2)


def compared(
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "b h w 1"],
    output: Float[Array, "b h w 3"],
    masking: Masking,
) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w 3"]]:
    """The pair of images that a loss compares: masking "target" is Eq. 1, "both" is Eq. 2 (background-invariant)."""
    if masking == "both":
        output = output * mask
    return target * mask, output


def l1(
    x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]
) -> Float[Array, "b"]:
    """Mean absolute difference over the mask."""
    difference = jnp.sum(jnp.abs(x - y) * mask, (1, 2, 3))
    values = 3 * jnp.sum(mask, (1, 2, 3))  # three channels a pixel
    return difference / jnp.maximum(values, 1.0)
