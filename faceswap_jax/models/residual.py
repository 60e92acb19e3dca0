"""StyleGAN2's discriminator: a residual network with the deviation over small groups of images (Karras et al. 2020).

The deviation says how alike the images of a group are: so a generator that always makes the same is found out. Groups
are `group` neighbours of the batch, whichever devices these lie on: the numbers are the same on any mesh. Where each
device has whole groups, nothing is exchanged. (The source's groups are every n-th image of a device, so there the mesh
decides.)

Parameters are {module: weights}.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.equalized import Conv, Dense, activate
from faceswap_jax.models.stylegan2 import EPSILON, FIRST, StyleGAN2Config
from faceswap_jax.ops.filtering import convolve_reduced, reduce
from faceswap_jax.ops.layout import as_batch

GROUP = 4
"""Images whose deviation is looked at."""

Images = Float[Array, "b r r 3"]
Params = Mapping[str, PyTree]


class Discriminator(nn.Module):
    """Images in [-1, 1] to verdicts."""

    config: StyleGAN2Config

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "b"]:
        c = self.config
        x = activate(Dense(c.channels(c.resolution), dtype=c.dtype, name="colours")(images))
        for side in reversed(c.sides[1:]):
            x = self._halved(x, side)

        deviation = deviation_over_groups(x.astype(jnp.float32))
        x = jnp.concatenate([x, deviation.astype(c.dtype)], -1)
        last = c.channels(FIRST)
        x = activate(Conv(last, dtype=c.dtype, name="last_conv")(x))

        x = x.reshape(len(x), -1).astype(jnp.float32)
        x = activate(Dense(last, name="hidden")(x))
        return Dense(1, name="verdict")(x)[:, 0]

    def _halved(self, x, side):
        """Images of half the side; the input, too, goes to the result, through a 1 x 1 convolution."""
        c = self.config
        x = as_batch(x)
        features = c.channels(side // 2)
        block = f"side_{side}"
        bypass = Dense(features, bias=None, dtype=c.dtype, name=f"{block}_bypass")(reduce(x))
        y = activate(Conv(x.shape[-1], dtype=c.dtype, name=f"{block}_conv")(x))
        halve = Conv(features, convolve_reduced, c.dtype, name=f"{block}_reduce")
        return (activate(halve(y)) + bypass) * math.sqrt(0.5)


def deviation_over_groups(x: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """Standard deviation over a group of neighbours, mean over pixels and channels; the same everywhere in a group."""
    b, h, w, c = x.shape
    group = min(GROUP, b)
    groups = x.reshape(b // group, group, h, w, c)
    apart = groups - groups.mean(1, keepdims=True)
    deviation = jnp.sqrt((apart * apart).mean(1) + EPSILON).mean((1, 2, 3))
    return jnp.broadcast_to(deviation.repeat(group)[:, None, None, None], (b, h, w, 1))


def init(config: StyleGAN2Config, key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    images = jnp.zeros((1, config.resolution, config.resolution, 3))
    return Discriminator(config).init(key, images)["params"]


def apply(config: StyleGAN2Config, params: Params, images: Images) -> Float[Array, "b"]:
    """Verdicts on images in [0, 1]: the higher, the more real.

    Args:
        config: of the generator: widths and resolution are the same.
        params: of the discriminator.
        images: a multiple of `GROUP`, or fewer, which are one group.
    """
    return Discriminator(config).apply({"params": params}, 2 * images - 1)
