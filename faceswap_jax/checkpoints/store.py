"""Checkpoints of a run: the whole state, step by step, in one folder."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.best import Best
from faceswap_jax.checkpoints.damage import CAUSES, DamagedError, gist, place_aside, put_aside
from faceswap_jax.checkpoints.digests import digests, parts
from faceswap_jax.errors import InputError, JobError
from faceswap_jax.parallel.distributed import raise_if_lost
from faceswap_jax.state import State

FOLDER = "checkpoints"
"""In the folder of a run."""
Layout = Callable[[int], PyTree]
"""From a number of steps to the abstract arrays of that step's state, with their shardings. Any mesh will do."""
logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of the run of `config` in `workdir`. A context manager.

    A checkpoint appears under its step number when it is complete. It holds the state, the config, and the digests by
    which damage is told.
    """

    def __init__(
        self,
        workdir: Path,
        config: ml_collections.ConfigDict,
        *,
        writing: bool = False,
        may_grow: Sequence[str] = (),
    ):
        """Opens the folder.

        Args:
            workdir: folder of the run; the folder of checkpoints is made in it if need be.
            config: of the run. Its `run` says what stays: the newest `keep`, those at multiples of `keep_every`, and
                the one with the best score.
            writing: whether this is the run itself. It removes what an interrupted save has left, and puts damaged
                checkpoints aside. A reader changes nothing, also while the run is under way.
            may_grow: fields of the config of which smaller values are of the same run, for what is written.
        """
        self._folder = workdir / FOLDER
        self._config = config
        self._writing = writing
        self._may_grow = may_grow
        self._best = Best()
        context = ocp.Context()
        # Replicas share the writing of an array, for which a program is compiled for each: too much for small ones.
        context.array.saving.min_slice_bytes_for_replica_parallel = 4 * 2**20
        with context:
            self._checkpointer = ocp.training.Checkpointer(
                self._folder.absolute(),
                preservation_policy=_preserved(config.run, self._best),
                cleanup_tmp_directories=writing,
            )
        # The best one of earlier starts
        if writing and config.run.best:
            for step in self.steps:
                with contextlib.suppress(*CAUSES):
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
        """Copies the state and returns; it is written while the run goes on.

        Args:
            state: to save. Skipped if its step is already saved.
            merit: how good it is, in numbers that are compared one after the other; the best checkpoint stays.

        Raises:
            InputError: the checkpoint before could not be written.
            JobError: another process has ended meanwhile.
        """
        self.wait()
        step = int(state.step)
        if step in self.steps:
            return
        self._best.see(step, merit)
        about = {
            "config": configs.plain(self._config),
            "may_grow": list(self._may_grow),
            "digests": digests(state),
            "merit": merit and list(merit),
        }
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
                f"A checkpoint could not be written to '{self._folder}' ({gist(error)}); make room, or give it "
                f"its rights, and run the same command again: it continues after step {max(self.steps, default=0):,}."
            ) from error

    def restore(self, layout: Layout, step: int | None = None) -> State | None:
        """The whole state of the newest sound checkpoint; None if there is no checkpoint.

        A damaged checkpoint is named in a warning and the one before it taken.

        Args:
            layout: of the states.
            step: of the only checkpoint that will do.

        Raises:
            InputError: there is no checkpoint of that step, it is of another config, or none can be read.
            JobError: of several processes this one has met damage; started again they take the checkpoint before.
        """
        return self._newest(layout, step, self._load)

    def read(self, layout: Layout, step: int | None = None) -> dict[str, Any] | None:
        """Parts of the state that `restore` would give; nothing else is read.

        Args:
            layout: of a dictionary of the state's groups, each with the entries that are wanted.
            step: of the only checkpoint that will do.

        Raises:
            InputError: as `restore`; or the states have no such part.
            JobError: as `restore`.
        """
        return self._newest(layout, step, self._load_parts)

    def _newest(self, layout: Layout, step: int | None, load: Callable[[int, PyTree], PyTree]):
        steps, damage = self._candidates(step), {}
        for candidate in reversed(steps):
            try:
                loaded = load(candidate, layout(candidate))
            except DamagedError as error:
                if not (self._folder / str(candidate)).exists():
                    # The run under way has removed it meanwhile.
                    self._checkpointer.reload()
                    return self._newest(layout, step, load)
                damage[candidate] = error
                if jax.process_count() > 1 and candidate != steps[0]:
                    # The others may have met none, and would wait for this process for ever.
                    self._report(damage, steps[steps.index(candidate) - 1])
                    raise JobError("Start the same command again.") from error
            else:
                self._report(damage, candidate)
                return loaded
        if damage:
            raise self._all_damaged(damage)
        return None

    def _candidates(self, step: int | None) -> list[int]:
        if step is None:
            return self.steps
        if step in self.steps:
            return [step]
        known = ", ".join(map(str, self.steps)) or "none at all"
        raise InputError(f"'{self._folder}' has no checkpoint of step {step}; there are {known}.")

    def _load(self, step: int, target: State) -> State:
        known = self._digests(step)
        try:
            state = self._checkpointer.load(step, target)
        except CAUSES as error:
            raise DamagedError(gist(error)) from error
        _compare(digests(state), known)
        return state

    def _load_parts(self, step: int, target: dict[str, Any]) -> dict[str, Any]:
        known, wanted = self._digests(step), parts(target)
        if not wanted <= known.keys():
            raise DamagedError(f"it has no {', '.join(sorted(wanted - known.keys()))}")
        # Orbax ignores what is not in `target`.
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        try:
            with context:
                loaded = self._checkpointer.load(step, target)
        except CAUSES as error:
            raise DamagedError(gist(error)) from error
        _compare(digests(loaded), {part: known[part] for part in wanted})
        return loaded

    def _digests(self, step: int) -> dict[str, str]:
        """The digests of a checkpoint's parts, if it is of the same config."""
        try:
            about = self._about(step)
            stored = ml_collections.ConfigDict(about["config"])
            changed = configs.differences(stored, self._config, about["may_grow"])
            known = about["digests"]
        except CAUSES as error:
            raise DamagedError(gist(error)) from error
        if changed:
            raise InputError(
                f"The checkpoint of step {step} in '{self._folder}' is of another config ({'; '.join(changed)}); undo "
                "that or choose a new --workdir."
            )
        return known

    def _about(self, step: int) -> dict[str, Any]:
        return self._checkpointer.metadata(step).custom_metadata

    def _report(self, damage: Mapping[int, Exception], taken: int) -> None:
        """Names damaged checkpoints; the run itself puts them aside."""
        for step, error in damage.items():
            place = place_aside(self._folder, step)
            logger.warning(
                "The checkpoint of step %d in '%s' is damaged (%s); %sthat of step %d is used.",
                step,
                self._folder,
                error,
                f"it is kept as '{place}', and " if self._writing else "",
                taken,
            )
            if self._writing:
                put_aside(self._folder, step, place)
        # Orbax remembers checkpoints that are not there any more.
        if damage and self._writing:
            self._checkpointer.reload()

    def _all_damaged(self, damage: Mapping[int, Exception]) -> InputError:
        newest = max(damage)
        others = ", and so are all before it" if len(damage) > 1 else ""
        return InputError(
            f"The checkpoint of step {newest} in '{self._folder}' is damaged or of another version of the model "
            f"({damage[newest]}){others}; use the version that wrote it, or train anew in another --workdir."
        )


