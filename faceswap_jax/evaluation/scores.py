"""Scores of pictures against a reference, inside a mask."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from faceswap_jax.losses.ssim import WINDOW, ssim_map


def psnr(x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]) -> Float[Array, "b"]:
    """Peak signal-to-noise ratio in dB of the masked pixels, at most 100 (equal pictures)."""
    error = jnp.sum((x - y) ** 2 * mask, (1, 2, 3)) / jnp.maximum(3 * jnp.sum(mask, (1, 2, 3)), 1.0)
    return -10 * jnp.log10(jnp.maximum(error, 1e-10))


def ssim(x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"], mask: Float[Array, "b h w 1"]) -> Float[Array, "b"]:
    """SSIM averaged over the windows whose centre lies in the mask."""
    edge = WINDOW // 2
    weight = mask[:, edge:-edge, edge:-edge]
    total = jnp.sum(ssim_map(x, y) * weight, (1, 2, 3))
    return total / jnp.maximum(3 * jnp.sum(weight, (1, 2, 3)), 1.0)


def compare(
    frames: UInt8[np.ndarray, "n h w 3"], truth: UInt8[np.ndarray, "n h w 3"], mask: Float[np.ndarray, "n h w"]
) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM of frames against the truth, inside the mask."""
    x, y, mask = jnp.float32(frames) / 255, jnp.float32(truth) / 255, jnp.float32(mask)[..., None]
    return {"psnr": float(psnr(x, y, mask).mean()), "ssim": float(ssim(x, y, mask).mean())}
