"""Masks: what they hide of an image, and soft ones around parts of a face."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

GREY = 0.5
"""What a network sees where the mask hides the image."""


def masked(x: Float[Array, "b h w 3"], mask: Float[Array, "b h w"]) -> Float[Array, "b h w 3"]:
    """Images in [0, 1] with grey where the mask (0..1) hides them."""
    return GREY + mask[..., None] * (x - GREY)


def near(
    landmarks: Float[Array, "b 68 2"], parts: Sequence[Sequence[int]], side: int
) -> Float[Array, "b side side 1"]:
    """How near each pixel is to the nearest of some parts of the face: 1 in the middle of one, falling as a Gaussian.

    Its standard deviation is half the part's width along both axes, so that the part's ends have 0.6.

    Args:
        landmarks: (x, y) in pixels of the image.
        parts: numbers of the landmarks of each part.
        side: of the image.
    """
    pixels = jnp.arange(side)
    nearness = 0.0
    for part in parts:
        points = landmarks[:, jnp.array(part)]
        centre = (points.min(1) + points.max(1)) / 2
        half_width = jnp.maximum(jnp.ptp(points[..., 0], axis=1) / 2, 1.0)
        # Squared distances along x and y, in standard deviations
        x, y = ((pixels - centre[:, axis, None]) ** 2 / half_width[:, None] ** 2 for axis in (0, 1))
        bump = jnp.exp(-(x[:, None, :] + y[:, :, None]) / 2)
        nearness = jnp.maximum(nearness, bump)
    return nearness[..., None]
