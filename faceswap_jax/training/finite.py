"""NaN and infinity: found in the step in which they arise, named, and written aside with the batch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from faceswap_jax.files import replacing
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics

FOLDER = "not_finite"
"""In the folder of a run: the batches of the steps in which NaN arose."""

# NaN says here that nobody knows where they are.
_MAY_BE_NAN = "irises"

# Records that a message names; the file has all.
_NAMED = 8


class NotFiniteError(FloatingPointError):
    """A tensor is not finite in the step that made `step` steps of the run, on this host's part of a batch."""

    def __init__(self, step: int, tensor: str, batch: Batch):
        super().__init__(f"{tensor} is not finite at step {step:,}.")
        self.step, self.tensor, self.batch = step, tensor, batch


def flags(batch: Batch, values: Metrics, state: State) -> Bool[Array, "n"]:
    """Tells of each tensor that a step has read or made whether it is finite. Call it within the compiled step."""
    tensors = _watched(batch, values, state).values()
    return jnp.stack([jnp.isfinite(tensor).all() for tensor in tensors])


def check(step: int, batch: Batch, values: Metrics, state: State, finite: Bool[Array, "n"]) -> None:
    """Waits for a step, and checks it.

    Args:
        step: number of steps done.
        batch: that this process has loaded for the step.
        values: the step's metrics.
        state: the new state, or anything of its form.
        finite: the step's `flags`.

    Raises:
        NotFiniteError: one of them is not set.
    """
    finite = jax.device_get(finite)
    if not finite.all():
        names = list(_watched(batch, values, state))
        # Causes come before effects: the first one tells most.
        first = int(np.argmin(finite))
        raise NotFiniteError(step, names[first], batch)


def write_aside(error: NotFiniteError, workdir: Path) -> str:
    """Writes the batch as NumPy arrays to the folder of a run.

    Returns:
        Sentences that say all that is known.
    """
    arrays = _named("", error.batch)
    # Processes have loaded different parts of the batch.
    host = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = workdir / FOLDER / f"step_{error.step:07d}{host}.npz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as aside:
        np.savez_compressed(aside, **arrays)
    records = _records(arrays)
    return f"{error} Its batch is in '{path}'{f' ({records})' if records else ''}."


def _records(arrays: dict[str, np.ndarray]) -> str:
    """Names of the first records of a batch."""
    records = []
    for array in arrays.values():
        if array.dtype.kind == "U":
            records += array.ravel().tolist()
    named = "; ".join(records[:_NAMED])
    more = len(records) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _watched(batch: Batch, values: Metrics, state: State) -> dict[str, Array]:
    """Tensors of real numbers by name, causes before effects.

    Optimizer states are among them: an infinite second moment stops a weight for good, which itself stays finite.
    """
    found = _named("batch", batch) | _named("metrics", values)
    for group in ("params", "opt", "extras"):
        found |= _named(group, getattr(state, group))

    watched = {}
    for name, leaf in found.items():
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not name.endswith(_MAY_BE_NAN):
            watched[name] = leaf
    return watched


def _named(prefix: str, tree: PyTree) -> dict[str, Array]:
    """Leaves by their path below `prefix`."""
    paths = jax.tree_util.tree_leaves_with_path({prefix: tree} if prefix else tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}
