"""Optimizers: one Optax state per module, and no learning rate inside.

A module that joins a growing network brings its own moments and its own bias correction, and those of the older modules
stay. The learning rate of a step is a pure function of the step number, so it is applied here.
"""

from collections.abc import Mapping

import jax
import optax
from jaxtyping import Array, Float, PyTree

ADAM = optax.scale_by_adam()

Modules = Mapping[str, PyTree]


def init(tx: optax.GradientTransformation, modules: Modules) -> Modules:
    """Fresh optimizer states by module name."""
    return {name: tx.init(weights) for name, weights in modules.items()}


def apply(
    tx: optax.GradientTransformation,
    gradients: Modules,
    opt: Modules,
    modules: Modules,
    learning_rate: Float[Array, ""] | float,
) -> tuple[Modules, Modules]:
    """One update; returns the new weights and the new optimizer states, by module name."""
    weights = {}
    states = {}
    for name, old in modules.items():
        updates, states[name] = tx.update(gradients[name], opt[name], old)
        weights[name] = jax.tree.map(lambda w, u: w - learning_rate * u, old, updates)
    return weights, states
