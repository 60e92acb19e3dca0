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
_MAY_BE_NAN = "irises"  # of which it says that nobody knows where they are
_NAMED = 8  # records in a message; the file has all


class NotFiniteError(FloatingPointError):
    """A tensor is not finite in the step that made `step` steps of the run, on this host's part of a batch."""

    def __init__(self, step: int, tensor: str, batch: Batch):
        super().__init__(f"{tensor} is not finite at step {step:,}.")
        self.step, self.tensor, self.batch = step, tensor, batch


def flags(batch: Batch, values: Metrics, state: State) -> Bool[Array, "n"]:
    """Whether each tensor is finite that a step has read or made. To be called within the compiled step."""
    return jnp.stack(
        [jnp.isfinite(tensor).all() for tensor in _watched(batch, values, state).values()]
    )


def check(step: int, batch: Batch, values: Metrics, state: State, finite: Bool[Array, "n"]) -> None:
    """Waits for the step's `flags`; the other arguments need the form of its tensors, the batch their content too.

    Raises:
        NotFiniteError: one of them is not set.
    """
    finite = jax.device_get(finite)
    if not finite.all():
        raise NotFiniteError(
            step, list(_watched(batch, values, state))[int(np.argmin(finite))], batch
        )


def write_aside(error: NotFiniteError, workdir: Path) -> str:
    """Writes the batch as NumPy arrays and says in sentences all that is known."""
    arrays = _named("", error.batch)
    host = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = workdir / FOLDER / f"step_{error.step:07d}{host}.npz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as aside:
        np.savez_compressed(aside, **arrays)
    records = [
        name
        for array in arrays.values()
        if array.dtype.kind == "U"
        for name in array.ravel().tolist()
    ]
    named = "; ".join(records[:_NAMED]) + (
        f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    )
    return f"{error} Its batch is in '{path}'{f' ({named})' if records else ''}."


def _watched(batch: Batch, values: Metrics, state: State) -> dict[str, Array]:
    """Numbers by name, causes before effects. An infinite second moment stops a weight for good, which stays finite."""
    found = _named("batch", batch) | _named("metrics", values)
    for group in ("params", "opt", "extras"):
        found |= _named(group, getattr(state, group))
    return {
        name: leaf
        for name, leaf in found.items()
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not name.endswith(_MAY_BE_NAN)
    }


def _named(prefix: str, tree: PyTree) -> dict[str, Array]:
    paths = jax.tree_util.tree_leaves_with_path({prefix: tree} if prefix else tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}
