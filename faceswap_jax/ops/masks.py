"""Masks: what they hide of an image, and soft ones around parts of a face."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

GREY = 0.5
"""What a network sees where the mask hides the image."""

REACH = 1 / 32
"""Of the image's width: by so much further away a pixel counts 1/e of what it counts near by."""


def masked(x: Float[Array, "b h w 3"], mask: Float[Array, "b h w"]) -> Float[Array, "b h w 3"]:
    """Images in [0, 1] with grey where the mask (0..1) hides them."""
    return GREY + mask[..., None] * (x - GREY)


def filled(x: Float[Array, "b s s 3"], mask: Float[Array, "b s s"]) -> Float[Array, "b s s 3"]:
    """Square images in which the mask (0..1) hides places, with what is around these in their place.

    A mean of all that is seen, the more of a pixel the nearer it is.
    """
    pixels = jnp.arange(x.shape[1])
    reach = x.shape[1] * REACH
    near = jnp.exp(-jnp.abs(pixels[:, None] - pixels) / reach)

    def around(values):
        return jnp.einsum("yi,xj,bijc->byxc", near, near, values)

    seen = mask[..., None]
    # Where nothing at all is seen it is black.
    fill = around(seen * x) / jnp.maximum(around(seen), jnp.finfo(x.dtype).tiny)
    return seen * x + (1 - seen) * fill


class Ellipse(NamedTuple):
    """A place of an upright face, in sizes of that face; see `beside`.

    Attributes:
        points: numbers of the landmarks whose mean it lies at.
        below: how far below that.
        half_width: of the ellipse.
        half_height: of the ellipse.
        but: an ellipse that is no part of the place, so that a crescent is left.
    """

    points: Sequence[int]
    below: float
    half_width: float
    half_height: float
    but: "Ellipse | None" = None


def beside(
    landmarks: Float[Array, "b 68 2"],
    sizes: Float[Array, "b"],
    ellipses: Sequence[Ellipse],
    side: int,
) -> Float[Array, "b side side"]:
    """The mask that hides places of faces: 0 in all of them, 1 beside them.

    Args:
        landmarks: (x, y) in pixels of the image.
        sizes: of the faces, pixels.
        ellipses: the places.
        side: of the image.
    """
    sizes = sizes[:, None]
    pixels = jnp.arange(side)

    def outside(ellipse):
        middle = landmarks[:, jnp.array(ellipse.points)].mean(1)
        x = (pixels - middle[:, :1]) / (ellipse.half_width * sizes)
        y = (pixels - middle[:, 1:] - ellipse.below * sizes) / (ellipse.half_height * sizes)
        return x[:, None, :] ** 2 + y[:, :, None] ** 2 > 1

    mask = jnp.ones((landmarks.shape[0], side, side))
    for ellipse in ellipses:
        seen = outside(ellipse)
        if ellipse.but:
            seen |= ~outside(ellipse.but)
        mask *= seen
    return mask


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
