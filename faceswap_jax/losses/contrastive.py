"""Contrastive losses: what belongs together shall be nearer than what does not."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def info_nce(cosines: Float[Array, "*b n n"], temperature: float) -> Float[Array, "*b"]:
    """Cross entropy of finding the right one of n, both ways (InfoNCE, van den Oord et al. 2018; as in CLIP, 2021).

    Args:
        cosines: of each of n things with each of their n partners; the right ones lie on the diagonal.
        temperature: what cosines are divided by.
    """
    logits = cosines / temperature
    found = jax.nn.log_softmax(logits, -1) + jax.nn.log_softmax(logits, -2)
    return -jnp.diagonal(found, axis1=-2, axis2=-1).mean(-1) / 2


def large_margin(
    positive: Float[Array, "p *b"], negative: Float[Array, "n *b"], scale: float, margin: float
) -> Float[Array, "*b"]:
    """Large margin cosine loss of pairs (CosFace, Wang et al. 2018) as MegaPortraits has it: a sum over the positives.

    Args:
        positive: cosines of pairs that belong together.
        negative: of pairs that do not, which each positive is compared with.
        scale: what cosines, less the margin, are multiplied by.
        margin: the least cosine that attracts.
    """
    positive = scale * (positive - margin)
    negative = scale * (negative - margin)
    against = jax.nn.logsumexp(negative, axis=0)
    return (jnp.logaddexp(positive, against) - positive).sum(0)