def read_parts(
    workdir: Path, abstract: Callable[[int], dict[str, Any]], mesh: Mesh
) -> dict[str, Any]:
    """Parts of the newest sound checkpoint of a run, whole on every device; needs no task.

    Args:
        workdir: folder of the run.
        abstract: from the steps done to shapes and types by group and entry, e.g. {"params": {"encoder": ...}}.
        mesh: of the devices.

    Raises:
        InputError: `workdir` holds no run, or none with a checkpoint that can be read and has these parts.
    """
    replicated = NamedSharding(mesh, PartitionSpec())

    def layout(step: int) -> dict[str, Any]:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated),
            abstract(step),
        )

    config = configs.load(workdir / "config.json")
    with Checkpoints(workdir, config) as checkpoints:
        return existing(checkpoints.read(layout), workdir)


def existing(read: PyTree | None, workdir: Path) -> PyTree:
    """What was read of a run's checkpoints.

    Raises:
        InputError: there is none yet.
    """
    if read is None:
        raise InputError(
            f"'{workdir}' has no checkpoint yet; let 'faceswap train' run until its first one."
        )
    return read


def _preserved(run: ml_collections.ConfigDict, best: Best):
    """What stays by `config.run`, as Orbax wants to be told."""
    policies = ocp.training.preservation_policies
    kept = [policies.LatestN(run.keep), best]
    if run.keep_every:
        kept.append(policies.EveryNSteps(run.keep_every))
    return policies.AnyPreservationPolicy(kept)


def _compare(found: Mapping[str, str], known: Mapping[str, str]) -> None:
    if found != known:
        raise DamagedError("its numbers are not those that were written")
