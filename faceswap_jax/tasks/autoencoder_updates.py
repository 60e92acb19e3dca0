"""Two orders in which the autoencoder task updates weights: all personas at once, or one after the other."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.ops import optimizers
from faceswap_jax.ops.schedules import StepValues
from faceswap_jax.parallel import persona
from faceswap_jax.state import State
from faceswap_jax.tasks.autoencoder_losses import Examples, Losses, Shared, Terms

Optimizers = dict[str, PyTree]
"""States of Adam by group and module, as the parameters are."""


class Updated(NamedTuple):
    """What an update gives: new weights, new states of the optimizers, losses and terms of all personas."""

    params: Params
    opt: Optimizers
    losses: Float[Array, "P"]
    terms: Terms


Update = Callable[[Autoencoder, Losses, State, Examples, StepValues, Int[Array, ""]], Updated]


def init_optimizers(params: Params) -> Optimizers:
    """Adam's fresh states."""
    return {group: optimizers.init(optimizers.ADAM, modules) for group, modules in params.items()}


def joint(
    network: Autoencoder,
    losses: Losses,
    state: State,
    examples: Examples,
    values: StepValues,
    offset: Int[Array, ""],
) -> Updated:
    """One update on the mean loss of all personas; each device works on its own ones."""

    def loss(params):
        weights, own = network.split(params)
        shared = Shared(weights, values.alpha, offset, state.extras)
        each, terms = persona.sharded(losses)(shared, own, examples)
        return each.mean(), (each, terms)

    gradients, (each, terms) = jax.grad(loss, has_aux=True)(state.params)
    params, opt = _apply(gradients, state.opt, state.params, values.learning_rate)
    return Updated(params, opt, each, terms)


def sequential(
    network: Autoencoder,
    losses: Losses,
    state: State,
    examples: Examples,
    values: StepValues,
    offset: Int[Array, ""],
) -> Updated:
    """The source's iteration: shared weights get P updates, every persona's own weights one, in random order.

    Unrolled: gradients of convolutions inside a scan are forty times slower on a CPU. Images are not swapped here, so
    that `offset` is not used.
    """
    key = jax.random.fold_in(state.key, state.step)
    order = jax.random.permutation(key, len(examples.image))

    def loss(params, examples):
        weights, own = network.split(params)
        # A stack of one persona, as `losses` wants it
        stacked = jax.tree.map(lambda leaf: leaf[None], own)
        shared = Shared(weights, values.alpha, offset, {})
        each, terms = losses(shared, stacked, examples)
        return each[0], (each, terms)

    params = state.params
    opt = state.opt
    results = []
    for p in order:
        # Own weights and moments come from the state: no persona has had its update before its turn.
        one = params | {"personas": _take(state.params["personas"], p)}
        one_opt = opt | {"personas": _take(state.opt["personas"], p)}
        one_examples = jax.tree.map(lambda leaf, p=p: leaf[p][None], examples)

        # Update of the shared weights and of this persona's
        gradients, result = jax.grad(loss, has_aux=True)(one, one_examples)
        one, one_opt = _apply(gradients, one_opt, one, values.learning_rate)

        params = one | {"personas": _put(params["personas"], p, one["personas"])}
        opt = one_opt | {"personas": _put(opt["personas"], p, one_opt["personas"])}
        results.append(result)

    places = jnp.argsort(order)

    def in_order_of_personas(*parts):
        return jnp.concatenate(parts)[places]

    each, terms = jax.tree.map(in_order_of_personas, *results)
    return Updated(params, opt, each, terms)


UPDATES: dict[str, Update] = {"joint": joint, "sequential": sequential}
"""By their names in `config.update_order`."""


def _apply(gradients, opt, params, learning_rate) -> tuple[Params, Optimizers]:
    new_params = {}
    new_opt = {}
    for group, weights in params.items():
        new_params[group], new_opt[group] = optimizers.apply(
            optimizers.ADAM, gradients[group], opt[group], weights, learning_rate
        )
    return new_params, new_opt


def _take(stacked: PyTree, p: Int[Array, ""]) -> PyTree:
    """One persona's part of stacked weights or optimizer states. Counts are scalars, common to all personas."""

    def take(leaf):
        return leaf[p] if leaf.ndim else leaf

    return jax.tree.map(take, stacked)


def _put(stacked: PyTree, p: Int[Array, ""], one: PyTree) -> PyTree:
    """The inverse of `_take`."""

    def put(all_of_them, leaf):
        return all_of_them.at[p].set(leaf) if all_of_them.ndim else leaf

    return jax.tree.map(put, stacked, one)
