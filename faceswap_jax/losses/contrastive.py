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
