"""Optimizers: one Optax state per module, and no learning rate inside.

A module that joins a growing network brings its own moments and its own bias correction, and those of the older modules
stay. The learning rate of a step is a pure function of the step number, so it is applied here.
"""

from collections.abc import Mapping
from typing import NamedTuple

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


class RangerState(NamedTuple):
    """What Ranger remembers of some weights.

    Attributes:
        lookahead: Optax's state, with the moments of RAdam in it.
        slow: the weights as they last were when the trained ones, which run ahead, were taken back half of the way.
    """

    lookahead: optax.LookaheadState
    slow: PyTree


def ranger(learning_rate: float) -> optax.GradientTransformation:
    """RAdam (Liu et al. 2020) and lookahead (Zhang et al. 2019): Ranger, with its public numbers.

    Every sixth step ends half way between the weights that RAdam has come to and those of six steps before. That needs
    the learning rate, so it is in here: `apply` takes 1 in its place. After a multiple of six steps the trained weights
    are the slow ones, which are the better.
    """
    # The weights are less the updates, as those of all optimizers here.
    radam = optax.chain(optax.scale_by_radam(b1=0.95, eps=1e-5), optax.scale(-learning_rate))
    tx = optax.lookahead(radam, sync_period=6, slow_step_size=0.5)

    def init(weights):
        pair = optax.LookaheadParams.init_synced(weights)
        return RangerState(tx.init(pair), weights)

    def update(gradients, state, weights):
        pair = optax.LookaheadParams(fast=weights, slow=state.slow)
        changes, lookahead = tx.update(gradients, state.lookahead, pair)
        slow = optax.apply_updates(state.slow, changes.slow)
        return jax.tree.map(jnp.negative, changes.fast), RangerState(lookahead, slow)

    return optax.GradientTransformation(init, update)


Modules = Mapping[str, PyTree]
Rate = Float[Array, ""] | float


def init(tx: optax.GradientTransformation, modules: Modules) -> Modules:
    """Fresh optimizer states by module name."""
    return {name: tx.init(weights) for name, weights in modules.items()}


def apply(
    tx: optax.GradientTransformation,
    gradients: Modules,
    opt: Modules,
    modules: Modules,
    learning_rate: Rate | Mapping[str, Rate],
) -> tuple[Modules, Modules]:
    """One update; returns the new weights and the new optimizer states, by module name.

    Args:
        tx: the optimizer.
        gradients: of the weights.
        opt: states of the optimizer.
        modules: the weights.
        learning_rate: of all modules, or of each by name.
    """
    weights = {}
    states = {}
    for name, old in modules.items():
        rate = learning_rate[name] if isinstance(learning_rate, Mapping) else learning_rate
        updates, states[name] = tx.update(gradients[name], opt[name], old)
        weights[name] = jax.tree.map(lambda w, u, rate=rate: w - rate * u, old, updates)
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
