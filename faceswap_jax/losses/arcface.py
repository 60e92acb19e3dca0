"""Additive angular margin loss (Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, 2019)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from faceswap_jax.losses.identity import normalised

EPSILON = 1e-6  # the least squared sine: the root has no derivative at zero


def cosines(embeddings: Float[Array, "b d"], centres: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Cosine of every embedding with every centre, neither of any particular length."""
    # The scale of the loss would enlarge what accelerators lose by multiplying in fewer bits.
    return jnp.matmul(normalised(embeddings), normalised(centres).T, precision="highest")


def arcface(
    cosine: Float[Array, "b n"], labels: Int[Array, "b"], scale: float = 64.0, margin: float = 0.5
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
    enlarged = jnp.where(
        right > -math.cos(margin),
        right * math.cos(margin) - sine * math.sin(margin),
        right - margin * math.sin(margin),
    )
    here = jnp.arange(cosine.shape[1]) == labels[:, None]
    logits = scale * jnp.where(here, enlarged, cosine)
    return jax.nn.logsumexp(logits, 1) - scale * enlarged[:, 0]
