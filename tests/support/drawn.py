"""Weights drawn by NumPy, where a test needs any: compiling what draws fresh ones takes seconds."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from faceswap_jax.models.stylegan2 import MAPPING_RATE
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Phase, Task, abstract_state


def drawn(init: Callable[[jax.Array], PyTree], seed: int) -> PyTree:
    """Kernels that keep the variance of what passes, and other weights near zero, of the shapes that `init` has."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        convolves = len(leaf.shape) >= 4
        deviation = np.sqrt(2 / np.prod(leaf.shape[-4:-1])) if convolves else 0.1
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))


def drawn_state(task: Task, phase: Phase | None = None, seed: int = 0) -> State:
    """A state as a task begins its first phase with, or another, whose weights and frozen networks are drawn.

    They are nowhere zero.
    """
    phase = phase or task.phases[0]
    empty = abstract_state(task, phase)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        names = [getattr(key, "key", "") for key in path]
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        if names[-1] in ("var", "scale"):
            return jnp.ones(leaf.shape)
        return jnp.float32(rng.normal(0, _deviation(names, leaf.shape), leaf.shape))

    params, extras = jax.tree_util.tree_map_with_path(draw, (empty.params, empty.extras))
    opt = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), empty.opt)
    return State(jnp.int32(phase.start), jax.random.key(seed), params, opt, extras)


def _deviation(names: list[str], shape: tuple[int, ...]) -> float:
    """Of a weight by the names of its place, so that the variance of what passes stays."""
    if names[-1] != "kernel":
        return 0.1
    # What is scaled in use: a generator's kernels, those of its mapping network the other way too, and those of heads
    if {"generator", "average"} & set(names):
        return 1 / MAPPING_RATE if "mapping" in names else 1.0
    if "styles" in names:
        return 1.0
    return np.prod(shape[:-1]) ** -0.5
