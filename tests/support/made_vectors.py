"""Adjustment vectors for tests of what is done with them."""

import numpy as np

from faceswap_jax.editing.vectors import Key, Vector


def vector(digest: str = "0" * 16, length: int = 8, **fields) -> Vector:
    """A vector of random numbers."""
    values = np.random.default_rng(0).normal(size=length).astype(np.float32).tolist()
    fields = {
        "name": "smile",
        "trait": "a against b",
        "parts": ["face"],
        "method": "mean",
        "step": 3,
        "reach": (-9.0, 9.0),
    } | fields
    keys = {"positive": [Key("a.png", "1")], "negative": [Key("b.png", "2")]}
    return Vector(**{"digest": digest, "values": values} | keys | fields)
