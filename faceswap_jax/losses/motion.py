"""Whether parts of a face move as they should: what a mean difference of images hides, for the parts are small."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SIDE = 16
"""Of the pieces that are compared, in samples."""

WIDTH = 1.4
"""Side of a piece in widths of the part: eyes with their lids, mouths with what opens."""


STILL = 1e-7
"""Variance of images in [0, 1] that rounding may make."""


class Moments(NamedTuple):
    """How much images of a part differ from their mean image, in truth and result, and how far together."""

    truth: Float[Array, ""]
    result: Float[Array, ""]
    common: Float[Array, ""]


def moments(
    truth: Float[Array, "p b h w c"],
    result: Float[Array, "p b h w c"],
    landmarks: Float[Array, "p b 68 2"],
    parts: Sequence[Sequence[int]],
) -> Moments:
    """Variances and covariance of the pixels of parts over a batch, each persona's about its own mean.

    Parts are cut where the landmarks have them, as wide as they say: what is left of their motion is the expression.

    Args:
        truth: images of p personas.
        result: images that should equal them.
        landmarks: (x, y) of the truth, in pixels.
        parts: numbers of the landmarks of each part.
    """
    cut = jax.vmap(jax.vmap(partial(_cut, parts=parts)))
    x = _about_mean(cut(truth, landmarks))
    y = _about_mean(cut(result, landmarks))
    return Moments((x * x).mean(), (y * y).mean(), (x * y).mean())


def scores(batches: Sequence[Mapping[str, Moments]]) -> dict[str, float]:
    """Amplitude (of the truth's, at best 1) and correlation of each part's motion, over all batches.

    Both are 0 where the truth does not move, as where all held-out images are one.
    """
    found = {}
    for part in batches[0]:
        truth, result, common = np.mean([batch[part] for batch in batches], axis=0)
        amplitude = correlation = 0.0
        if truth > STILL:
            amplitude = np.sqrt(result / truth)
        if min(truth, result) > STILL:
            correlation = common / np.sqrt(truth * result)
        found[f"motion/{part}_amplitude"] = float(amplitude)
        found[f"motion/{part}_correlation"] = float(correlation)
    return found


def _cut(
    image: Float[Array, "h w c"], landmarks: Float[Array, "68 2"], parts: Sequence[Sequence[int]]
) -> Float[Array, "n s s c"]:
    """A square piece of an image around each part, sampled linearly."""
    sample = partial(jax.scipy.ndimage.map_coordinates, order=1, mode="nearest")
    pieces = []
    for part in parts:
        points = landmarks[jnp.array(part)]
        centre = points.mean(0)
        width = jnp.ptp(points[:, 0])
        offsets = jnp.linspace(-0.5, 0.5, SIDE) * WIDTH * width
        x, y = jnp.meshgrid(centre[0] + offsets, centre[1] + offsets)
        pieces.append(jax.vmap(sample, (2, None), 2)(image, [y, x]))
    return jnp.stack(pieces)


def _about_mean(pieces: Float[Array, "p b n s s c"]) -> Float[Array, "p b n s s c"]:
    return pieces - pieces.mean(1, keepdims=True)
