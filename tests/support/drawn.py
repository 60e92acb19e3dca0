"""Weights drawn by NumPy, where a test needs any: compiling what draws fresh ones takes seconds."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import PyTree


def drawn(init: Callable[[jax.Array], PyTree], seed: int) -> PyTree:
    """Kernels that keep the variance of what passes, and other weights near zero, of the shapes that `init` has."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        convolves = len(leaf.shape) >= 4
        deviation = np.sqrt(2 / np.prod(leaf.shape[-4:-1])) if convolves else 0.1
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))
