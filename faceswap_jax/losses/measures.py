"""Scores of images in [0, 1] against a reference, inside a mask."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.losses.ssim import WINDOW, scale_terms, ssim_map
from faceswap_jax.ops.resample import downsample


def psnr(
    x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]
) -> Float[Array, "b"]:
    """Peak signal-to-noise ratio in dB of the masked pixels, at most 100 (equal images)."""
    error = _mean((x - y) ** 2, mask).mean(-1)
    return -10 * jnp.log10(jnp.maximum(error, 1e-10))


def ssim(
    x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]
) -> Float[Array, "b"]:
    """SSIM averaged over the windows whose centre lies in the mask."""
    return _mean(ssim_map(x, y), _windows(mask)).mean(-1)


def ms_ssim(
    x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]
) -> Float[Array, "b"]:
    """MS-SSIM whose every scale is averaged over the windows with their centre in the mask.

    The mask is downsampled along with the images. With a mask of ones this is `losses.ssim.ms_ssim`. The windows of
    the coarsest of five scales are 176 px wide: of a small face in a large frame they see the surroundings, too.
    """
    result = 1.0
    for weight, term in scale_terms(x, y):
        result *= jnp.maximum(_mean(term, _windows(mask)), 1e-4) ** weight
        mask = downsample(mask)
    return result.mean(-1)


def _windows(mask: Float[Array, "b h w 1"]) -> Float[Array, "b h-10 w-10 1"]:
    """The mask at the centres of the SSIM windows."""
    edge = WINDOW // 2
    return mask[:, edge:-edge, edge:-edge]


def _mean(values: Float[Array, "b h w c"], weight: Float[Array, "b h w 1"]) -> Float[Array, "b c"]:
    """Weighted mean over the pixels; 0 where no pixel has any weight."""
    return jnp.sum(values * weight, (1, 2)) / jnp.maximum(jnp.sum(weight, (1, 2)), 1e-6)
