"""Work of P personas over the persona axis of the mesh.

Each device works on its own personas, and nothing of theirs is gathered.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, PyTree, Shaped

ByPersona = Shaped[Array, "p ..."]
Batches = Shaped[Array, "p b ..."]
Merged = Shaped[Array, "b*p ..."]


def sharded(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Runs `function(shared, own, batch)` on each device's slice of the personas.

    The other mesh axes stay automatic. `function` sees `shared` whole. `own`, `batch` and the result have a leading
    persona axis, of which it sees the local slice.
    """
    return jax.shard_map(
        function,
        in_specs=(P(), P("persona"), P("persona")),
        out_specs=P("persona"),
        axis_names={"persona"},
    )


def exchange(x: ByPersona, shift: int | Int[Array, ""]) -> ByPersona:
    """Gives every persona what the persona `shift` places further has; after the last comes the first.

    Call it inside `sharded`, for what is small, such as latents: it gathers all of `x` on every device.
    """
    shifted = jnp.roll(everybody(x), -shift, axis=0)
    # This device's personas
    first = jax.lax.axis_index("persona") * len(x)
    return jax.lax.dynamic_slice_in_dim(shifted, first, len(x))


def everybody(x: ByPersona) -> Shaped[Array, "P ..."]:
    """What all personas have, on every device. Call it inside `sharded`, for what is small."""
    return jax.lax.all_gather(x, "persona", tiled=True)


def merge(x: Batches) -> Merged:
    """Makes one axis of personas and batch. The batch leads, so that its sharding over data needs no gather."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def unmerge(x: Merged, personas: int) -> Batches:
    """The inverse of `merge`."""
    by_image = x.reshape(-1, personas, *x.shape[1:])
    return by_image.swapaxes(0, 1)


def flattened(function: Callable[..., Merged], *batches: Batches) -> Batches:
    """Applies a function of batches [n, ...] to personas and batch together."""
    result = function(*map(merge, batches))
    return unmerge(result, personas=len(batches[0]))
