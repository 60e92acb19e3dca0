"""Scores of images in [0, 1] against a reference, inside a mask; and of what is told apart by a number."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from faceswap_jax.losses.arrays import Images, Masks, PerImage
from faceswap_jax.losses.ssim import LEAST_TERM, WINDOW, scale_terms, ssim_map
from faceswap_jax.ops.resample import downsample


def psnr(x: Images, y: Images, mask: Masks) -> PerImage:
    """Peak signal-to-noise ratio in dB of the masked pixels, at most 100 (equal images)."""
    squares = _mean((x - y) ** 2, mask)
    error = squares.mean(-1)
    return -10 * jnp.log10(jnp.maximum(error, 1e-10))


def ssim(x: Images, y: Images, mask: Masks) -> PerImage:
    """SSIM averaged over the windows whose centre lies in the mask."""
    per_channel = _mean(ssim_map(x, y), _at_windows(mask))
    return per_channel.mean(-1)


def ms_ssim(x: Images, y: Images, mask: Masks) -> PerImage:
    """MS-SSIM whose every scale is averaged over the windows with their centre in the mask.

    The mask is downsampled along with the images. With a mask of ones this is `losses.ssim.ms_ssim`. The windows of
    the coarsest of five scales are 176 px wide: of a small face in a large frame they see the surroundings, too.
    """
    product = 1.0
    for weight, term in scale_terms(x, y):
        mean = _mean(term, _at_windows(mask))
        product *= jnp.maximum(mean, LEAST_TERM) ** weight
        mask = downsample(mask)
    return product.mean(-1)


def roc_area(
    scores: Float[Array, "*n"], positive: Bool[Array, "*n"], negative: Bool[Array, "*n"]
) -> Float[Array, ""]:
    """Area under the ROC curve: how often a positive scores above a negative; equal scores count as half.

    What is neither counts nothing. NaN if there is none of either.
    """
    # In ascending order; all others lie above whatever is looked up.
    others = jnp.sort(jnp.where(negative, scores, jnp.inf).ravel())
    below = jnp.searchsorted(others, scores, side="left")
    not_above = jnp.searchsorted(others, scores, side="right")
    fraction = (below + not_above) / (2 * negative.sum())
    return (fraction * positive).sum() / positive.sum()


def _at_windows(mask: Masks) -> Float[Array, "b h-10 w-10 1"]:
    """The mask at the centres of the SSIM windows."""
    edge = WINDOW // 2
    return mask[:, edge:-edge, edge:-edge]


def _mean(values: Images, mask: Masks) -> Float[Array, "b c"]:
    """Mean over the pixels, weighted by the mask; 0 where the mask is empty."""
    total = jnp.sum(values * mask, (1, 2))
    weight = jnp.sum(mask, (1, 2))
    return total / jnp.maximum(weight, 1e-6)
