"""Checkpoints of a run: the whole state, step by step, in one folder."""

from pathlib import Path

import jax
from orbax.checkpoint import v1 as ocp

from faceswap_jax.errors import InputError
from faceswap_jax.state import State


class Checkpoints:
    """The checkpoints under `folder`. A context manager.

    With `keep`, this is the run that writes them: the newest `keep` stay, and what an interrupted save has left goes.
    Without, it reads only, also while the run is under way.
    """

    def __init__(self, folder: Path, keep: int | None = None):
        self._folder = folder
        context = ocp.Context()
        # Replicas share the writing of an array, for which a program is compiled for each: too much for small ones.
        context.array.saving.min_slice_bytes_for_replica_parallel = 4 * 2**20
        with context:
            self._checkpointer = ocp.training.Checkpointer(
                folder.absolute(),
                preservation_policy=ocp.training.preservation_policies.LatestN(keep),
                cleanup_tmp_directories=keep is not None,
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_):
        self._checkpointer.close()

    @property
    def latest(self) -> int | None:
        """Steps done by the newest checkpoint; None when there is none."""
        newest = self._checkpointer.latest
        return None if newest is None else newest.step

    def save(self, state: State) -> None:
        """Writes the state under its own step number and returns when it is on disk."""
        step = int(state.step)
        if step != self.latest:
            self._checkpointer.save(step, state, force=True)

    def restore(self, step: int, abstract: State, shardings: State) -> State:
        """The state saved after `step` steps, laid out as `shardings` says (any mesh will do).

        Raises:
            InputError: the checkpoint holds another kind of state, or is damaged.
        """
        target = jax.tree.map(
            lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s), abstract, shardings
        )
        try:
            return self._checkpointer.load(step, target)
        except (ValueError, KeyError, OSError) as error:  # Orbax wraps whatever it meets in a KeyError
            raise InputError(
                f"The checkpoint of step {step} in '{self._folder}' is damaged or of another version of the model; "
                "use the version that wrote it, or train anew in another --workdir."
            ) from error
