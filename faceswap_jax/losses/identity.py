"""Identity loss: how far a generated face is from the person it should show, by embeddings of a frozen network."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Vectors = Float[Array, "*b d"]


def dissimilarity(x: Vectors, y: Vectors) -> Float[Array, "*b"]:
    """1 - cosine: 0 for one direction, 1 for unrelated, 2 for opposite ones. Vectors may have any length."""
    cosine = (normalised(x) * normalised(y)).sum(-1)
    return 1 - cosine


def normalised(x: Vectors) -> Vectors:
    """Vectors of unit length; zero stays zero."""
    square = (x * x).sum(-1, keepdims=True)
    # Inside the root: its slope at zero is infinite.
    return x / jnp.sqrt(square + 1e-12)
