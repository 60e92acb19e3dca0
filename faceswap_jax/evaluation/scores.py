"""Scores of frames against the truth, inside a mask."""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from faceswap_jax.evaluation.frames import Frames, Masks, PerFrame
from faceswap_jax.faces.face import Image
from faceswap_jax.losses.measures import ms_ssim, psnr, ssim

Mask = Float[np.ndarray, "h w"]

FINE = 1.0
"""Standard deviation in pixels of the Gaussian whose Laplacian `sharpness` calls fine detail."""


def sharpness(frames: Frames, reference: Frames, masks: Masks) -> PerFrame:
    """Contrast of the fine detail inside the mask over that of the reference: 1 is as sharp, less is softer.

    The root mean square of the Laplacian of a Gaussian of FINE pixels. The mask shrinks by its reach, so that neither
    the surroundings nor a seam count. Noise is detail, too. NaN where nothing is left of the mask, or the reference has
    no detail.
    """
    ratios = []
    for frame, other, mask in zip(frames, reference, masks, strict=True):
        inner = _shrink(mask)
        energy = _detail_energy(frame, inner)
        expected = _detail_energy(other, inner)
        ratios.append(math.sqrt(energy / expected) if expected > 0 else math.nan)
    return np.array(ratios, np.float32)


def compare(frames: Frames, truth: Frames, masks: Masks) -> dict[str, PerFrame]:
    """PSNR (dB), SSIM, MS-SSIM and sharpness of every frame against the truth, inside its mask (0..1)."""
    # Frame by frame: one compilation serves clips of any length.
    measured = [_similarity(*images) for images in zip(frames, truth, masks, strict=True)]
    similarities = np.array(measured, np.float32).reshape(len(frames), 3)
    values = dict(zip(("psnr", "ssim", "ms_ssim"), similarities.T, strict=True))
    return values | {"sharpness": sharpness(frames, truth, masks)}


@jax.jit
def _similarity(
    frame: UInt8[Array, "h w 3"], truth: UInt8[Array, "h w 3"], mask: Float[Array, "h w"]
) -> Float[Array, "3"]:
    """PSNR, SSIM and MS-SSIM of one frame."""
    # A batch of one
    x = jnp.float32(frame)[None] / 255
    y = jnp.float32(truth)[None] / 255
    mask = jnp.float32(mask)[None, ..., None]
    measured = [score(x, y, mask) for score in (psnr, ssim, ms_ssim)]
    return jnp.concatenate(measured)


def _shrink(mask: Mask) -> Float32[np.ndarray, "h w"]:
    """The mask less a rim as wide as the reach of the detail's filters; the border of the image counts as a rim."""
    # Four standard deviations of the Gaussian, and a pixel of the Laplacian
    reach = math.ceil(4 * FINE) + 1
    side = 2 * reach + 1
    kernel = np.ones((side, side), np.uint8)
    return cv2.erode(
        mask.astype(np.float32),
        kernel,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )


def _detail_energy(image: Image, mask: Mask) -> float:
    """Sum over the mask of the squared detail: the Laplacian of the grey levels, seen through the Gaussian."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), FINE)
    detail = cv2.Laplacian(smooth, cv2.CV_32F)
    return float(np.sum(mask * detail**2))
