"""Scores of pictures against a reference, inside a mask.

`psnr`, `ssim` and `ms_ssim` are JAX functions of pictures in [0, 1]; `sharpness` and `compare` take frames in NumPy.
"""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from faceswap_jax.losses.ssim import WINDOW, halve, scale_terms, ssim_map

FINE = 1.0
"""Standard deviation in pixels of the Gaussian whose Laplacian `sharpness` calls fine detail."""


def psnr(x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]) -> Float[Array, "b"]:
    """Peak signal-to-noise ratio in dB of the masked pixels, at most 100 (equal pictures)."""
    return -10 * jnp.log10(jnp.maximum(_mean((x - y) ** 2, mask).mean(-1), 1e-10))


def ssim(x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]) -> Float[Array, "b"]:
    """SSIM averaged over the windows whose centre lies in the mask."""
    return _mean(ssim_map(x, y), _windows(mask)).mean(-1)


def ms_ssim(x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]) -> Float[Array, "b"]:
    """MS-SSIM whose every scale is averaged over the windows with their centre in the mask.

    The mask is halved along with the pictures. With a mask of ones this is `losses.ssim.ms_ssim`. The windows of the
    coarsest of five scales are 176 px wide: of a small face in a large frame they see the surroundings, too.
    """
    result = 1.0
    for weight, term in scale_terms(x, y):
        result *= jnp.maximum(_mean(term, _windows(mask)), 1e-4) ** weight
        mask = halve(mask)
    return result.mean(-1)


def sharpness(
    frames: UInt8[np.ndarray, "n h w 3"], reference: UInt8[np.ndarray, "n h w 3"], masks: Float[np.ndarray, "n h w"]
) -> Float32[np.ndarray, "n"]:
    """Contrast of the fine detail inside the mask over that of the reference: 1 is as sharp, less is softer.

    The root mean square of the Laplacian of a Gaussian of FINE pixels. The mask shrinks by its reach, so that neither
    the surroundings nor a seam count. Noise is detail, too. NaN where nothing is left of the mask, or the reference has
    no detail.
    """
    reach = math.ceil(4 * FINE) + 1  # of the Gaussian and of the Laplacian
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    ratios = []
    for frame, other, mask in zip(frames, reference, masks, strict=True):
        inner = cv2.erode(mask.astype(np.float32), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        energy, expected = (float(np.sum(inner * _detail(picture) ** 2)) for picture in (frame, other))
        ratios.append(math.sqrt(energy / expected) if expected > 0 else math.nan)
    return np.array(ratios, np.float32)


def compare(
    frames: UInt8[np.ndarray, "n h w 3"], truth: UInt8[np.ndarray, "n h w 3"], masks: Float[np.ndarray, "n h w"]
) -> dict[str, Float32[np.ndarray, "n"]]:
    """PSNR (dB), SSIM, MS-SSIM and sharpness of every frame against the truth, inside its mask (0..1)."""
    # Frame by frame: one compilation serves clips of any length.
    measured = [_similarity(*pictures) for pictures in zip(frames, truth, masks, strict=True)]
    similarities = np.array(measured, np.float32).reshape(len(frames), 3)
    return dict(zip(("psnr", "ssim", "ms_ssim"), similarities.T, strict=True)) | {
        "sharpness": sharpness(frames, truth, masks)
    }


@jax.jit
def _similarity(frame, truth, mask):
    x, y = (jnp.float32(picture)[None] / 255 for picture in (frame, truth))
    mask = jnp.float32(mask)[None, ..., None]
    return jnp.concatenate([score(x, y, mask) for score in (psnr, ssim, ms_ssim)])


def _windows(mask: Float[Array, "b h w 1"]) -> Float[Array, "b h-10 w-10 1"]:
    """The mask at the centres of the SSIM windows."""
    edge = WINDOW // 2
    return mask[:, edge:-edge, edge:-edge]


def _mean(values: Float[Array, "b h w c"], weight: Float[Array, "b h w 1"]) -> Float[Array, "b c"]:
    """Weighted mean over the pixels; 0 where no pixel has any weight."""
    return jnp.sum(values * weight, (1, 2)) / jnp.maximum(jnp.sum(weight, (1, 2)), 1e-6)


def _detail(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), FINE), cv2.CV_32F)
