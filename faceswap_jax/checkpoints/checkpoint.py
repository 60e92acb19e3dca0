"""Checkpoints of a run: the whole state, step by step, in one folder."""

import contextlib
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError, JobError
from faceswap_jax.parallel.distributed import raise_if_lost
from faceswap_jax.state import State

DAMAGED = "damaged"
"""Folder beside the checkpoints for those that cannot be read."""
logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints under `folder`, of a run of `config`. A context manager.

    A checkpoint appears under its step number when it is complete. It holds the state, the config, and a digest by
    which damage is told.
    """

    def __init__(self, folder: Path, config: ml_collections.ConfigDict, *, writing: bool = False):
        """Opens the folder.

        Args:
            folder: of the checkpoints; made if need be.
            config: of the run. Its `run` says what stays: the newest `keep`, those at multiples of `keep_every`, and
                the one with the best score.
            writing: whether this is the run itself. What an interrupted save has left is removed then, and damaged
                checkpoints are put aside. Without, nothing changes, also while the run is under way.
        """
        self._folder, self._config, self._writing, self._best = folder, config, writing, _Best()
        policies = ocp.training.preservation_policies
        kept = [policies.LatestN(config.run.keep), self._best]
        if config.run.keep_every:
            kept.append(policies.EveryNSteps(config.run.keep_every))
        context = ocp.Context()
        # Replicas share the writing of an array, for which a program is compiled for each: too much for small ones.
        context.array.saving.min_slice_bytes_for_replica_parallel = 4 * 2**20
        with context:
            self._checkpointer = ocp.training.Checkpointer(
                folder.absolute(),
                preservation_policy=policies.AnyPreservationPolicy(kept),
                cleanup_tmp_directories=writing,
            )
        if writing and config.run.best:
            for step in self.steps:
                with contextlib.suppress(*_DAMAGE):
                    self._best.see(step, self._about(step)["merit"])

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

    def save(self, state: State, merit: Sequence[float] | None = None) -> None:
        """Copies the state and returns; it is written, under its step number, while the run goes on.

        Args:
            state: of which no checkpoint is made if there is one of its step.
            merit: how good it is, in numbers that are compared one after the other; the best checkpoint stays.

        Raises:
            InputError: the checkpoint before could not be written.
            JobError: another process has ended meanwhile.
        """
        self.wait()
        step = int(state.step)
        if step not in self.steps:
            self._best.see(step, merit)
            config = json.loads(configs.to_json(self._config))
            about = {"config": config, "digest": digest(state), "merit": merit and list(merit)}
            self._checkpointer.save_async(step, state, force=True, custom_metadata=about)

    def wait(self) -> None:
        """Returns when all is on the disk.

        Raises:
            InputError: it could not be written.
            JobError: another process has ended meanwhile.
        """
        try:
            self._checkpointer.wait()
        except Exception as error:  # whatever TensorStore, Orbax or the file system come up with
            raise_if_lost(error)
            self._checkpointer.reload()
            raise InputError(
                f"A checkpoint could not be written to '{self._folder}' ({_gist(error)}); make room, or give it "
                f"its rights, and run the same command again: it continues after step {max(self.steps, default=0):,}."
            ) from error

    def restore(
        self, layout: Callable[[int], tuple[State, PyTree]], step: int | None = None
    ) -> State | None:
        """The state of the newest sound checkpoint, or of the one after `step` steps; None if there is no checkpoint.

        A damaged one is named in a warning and the one before it taken.

        Args:
            layout: from the number of steps done to the abstract state and the sharding of each leaf; any mesh will do.
            step: of the only checkpoint that will do.

        Raises:
            InputError: there is no checkpoint of that step, it is of another config, or none can be read.
            JobError: of several processes this one has met damage; started again they take the checkpoint before.
        """
        steps = self.steps if step is None else [s for s in self.steps if s == step]
        if step is not None and not steps:
            known = ", ".join(map(str, self.steps)) or "none at all"
            raise InputError(
                f"'{self._folder}' has no checkpoint of step {step}; there are {known}."
            )
        damage = {}
        for candidate in reversed(steps):
            try:
                state = self._restore(candidate, *layout(candidate))
            except _DamagedError as error:
                if not (
                    self._folder / str(candidate)
                ).exists():  # the run under way has removed it meanwhile
                    self._checkpointer.reload()
                    return self.restore(layout, step)
                damage[candidate] = error
                if jax.process_count() > 1 and candidate != steps[0]:
                    # The others may have met none, and would wait for this process for ever.
                    self._tell(damage, steps[steps.index(candidate) - 1])
                    raise JobError("Start the same command again.") from error
            else:
                self._tell(damage, candidate)
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
            lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s),
            abstract,
            shardings,
        )
        try:
            about = self._about(step)
            changed = configs.differences(ml_collections.ConfigDict(about["config"]), self._config)
            if not changed:
                state = self._checkpointer.load(step, target)
        except _DAMAGE as error:
            raise _DamagedError(_gist(error)) from error
        if changed:
            raise InputError(
                f"The checkpoint of step {step} in '{self._folder}' is of another config ({'; '.join(changed)}); undo "
                "that or choose a new --workdir."
            )
        if digest(state) != about["digest"]:
            raise _DamagedError("its numbers are not those that were written")
        return state

    def _about(self, step: int) -> dict:
        return self._checkpointer.metadata(step).custom_metadata

    def _tell(self, damage: Mapping[int, Exception], taken: int) -> None:
        """Names damaged checkpoints; the run itself puts them aside."""
        for step, error in damage.items():
            names = itertools.chain([f"{step}"], (f"{step}.{i}" for i in itertools.count(1)))
            aside = next(
                p for name in names if not (p := self._folder.with_name(DAMAGED) / name).exists()
            )
            logger.warning(
                "The checkpoint of step %d in '%s' is damaged (%s); %sthat of step %d is used.",
                step,
                self._folder,
                error,
                f"it is kept as '{aside}', and " if self._writing else "",
                taken,
            )
            if self._writing:
                aside.parent.mkdir(exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # another process was quicker
                    (self._folder / str(step)).rename(aside)
        if damage and self._writing:
            self._checkpointer.reload()


class _Best:
    """A policy of preservation: the checkpoint of the greatest merit stays."""

    def __init__(self):
        self._step, self._merit = None, ()

    def see(self, step: int, merit: Sequence[float] | None) -> None:
        """Takes note of a checkpoint."""
        if merit and tuple(merit) > self._merit:
            self._step, self._merit = step, tuple(merit)

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """What Orbax asks before it removes checkpoints."""
        return [checkpoint.step == self._step for checkpoint in checkpoints]


class _DamagedError(Exception):
    """A checkpoint cannot be read."""


# Orbax wraps whatever it meets in a KeyError; without metadata there is None, which has no config.
_DAMAGE = (ValueError, KeyError, TypeError, OSError)


def digest(state: PyTree) -> str:
    """64 hexadecimal digits that tell states apart to the last bit, the same on any mesh.

    Every leaf contributes the sum of its numbers' bits, weighted by their places, modulo 2**64. Integers add up to the
    same in any order, so that each process adds what it holds.
    """
    sums = np.array([_weighted_bits(leaf) for leaf in jax.tree.leaves(state)], np.uint64)
    if jax.process_count() > 1:  # by halves, for JAX knows 32 bits
        sums = multihost_utils.process_allgather(sums.view(np.uint32)).view(np.uint64).sum(0)
    return hashlib.sha256(sums.tobytes()).hexdigest()


def _weighted_bits(leaf: jax.Array) -> int:
    """This process's part of a leaf's sum; of replicas one counts."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    total = 0
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            bits = np.asarray(shard.data)
            bits = bits.view(f"uint{8 * bits.dtype.itemsize}").astype(np.uint64)
            for axis in reversed(shard.index):
                place = np.arange(bits.shape[-1], dtype=np.uint64) + np.uint64(axis.start or 0)
                bits = bits @ (2 * place + 1)
            total += int(bits)
    return total % 2**64


def _gist(error: BaseException) -> str:
    """The last line that says something of what may be pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
