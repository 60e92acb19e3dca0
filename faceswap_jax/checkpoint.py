"""Checkpoints of a run: the whole state, step by step, in one folder."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.parallel.distributed import wait_for_all
from faceswap_jax.state import State

DAMAGED = "damaged"
"""Folder beside the checkpoints for those that cannot be read."""
logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints under `folder`, of a run of `config`. A context manager.

    A checkpoint appears under its step number when it is complete. It holds the state, the config, the scores of the
    evaluation after the same step, and a digest by which damage is told.
    """

    def __init__(self, folder: Path, config: ml_collections.ConfigDict, *, writing: bool = False):
        """Opens the folder.

        Args:
            folder: of the checkpoints; made if need be.
            config: of the run. Its `run` says what stays: the newest `keep`, those at multiples of `keep_every`, and
                the one with the best score `best`.
            writing: whether this is the run itself. What an interrupted save has left is removed then, and damaged
                checkpoints are put aside. Without, nothing changes, also while the run is under way.
        """
        self._folder, self._config, self._writing = folder, config, writing
        context = ocp.Context()
        # Replicas share the writing of an array, for which a program is compiled for each: too much for small ones.
        context.array.saving.min_slice_bytes_for_replica_parallel = 4 * 2**20
        with context:
            self._checkpointer = ocp.training.Checkpointer(
                folder.absolute(), preservation_policy=_preservation(config.run), cleanup_tmp_directories=writing
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.wait()
        finally:
            with contextlib.suppress(Exception):  # of a failed save, which `wait` has told
                self._checkpointer.close()

    @property
    def steps(self) -> list[int]:
        """Steps done by each checkpoint, ascending."""
        return sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints)

    def save(self, state: State, scores: Mapping[str, float] | None = None) -> None:
        """Copies the state and returns; it is written, under its step number, while the run goes on.

        Args:
            state: of which no checkpoint is made if there is one of its step.
            scores: of held-out data, by name.

        Raises:
            InputError: the checkpoint before could not be written.
        """
        self.wait()
        step = int(state.step)
        if step not in self.steps:
            about = {"config": json.loads(configs.to_json(self._config)), "digest": digest(state)}
            self._checkpointer.save_async(step, state, force=True, metrics=scores, custom_metadata=about)

    def wait(self) -> None:
        """Returns when all is on the disk.

        Raises:
            InputError: it could not be written.
        """
        try:
            self._checkpointer.wait()
        except Exception as error:  # whatever TensorStore, Orbax or the file system come up with
            self._checkpointer.reload()
            raise InputError(
                f"A checkpoint could not be written to '{self._folder}' ({_gist(error)}); make room, or give it "
                f"its rights, and run the same command again: it continues after step {max(self.steps, default=0):,}."
            ) from error

    def restore(self, layout: Callable[[int], tuple[State, PyTree]], step: int | None = None) -> State | None:
        """The state of the newest sound checkpoint, or of the one after `step` steps; None if there is no checkpoint.

        A damaged one is named in a warning and the one before it taken.

        Args:
            layout: from the number of steps done to the abstract state and the sharding of each leaf; any mesh will do.
            step: of the only checkpoint that will do.

        Raises:
            InputError: there is no checkpoint of that step, it is of another config, or none can be read.
        """
        steps = self.steps if step is None else [s for s in self.steps if s == step]
        if step is not None and not steps:
            known = ", ".join(map(str, self.steps)) or "none at all"
            raise InputError(f"'{self._folder}' has no checkpoint of step {step}; there are {known}.")
        damage = {}
        for candidate in reversed(steps):
            try:
                state = self._restore(candidate, *layout(candidate))
            except _DamagedError as error:
                damage[candidate] = error
            else:
                self._put_aside(damage, candidate)
                return state
        if damage:
            newest = max(damage)
            raise InputError(
                f"The checkpoint of step {newest} in '{self._folder}' is damaged or of another version of the model "
                f"({damage[newest]}){', and so are all before it' if len(damage) > 1 else ''}; use the version that "
                "wrote it, or train anew in another --workdir."
            ) from damage[newest]
        return None

    def _restore(self, step: int, abstract: State, shardings: State) -> State:
        target = jax.tree.map(
            lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s), abstract, shardings
        )
        try:
            about = self._checkpointer.metadata(step).custom_metadata
            changed = configs.differences(ml_collections.ConfigDict(about["config"]), self._config)
            if not changed:
                state = self._checkpointer.load(step, target)
        # Orbax wraps whatever it meets in a KeyError; without metadata there is None, which has no config.
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise _DamagedError(_gist(error)) from error
        if changed:
            raise InputError(
                f"The checkpoint of step {step} in '{self._folder}' is of another config ({'; '.join(changed)}); undo "
                "that or choose a new --workdir."
            )
        if digest(state) != about["digest"]:
            raise _DamagedError("its numbers are not those that were written")
        return state

    def _put_aside(self, damage: Mapping[int, Exception], taken: int) -> None:
        for step, error in damage.items():
            aside = self._folder.with_name(DAMAGED) / str(step)
            kept = f"it is kept as '{aside}', and " if self._writing else ""
            logger.warning(
                "The checkpoint of step %d in '%s' is damaged (%s); %sthat of step %d is used.",
                step, self._folder, error, kept, taken,
            )  # fmt: skip
            if self._writing and jax.process_index() == 0:
                aside.parent.mkdir(exist_ok=True)
                (self._folder / str(step)).rename(aside)
        if damage and self._writing:
            wait_for_all("damaged checkpoints are put aside")
            self._checkpointer.reload()


class _DamagedError(Exception):
    """A checkpoint cannot be read."""


def digest(state: PyTree) -> str:
    """64 hexadecimal digits that tell states apart to the last bit, the same on any mesh.

    Every leaf contributes the sum of its numbers' bits, weighted by their places, modulo 2**32. Integers add up to the
    same in any order, so that each process adds what it holds.
    """
    sums = np.array([_weighted_bits(leaf) for leaf in jax.tree.leaves(state)], np.uint32)
    if jax.process_count() > 1:
        sums = multihost_utils.process_allgather(sums).sum(0, dtype=np.uint32)
    return hashlib.sha256(sums.tobytes()).hexdigest()


def _weighted_bits(leaf: jax.Array) -> int:
    """This process's part of a leaf's sum; of replicas one counts."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    total = 0
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            bits = np.asarray(shard.data)
            bits = bits.view(f"uint{8 * bits.dtype.itemsize}").astype(np.uint32)
            for axis in reversed(shard.index):
                place = np.arange(bits.shape[-1], dtype=np.uint32) + np.uint32(axis.start or 0)
                bits = bits @ (2 * place + 1)
            total += int(bits)
    return total % 2**32


def _preservation(run: ml_collections.ConfigDict):
    """What stays, by `config.run`."""
    policies = ocp.training.preservation_policies
    chosen = [policies.LatestN(run.keep)]
    if run.keep_every:
        chosen.append(policies.EveryNSteps(run.keep_every))
    if run.best:
        name = run.best.removeprefix("-")
        sign = -1 if run.best.startswith("-") else 1
        chosen.append(
            policies.BestN(
                get_metric_fn=lambda scores: sign * scores[name], n=1, keep_checkpoints_without_metrics=False
            )
        )
    return policies.AnyPreservationPolicy(chosen)


def _gist(error: BaseException) -> str:
    """The last line that says something of what may be pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
