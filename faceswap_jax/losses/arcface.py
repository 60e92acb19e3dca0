"""Additive angular margin loss (Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, 2019)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from faceswap_jax.losses.identity import normalised

Cosines = Float[Array, "b n"]

EPSILON = 1e-6  # the least squared sine: the root has no derivative at zero


def cosines(embeddings: Float[Array, "b d"], centres: Float[Array, "n d"]) -> Cosines:
    """Cosine of every embedding with every centre, neither of any particular length."""
    x = normalised(embeddings)
    y = normalised(centres)
    # The scale of the loss would enlarge what accelerators lose by multiplying in fewer bits.
    return jnp.matmul(x, y.T, precision="highest")


def arcface(
    cosine: Cosines,
    labels: Int[Array, "b"],
    scale: float = 64.0,
    margin: float = 0.5,
) -> Float[Array, "b"]:
    """Eq. 3 of the source: cross entropy of scaled cosines, the right one's angle enlarged by the margin.

    Where angle and margin together exceed pi, the cosine would rise again; there it is lowered by
    margin * sin(margin) instead, which keeps its slope positive (as the authors' code does).

    Args:
        cosine: of every embedding with the centre of every class.
        labels: right class of each embedding.
        scale: s, the length that embeddings are given; smaller for few classes.
        margin: m, in radians.
    """
    right = jnp.take_along_axis(cosine, labels[:, None], 1)
    sine = jnp.sqrt(jnp.maximum(1 - right**2, EPSILON))
    # cos(angle + margin)
    enlarged = right * math.cos(margin) - sine * math.sin(margin)
    lowered = right - margin * math.sin(margin)
    below_pi = right > -math.cos(margin)
    target = jnp.where(below_pi, enlarged, lowered)

    # Cross entropy
    classes = jnp.arange(cosine.shape[1])
    logits = scale * jnp.where(classes == labels[:, None], target, cosine)
    return jax.nn.logsumexp(logits, 1) - scale * target[:, 0]
