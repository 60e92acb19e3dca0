"""Adversarial losses of verdicts on patches at several scales, and the penalty that holds a discriminator."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus
from jaxtyping import Array, Float

Verdicts = Sequence[Float[Array, "b h w"]]
"""Of each scale; the higher, the more real."""

Value = Float[Array, ""]
Inputs = Float[Array, "b *shape"]
Patches = Float[Array, "b h w"]


class Adversary(NamedTuple):
    """Both sides of a game, as losses of the verdicts on a real patch and on a fake one.

    Attributes:
        discriminator: what it pays.
        generator: what it pays.
    """

    discriminator: Callable[[Patches, Patches], Patches]
    generator: Callable[[Patches, Patches], Patches]


ADVERSARIES = {
    # The source's. The generator's is the one that does not saturate (Goodfellow et al. 2014).
    "cross_entropy": Adversary(
        discriminator=lambda real, fake: softplus(-real) + softplus(fake),
        generator=lambda real, fake: softplus(-fake),
    ),
    # Lim and Ye, Geometric GAN (2017)
    "hinge": Adversary(
        discriminator=lambda real, fake: relu(1 - real) + relu(1 + fake),
        generator=lambda real, fake: -fake,
    ),
    # Only which of a pair looks more real counts (Huang et al., R3GAN, 2024).
    "relativistic": Adversary(
        discriminator=lambda real, fake: softplus(fake - real),
        generator=lambda real, fake: softplus(real - fake),
    ),
}
"""By their names in `config.loss.adversary`."""


def mean(loss: Callable[[Patches, Patches], Patches], real: Verdicts, fake: Verdicts) -> Value:
    """A loss, averaged over the patches of each scale, then over the scales; fake and real images are pairs."""
    scales = [loss(a, b).mean() for a, b in zip(real, fake, strict=True)]
    return jnp.stack(scales).mean()


def of_images(verdicts: Verdicts) -> Float[Array, "b"]:
    """The verdict on each image: the mean over the patches of each scale, then over the scales."""
    return jnp.stack([scale.mean((1, 2)) for scale in verdicts]).mean(0)


def told_apart(real: Verdicts, fake: Verdicts) -> Value:
    """How often the real patch of a pair has the higher verdict: 0.5 if they look alike."""
    return mean(lambda a, b: (a > b).astype(jnp.float32), real, fake)


def gradient_penalty(judge: Callable[[Inputs], Sequence[Array]], inputs: Inputs) -> Value:
    """Squared length of the gradient of the sum of an input's verdicts, mean over the inputs, such as images.

    Of real ones this is R1 (Mescheder et al. 2018), of fake ones R2; both count with half of their weight. Where the
    verdict on an input also depends on others, its slope is that of all verdicts.

    Args:
        judge: the discriminator.
        inputs: what it sees.
    """

    def verdict(inputs):
        return sum(scale.sum() for scale in judge(inputs))

    slopes = jax.grad(verdict)(inputs)
    return (slopes * slopes).sum(range(1, slopes.ndim)).mean()
