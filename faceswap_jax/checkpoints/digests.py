"""Digests by which damage to saved numbers is told."""

import hashlib
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree


def digests(tree: PyTree) -> dict[str, str]:
    """One digest for each part of a state, the same on any mesh.

    A part is an entry of one of the state's groups, e.g. "params/encoder", or a field that has no entries, e.g. "step".
    Digests of two parts agree only if all their numbers do, to the last bit.

    Args:
        tree: a `State`, or a dictionary of some of its groups.

    Returns:
        16 hexadecimal digits by the name of the part.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    sums = np.array([_weighted_bits(leaf) for _, leaf in leaves], np.uint64)
    if jax.process_count() > 1:
        # Sent as halves: JAX knows 32 bits.
        halves = multihost_utils.process_allgather(sums.view(np.uint32))
        sums = halves.view(np.uint64).sum(0)

    # Leaves come in the order of their paths, which is the same wherever they lie.
    hashes = {}
    for (path, _), total in zip(leaves, sums, strict=True):
        hashes.setdefault(_part(path), hashlib.sha256()).update(total.tobytes())
    return {part: found.hexdigest()[:16] for part, found in hashes.items()}


def parts(tree: PyTree) -> set[str]:
    """Names of the parts of a state; its leaves may be abstract."""
    return {_part(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}


def _part(path: Iterable) -> str:
    return jax.tree_util.keystr(tuple(path)[:2], simple=True, separator="/")


def _weighted_bits(leaf: jax.Array) -> int:
    """This process's part of a leaf's sum; of replicas one counts.

    A leaf's sum is that of its numbers' bits, weighted by their places, modulo 2**64. Integers add up to the same in
    any order, so that each process can add what it holds.
    """
    # Keys of random numbers hide their bits.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    total = 0
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            # Odd weights, so that no bit is lost in a product modulo 2**64
            bits = np.asarray(shard.data)
            bits = bits.view(f"uint{8 * bits.dtype.itemsize}").astype(np.uint64)
            for axis in reversed(shard.index):
                place = np.arange(bits.shape[-1], dtype=np.uint64) + np.uint64(axis.start or 0)
                bits = bits @ (2 * place + 1)
            total += int(bits)
    return total % 2**64
