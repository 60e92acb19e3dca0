"""Where XLA shall lay what a step computes, if nothing else tells it."""

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array


def as_batch(x: Array) -> Array:
    """Lays an array [batch, ...] over the devices like the images of a batch.

    For what is drawn: nothing tells that it is a batch, so every device would compute all of it. And for what large
    kernels are to convolve: these are sharded, and XLA may gather the images of all devices to leave them so.

    What does not divide among the devices stays as it is.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if "data" not in mesh.auto_axes or x.shape[0] % mesh.shape["data"]:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec("data"))
