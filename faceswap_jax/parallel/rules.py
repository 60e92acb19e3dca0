"""The layout of every tensor over the mesh, in one table."""

import re

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

# Batches are [persona, batch, ...].
BATCH = P("persona", "data")

# Bytes from which a tensor is worth sharding.
LARGE = 4 * 2**20


def _fsdp(shape: tuple[int, ...], size: int, ways: int) -> P:
    """Shards the largest dimension that divides evenly over data; small tensors stay whole."""
    fitting = [axis for axis, length in enumerate(shape) if length % ways == 0]
    if size < LARGE or not fitting:
        return P()
    largest = max(fitting, key=lambda axis: shape[axis])
    return P(*[None] * largest, "data")


# First match on the path of a leaf of the state wins, e.g. "params/personas/level_3/conv_0/conv/kernel".
RULES = (
    (r"(^|/)personas/", lambda shape, size, ways: P("persona")),
    # Every decoder needs the tied levels and the mean: sharded, they would be gathered often.
    (r"(^|/)(tied|mean)/", lambda shape, size, ways: P()),
    (r"", _fsdp),
)


def spec(path: str, leaf: jax.ShapeDtypeStruct, mesh: Mesh) -> P:
    """Layout of one leaf of the state."""
    if leaf.ndim == 0:
        return P()
    size = leaf.size * leaf.dtype.itemsize
    rule = next(rule for pattern, rule in RULES if re.search(pattern, path))
    return rule(leaf.shape, size, mesh.shape["data"])


def sharded(abstract: PyTree, mesh: Mesh) -> PyTree:
    """An abstract state whose leaves also tell their shardings."""

    def with_sharding(leaf, sharding):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(with_sharding, abstract, shardings(abstract, mesh))


def shardings(abstract: PyTree, mesh: Mesh) -> PyTree:
    """The sharding of every leaf of an abstract state (`jax.eval_shape` of its construction)."""

    def sharding(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return NamedSharding(mesh, spec(name, leaf, mesh))

    return jax.tree_util.tree_map_with_path(sharding, abstract)
