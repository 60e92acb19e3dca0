"""Work of P personas over the persona axis of the mesh.

A vmap over stacked decoders would become one grouped convolution, for which XLA gathers all weights on every device.
Here each device loops over its own personas, unrolled, and nothing is gathered.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, PyTree, Shaped


def unrolled(function: Callable[..., PyTree], *stacked: PyTree) -> PyTree:
    """`function` on each entry of the leading axis, results stacked: vmap's meaning, a Python loop's program."""
    count = jax.tree.leaves(stacked)[0].shape[0]
    results = [function(*jax.tree.map(lambda a, i=i: a[i], stacked)) for i in range(count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def sharded(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """`function(shared, own, batch)` on each device's slice of the personas; the other mesh axes stay automatic.

    `shared` is seen whole; `own`, `batch` and the result have a leading persona axis, of which `function` sees the
    local part.
    """
    return jax.shard_map(
        function,
        in_specs=(P(), P("persona"), P("persona")),
        out_specs=P("persona"),
        axis_names={"persona"},
    )


def exchange(x: Shaped[Array, "p ..."], shift: int | Int[Array, ""]) -> Shaped[Array, "p ..."]:
    """What the persona `shift` places further has, to be called inside `sharded`; the last one's next is the first.

    Gathers all of `x` on every device, so that it is for what is small, as latents are.
    """
    everybody = jax.lax.all_gather(x, "persona", tiled=True)
    first = jax.lax.axis_index("persona") * len(x)
    return jax.lax.dynamic_slice_in_dim(jnp.roll(everybody, -shift, axis=0), first, len(x))


def merge(x: Shaped[Array, "p b ..."]) -> Shaped[Array, "b*p ..."]:
    """Personas and batch as one axis. The batch leads, so that its sharding over data survives without a gather."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def unmerge(x: Shaped[Array, "b*p ..."], personas: int) -> Shaped[Array, "p b ..."]:
    """The inverse of `merge`."""
    return x.reshape(-1, personas, *x.shape[1:]).swapaxes(0, 1)


def flattened(
    function: Callable[..., Array], *x: Shaped[Array, "p b ..."]
) -> Shaped[Array, "p b ..."]:
    """A function of batches [n, ...] on personas and batch together."""
    return unmerge(function(*map(merge, x)), len(x[0]))
