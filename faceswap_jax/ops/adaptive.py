"""Random changes of all that a discriminator sees, each with the same probability (Karras et al., ADA, 2020).

So a discriminator cannot learn few images by heart, and a generator does not learn the changes, as long as the
probability is well below 1: images that are as they were stay the most frequent ones. The changes are those that the
source calls bgc: moves of whole pixels, geometry and colour.

All geometry of an image is one affine map, and the image is sampled once: at twice its resolution, between the two
filters of the wavelet CDF 9/7, where the source has sym6. What only moves whole pixels, flips or turns by right angles
comes out as it went in. Beyond the border images are mirrored. Left out are the source's filters of frequency bands,
noise and cutout, which it found of no use or harmful, and a filter for images that become smaller, which do so by a
third at most, most of the time.

Plain operations, so that gradients go through; drawn for each image alone.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from faceswap_jax.ops.sampling import sample

Images = Float[Array, "b s s 3"]
Numbers = Float[Array, "b"]
Maps = Float[Array, "b 3 3"]
"""Affine maps of homogeneous places (x, y, 1), pixels from the middle: from the result to the image."""

Colours = Float[Array, "b 4 4"]
"""Affine maps of homogeneous colours (r, g, b, 1) in [-1, 1]."""

# Filters of CDF 9/7 from their middle outward: for what becomes half as large, and for what becomes twice as large
REDUCING = (0.602949018236, 0.266864118443, -0.078223266529, -0.016864118443, 0.026748757411)
ENLARGING = (1.115087052457, 0.591271763114, -0.057543526229, -0.091271763114)

# Standard deviations and spans of the source
SCALE = 0.2  # of the logarithm of the size to base 2
SHIFT = 0.125  # in image sides: of moves of whole pixels at most, of others the deviation
BRIGHTNESS = 0.2  # of images in [-1, 1]
CONTRAST = 0.5  # of its logarithm to base 2
SATURATION = 1.0  # likewise

GREY = np.full(3, 3**-0.5, np.float32)
"""The axis along which colours are grey."""


def changed(key: PRNGKeyArray, images: Images, probability: Float[Array, ""]) -> Images:
    """Every image with changes of its own.

    Args:
        key: decides on them.
        images: in [0, 1]; what lies outside stays so.
        probability: of each change.
    """
    move_key, colour_key = jax.random.split(key)
    count, side = images.shape[:2]
    x = warp(images, moves(move_key, count, side, probability))
    return recolour(x, colours(colour_key, count, probability))


def adjusted(
    probability: Float[Array, ""],
    sign: Float[Array, ""],
    target: float,
    images: int,
    all_images: float,
) -> Float[Array, ""]:
    """The probability after a step: it rises while the discriminator is too sure of real images, and falls else.

    Args:
        probability: before.
        sign: mean sign of the verdicts on real images; 1 where all count as real.
        target: which sign is wanted.
        images: number of real images of the step.
        all_images: number in which it would rise from 0 to 1.
    """
    step = jnp.sign(sign - target) * images / all_images
    return (probability + step).clip(0, 1)


# Geometry


def moves(key: PRNGKeyArray, count: int, side: int, probability: Float[Array, ""]) -> Maps:
    """Random maps: what moves whole pixels, then scales, turns and shifts."""
    draws = iter(jax.random.split(key, 16))
    drawn = _chosen(draws, count, probability)

    # Whole pixels
    flip = jax.random.bernoulli(next(draws), 0.5, (count,))
    total = drawn(_scaling(jnp.where(flip, -1.0, 1.0), jnp.ones(count)))
    turns = jax.random.randint(next(draws), (count,), 0, 4)
    total @= drawn(_right_angles(turns))
    whole = jax.random.uniform(next(draws), (2, count), minval=-SHIFT, maxval=SHIFT)
    total @= drawn(_translation(*jnp.round(whole * side)))

    # Size; what is turned before it changes along one axis, and after
    size = jnp.exp2(SCALE * jax.random.normal(next(draws), (count,)))
    total @= drawn(_scaling(size, size))
    # So that an image is turned with this probability in all
    once = 1 - jnp.sqrt(1 - probability)
    drawn_once = _chosen(draws, count, once)
    angles = jax.random.uniform(next(draws), (2, count), minval=-jnp.pi, maxval=jnp.pi)
    total @= drawn_once(_rotation(angles[0]))
    stretch = jnp.exp2(SCALE * jax.random.normal(next(draws), (count,)))
    total @= drawn(_scaling(stretch, 1 / stretch))
    total @= drawn_once(_rotation(angles[1]))

    shift = SHIFT * side * jax.random.normal(next(draws), (2, count))
    return total @ drawn(_translation(*shift))


def _chosen(draws, count, probability):
    """A function that takes an image's map with a probability, and the identity else; it draws for each call."""

    def choose(maps):
        chosen = jax.random.bernoulli(next(draws), probability, (count,))
        return jnp.where(chosen[:, None, None], maps, jnp.eye(maps.shape[-1]))

    return choose


def _matrices(rows: Sequence[Sequence]) -> Float[Array, "b n n"]:
    """Matrices from their entries, which are numbers [b], or the same for all."""
    return jnp.stack([jnp.stack(jnp.broadcast_arrays(*row), -1) for row in rows], -2)


def _affine(a, b, x, c, d, y) -> Maps:
    one = jnp.ones_like(a)
    return _matrices([(a, b, x * one), (c, d, y * one), (0 * one, 0 * one, one)])


def _scaling(x: Numbers, y: Numbers) -> Maps:
    return _affine(x, 0 * x, 0.0, 0 * x, y, 0.0)


