"""Optimizers, as Optax transformations without a learning rate.

The learning rate of a step is a pure function of the step number (see a task's `Phase`s), so it is applied here and
not counted inside the optimizer, whose own count restarts with every growth level.
"""

import jax
import optax
from jaxtyping import Array, Float, PyTree

ADAM = optax.scale_by_adam()


def apply(
    tx: optax.GradientTransformation,
    gradient: PyTree,
    opt: PyTree,
    params: PyTree,
    learning_rate: Float[Array, ""] | float,
) -> tuple[PyTree, PyTree]:
    """One update; returns the new parameters and the new optimizer state."""
    updates, opt = tx.update(gradient, opt, params)
    return jax.tree.map(lambda p, u: p - learning_rate * u, params, updates), opt
