"""Two orders in which the autoencoder task updates weights: all personas at once, or one after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.ops import optimizers
from faceswap_jax.ops.schedules import StepValues
from faceswap_jax.parallel import persona
from faceswap_jax.state import State
from faceswap_jax.tasks.autoencoder_losses import Examples, Losses, Shared, Terms

Optimizers = dict[str, PyTree]
"""States of the optimizer by group and module, as the parameters are."""


class Learner(NamedTuple):
    """What learns, from what, and how.

    Attributes:
        network: that is trained.
        losses: of each persona.
        optimizer: of all weights.
        frozen: networks that serve the losses.
        persona_rate: learning rate of the personas' own weights, relative to that of the others.
    """

    network: Autoencoder
    losses: Losses
    optimizer: optax.GradientTransformation
    frozen: Mapping[str, PyTree]
    persona_rate: float = 1.0


class Updated(NamedTuple):
    """What an update gives: new weights, new states of the optimizers, losses and terms of all personas."""

    params: Params
    opt: Optimizers
    losses: Float[Array, "P"]
    terms: Terms


Update = Callable[[Learner, State, Examples, StepValues, Int[Array, ""]], Updated]


def init_optimizers(optimizer: optax.GradientTransformation, params: Params) -> Optimizers:
    """Fresh states of the optimizer."""
    return {group: optimizers.init(optimizer, modules) for group, modules in params.items()}


def joint(
    learner: Learner,
    state: State,
    examples: Examples,
    values: StepValues,
    offset: Int[Array, ""],
) -> Updated:
    """One update on the mean loss of all personas; each device works on its own ones."""

    def loss(params):
        weights, own = learner.network.split(params)
        shared = Shared(weights, values.alpha, offset, learner.frozen)
        each, terms = persona.sharded(learner.losses)(shared, own, examples)
        return each.mean(), (each, terms)

    gradients, (each, terms) = jax.grad(loss, has_aux=True)(state.params)
    params, opt = _apply(learner, gradients, state.opt, state.params, values.learning_rate)
    return Updated(params, opt, each, terms)


def sequential(
    learner: Learner,
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
        weights, own = learner.network.split(params)
        # A stack of one persona, as `losses` wants it
        stacked = jax.tree.map(lambda leaf: leaf[None], own)
        shared = Shared(weights, values.alpha, offset, {})
        each, terms = learner.losses(shared, stacked, examples)
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
        one, one_opt = _apply(learner, gradients, one_opt, one, values.learning_rate)

        params = one | {"personas": _put(params["personas"], p, one["personas"])}
        opt = one_opt | {"personas": _put(opt["personas"], p, one_opt["personas"])}
        results.append(result)

    places = jnp.argsort(order)

    def in_order_of_personas(*parts):
        return jnp.concatenate(parts)[places]

    each, terms = jax.tree.map(in_order_of_personas, *results)
    return Updated(params, opt, each, terms)


def of_chosen(
    update: Update, chosen: Int[Array, "k"], learner: Learner, state: State, *arguments
) -> Updated:
    """An update that some personas have their part in; the others' weights and moments stay as they are."""
    one = replace(state, params=chosen_of(state.params, chosen), opt=chosen_of(state.opt, chosen))
    updated = update(learner, one, *arguments)

    def put_back(old, new):
        return new | {"personas": _put(old["personas"], chosen, new["personas"])}

    return updated._replace(
        params=put_back(state.params, updated.params), opt=put_back(state.opt, updated.opt)
    )


def chosen_of(groups: Params, chosen: Int[Array, "k"]) -> Params:
    """Weights or optimizer states with those of the chosen personas alone."""
    return groups | {"personas": _take(groups["personas"], chosen)}


def held(
    state: State,
    updated: Updated,
    moving: Bool[Array, ""],
    names: Sequence[str],
    personas: Sequence[str],
) -> Updated:
    """An update of which some parts wait: bit for bit, they and their moments stay as the state has them.

    Args:
        state: before the update.
        updated: what the update gives.
        moving: whether they wait no longer.
        names: groups of weights, and personas, that wait.
        personas: names of all personas.
    """
    own = jnp.array([name in names for name in personas])

    def held_of(old: Params, new: Params) -> Params:
        kept = {}
        for group, modules in new.items():
            if group == "personas":
                waits = partial(_where_persona, own & ~moving)
            else:
                waits = partial(jnp.where, ~moving & (group in names))
            kept[group] = jax.tree.map(waits, old[group], modules)
        return kept

    return updated._replace(
        params=held_of(state.params, updated.params), opt=held_of(state.opt, updated.opt)
    )


def _where_persona(chosen: Bool[Array, "P"], old: Array, new: Array) -> Array:
    """Some personas' part of a stacked leaf; what is common to all, such as a count, is new."""
    if not new.ndim:
        return new
    return jnp.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), old, new)


UPDATES: dict[str, Update] = {"joint": joint, "sequential": sequential}
"""By their names in `config.update_order`."""


def _apply(learner, gradients, opt, params, learning_rate) -> tuple[Params, Optimizers]:
    new_params = {}
    new_opt = {}
    for group, weights in params.items():
        rate = learning_rate * (learner.persona_rate if group == "personas" else 1.0)
        new_params[group], new_opt[group] = optimizers.apply(
            learner.optimizer, gradients[group], opt[group], weights, rate
        )
    return new_params, new_opt


def _take(stacked: PyTree, p: Int[Array, "..."]) -> PyTree:
    """A persona's part of stacked weights or optimizer states, or that of several.

    Counts are scalars, common to all personas.
    """

    def take(leaf):
        return leaf[p] if leaf.ndim else leaf

    return jax.tree.map(take, stacked)


def _put(stacked: PyTree, p: Int[Array, "..."], one: PyTree) -> PyTree:
    """The inverse of `_take`."""

    def put(all_of_them, leaf):
        return all_of_them.at[p].set(leaf) if all_of_them.ndim else leaf

    return jax.tree.map(put, stacked, one)