def _translation(x: Numbers, y: Numbers) -> Maps:
    one = jnp.ones_like(x)
    return _affine(one, 0 * one, x, 0 * one, one, y)


def _rotation(angle: Numbers) -> Maps:
    cosine = jnp.cos(angle)
    sine = jnp.sin(angle)
    return _affine(cosine, -sine, 0.0, sine, cosine, 0.0)


def _right_angles(turns: Float[Array, "b"]) -> Maps:
    """So many of them; the entries are exact."""
    cosine = jnp.array([1.0, 0.0, -1.0, 0.0])[turns]
    sine = jnp.array([0.0, 1.0, 0.0, -1.0])[turns]
    return _affine(cosine, -sine, 0.0, sine, cosine, 0.0)


def warp(images: Images, maps: Maps) -> Images:
    """Images through their maps; beyond the border they are mirrored.

    Args:
        images: square ones.
        maps: from places in the result to places in the image.
    """
    side = images.shape[1]
    wide = _enlarged(images)

    # Of the result, twice as fine and with a margin for the filter, from its middle
    margin = len(REDUCING) - 1
    fine = np.arange(-margin, wide.shape[1] + margin) / 2 - (side - 1) / 2
    x, y = np.meshgrid(fine, fine)
    places = np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)
    seen = jnp.einsum("bij,hwj->bhwi", maps[:, :2], places, precision="highest")

    seen = _mirrored(seen + (side - 1) / 2, side - 1)
    found = sample(wide, seen / ((side - 1) / 2) - 1)
    return _reduced(_reduced(found, 1), 2)


def _mirrored(places, last):
    """Places between 0 and `last` that show the same, where images go on mirrored."""
    turned = jnp.mod(places, 2 * last)
    return jnp.minimum(turned, 2 * last - turned)


def _enlarged(x):
    """Images of 2 s - 1 pixels, every other of which lies where one was."""
    return _enlarged_along(_enlarged_along(x, 1), 2)


def _enlarged_along(x, axis):
    length = x.shape[axis]
    around = [(0, 0)] * x.ndim
    around[axis] = (1, 1)
    padded = jnp.pad(x, around, mode="reflect")

    def part(start, count):
        return lax.slice_in_dim(padded, start, start + count, axis=axis)

    # Where pixels were, and between them
    there = ENLARGING[0] * x + ENLARGING[2] * (part(0, length) + part(2, length))
    between = ENLARGING[1] * (part(1, length - 1) + part(2, length - 1))
    between += ENLARGING[3] * (part(0, length - 1) + part(3, length - 1))

    last = lax.slice_in_dim(there, length - 1, length, axis=axis)
    there = lax.slice_in_dim(there, 0, length - 1, axis=axis)
    shape = list(x.shape)
    shape[axis] = 2 * (length - 1)
    pairs = jnp.stack([there, between], axis + 1).reshape(shape)
    return jnp.concatenate([pairs, last], axis)


def _reduced(x, axis):
    """Every other pixel through the filter, from the first whose taps all lie in the image."""
    reach = len(REDUCING) - 1
    last = x.shape[axis] - reach

    def part(offset):
        return lax.slice_in_dim(x, reach + offset, last + offset, 2, axis)

    total = REDUCING[0] * part(0)
    for i in range(1, reach + 1):
        total += REDUCING[i] * (part(-i) + part(i))
    return total


# Colour


def colours(key: PRNGKeyArray, count: int, probability: Float[Array, ""]) -> Colours:
    """Random maps: brightness, contrast, light and dark exchanged, hue, saturation."""
    draws = iter(jax.random.split(key, 10))
    drawn = _chosen(draws, count, probability)
    along = np.outer(GREY, GREY)
    across = np.eye(3, dtype=np.float32) - along

    brightness = BRIGHTNESS * jax.random.normal(next(draws), (count,))
    total = drawn(_of_colours(jnp.eye(3), brightness))
    contrast = jnp.exp2(CONTRAST * jax.random.normal(next(draws), (count,)))
    total = drawn(_of_colours(contrast[:, None, None] * jnp.eye(3))) @ total
    exchanged = jax.random.bernoulli(next(draws), 0.5, (count, 1, 1))
    total = drawn(_of_colours(jnp.eye(3) - 2 * exchanged * along)) @ total

    hue = jax.random.uniform(next(draws), (count, 1, 1), minval=-jnp.pi, maxval=jnp.pi)
    turned = (
        along + jnp.cos(hue) * across + jnp.sin(hue) * np.cross(np.eye(3), GREY).astype(np.float32)
    )
    total = drawn(_of_colours(turned)) @ total
    saturation = jnp.exp2(SATURATION * jax.random.normal(next(draws), (count, 1, 1)))
    return drawn(_of_colours(along + saturation * across)) @ total


def _of_colours(linear: Float[Array, "*b 3 3"], added: Numbers | float = 0.0) -> Colours:
    """Maps that multiply colours, and add the same to all three."""
    count = max(linear.shape[0] if linear.ndim == 3 else 1, jnp.size(added))
    maps = jnp.broadcast_to(jnp.eye(4), (count, 4, 4))
    maps = maps.at[:, :3, :3].set(linear)
    return maps.at[:, :3, 3].set(jnp.reshape(added, (-1, 1)))


def recolour(images: Images, maps: Colours) -> Images:
    """Images in [0, 1] with every pixel's colour through the image's map."""
    x = 2 * images - 1
    x = jnp.einsum("bij,bhwj->bhwi", maps[:, :3, :3], x, precision="highest")
    x += maps[:, None, None, :3, 3]
    return (x + 1) / 2
