"""Batches on the devices: every process's part becomes a part of one global, sharded array."""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from faceswap_jax.errors import InputError
from faceswap_jax.parallel.distributed import host_slice


def put(batch: PyTree, spec: PartitionSpec, mesh: Mesh) -> PyTree:
    """Puts this process's part of a batch on its devices.

    Args:
        batch: NumPy arrays that this process has loaded. Those of text become None: they are for people.
        spec: how every array is laid over the mesh; only leading axes are sharded.
        mesh: of all processes.

    Returns:
        The global batch.

    Raises:
        InputError: the batch does not divide among the devices.
    """
    sharding = NamedSharding(mesh, spec)

    def put_array(array, shape):
        return jax.make_array_from_process_local_data(sharding, array, shape)

    return _laid_out(batch, spec, mesh, put_array)


def described(batch: PyTree, spec: PartitionSpec, mesh: Mesh) -> PyTree:
    """What `put` would make of a batch, whose arrays only tell shapes and types: abstract arrays with shardings.

    Raises:
        InputError: the batch does not divide among the devices.
    """
    sharding = NamedSharding(mesh, spec)

    def describe_array(array, shape):
        return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)

    return _laid_out(batch, spec, mesh, describe_array)


def _laid_out(
    batch: PyTree,
    spec: PartitionSpec,
    mesh: Mesh,
    make: Callable[[np.ndarray, tuple[int, ...]], jax.Array | jax.ShapeDtypeStruct],
) -> PyTree:
    """What `make` makes of each array and its global shape; None of text."""

    def lay_out(array):
        if array.dtype.kind == "U":
            return None
        return make(array, _global_shape(array, spec, mesh))

    return jax.tree.map(lay_out, batch)


def _global_shape(array: np.ndarray, spec: PartitionSpec, mesh: Mesh) -> tuple[int, ...]:
    shape = list(array.shape)
    for i, axis in enumerate(spec):
        # Each host has loaded its slice along data; personas it has loaded all.
        if axis == "data":
            shape[i] *= host_slice(mesh)[1]
        if axis and shape[i] % mesh.shape[axis]:
            raise InputError(
                f"A batch of shape {tuple(shape)} does not divide among the mesh "
                f"{dict(mesh.shape)}; change config.batch."
            )
    return tuple(shape)
