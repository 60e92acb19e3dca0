"""The state of a training run: everything that a step reads and writes, and all that a checkpoint holds."""

from dataclasses import dataclass, field

import jax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """A plain pytree; tasks decide what the dictionaries hold.

    Attributes:
        step: number of steps done since the run began.
        key: source of all randomness, folded with `step` where it is used; it never changes.
        params: trained weights by group, e.g. {"encoder": ..., "personas": ...} or {"generator": ..., "critic": ...}.
        opt: optimizer states, one for each group of parameters that is updated together.
        extras: what else travels along: running statistics, averaged weights, frozen networks.
    """

    step: Int[Array, ""]
    key: PRNGKeyArray
    params: dict[str, PyTree]
    opt: dict[str, PyTree]
    extras: dict[str, PyTree] = field(default_factory=dict)
