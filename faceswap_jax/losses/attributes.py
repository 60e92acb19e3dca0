"""The losses of MC-AAD that compare images, and what the attribute encoder sees in them."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.losses.arrays import Images

Maps = Float[Array, "b h w c"]
Value = Float[Array, ""]


def half_square(x: Maps, y: Maps, weights: Float[Array, "b h w"] | float = 1.0) -> Value:
    """Half of the mean squared difference, in float32, every pixel as often as its weight says.

    A mean over pixels and channels where the source has a sum, as public code, for which the weights are.
    """
    difference = x.astype(jnp.float32) - y.astype(jnp.float32)
    return 0.5 * (weights * (difference**2).mean(-1)).mean()


def apart(x: Images, y: Images, weights: Float[Array, "b h w"] | float = 1.0) -> Value:
    """`half_square` of images in [0, 1], counted in [-1, 1]: there public code has them, and the weights are for it."""
    return 2**2 * half_square(x, y, weights)


def unlike(x: Sequence[Maps], y: Sequence[Maps]) -> Value:
    """How unlike the attributes of two batches are: the sum of `half_square` over the levels of their maps."""
    return sum(half_square(a, b) for a, b in zip(x, y, strict=True))
