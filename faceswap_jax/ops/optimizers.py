"""Optimizers: one Optax state per module, and no learning rate inside.

A module that joins a growing network brings its own moments and its own bias correction, and those of the older modules
stay. The learning rate of a step is a pure function of the step number, so it is applied here.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

ADAM = optax.scale_by_adam()


def adam_without_momentum(decay: float) -> optax.GradientTransformation:
    """Adam with betas 0 and `decay`: it has no first moments to keep."""
    return optax.scale_by_rms(decay=decay, eps=1e-8, eps_in_sqrt=False, bias_correction=True)


BESIDE_MUON = 0.1
"""Learning rate of what Muon leaves to Adam, relative to Muon's (choice)."""


def _is_kernel(weights: jax.Array) -> bool:
    """Whether these are kernels [..., height, width, in, out] that mix neighbouring pixels."""
    return weights.ndim >= 4 and weights.shape[-4] > 1


def _scale_by_muon() -> optax.GradientTransformation:
    """Optax's Muon for kernels, each of a stack by itself, without constants in its state.

    States are laid out over the mesh and taken apart by persona as the weights are, and constants cannot be.
    """
    matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(-4, -3, -2), output_axis=-1)

    def as_matrices(weights):
        return jax.tree.map(lambda _: matrix, weights)

    tx = optax.contrib.scale_by_muon(weight_dimension_numbers=as_matrices)

    def init(weights):
        return tx.init(weights)._replace(ns_coeffs=())

    def update(gradients, state, weights=None):
        constants = tx.init(()).ns_coeffs
        updates, state = tx.update(gradients, state._replace(ns_coeffs=constants), weights)
        return updates, state._replace(ns_coeffs=())

    return optax.GradientTransformation(init, update)


def _labels(weights: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: "kernel" if _is_kernel(leaf) else "other", weights)


MUON = optax.partition(
    {"kernel": _scale_by_muon(), "other": optax.chain(ADAM, optax.scale(BESIDE_MUON))}, _labels
)
"""Orthogonalised momentum (Jordan et al. 2024) for kernels, Adam for the rest."""

OPTIMIZERS = {"adam": ADAM, "adabelief": optax.scale_by_belief(), "muon": MUON}
"""By their names in `config.optimizer`."""

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


def running_mean(mean: PyTree, weights: PyTree, steps: Int[Array, ""], decay: float) -> PyTree:
    """The running mean of weights after one more step.

    The first step's weights are the first mean; the mean is at first over few steps, lest those weigh too much.

    Args:
        mean: over the steps before.
        weights: after this step.
        steps: number of steps done, this one too.
        decay: how much of the mean stays in the end, 0 to 1.
    """
    before = (steps - 1).astype(jnp.float32)
    stays = jnp.minimum(decay, before / (before + 10))

    def towards(old, new):
        # What is held still stays so to the last bit.
        return new + stays * (old - new)

    return jax.tree.map(towards, mean, weights)
