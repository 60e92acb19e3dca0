"""What the training loop knows of a system."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import grain
import jax
import ml_collections
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from data_pipelines import datasets, sources
from faceswap_jax import tasks
from faceswap_jax.errors import InputError
from faceswap_jax.state import State

Batch = PyTree
Metrics = dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class Phase:
    """A stretch of the run with one compiled step: a growth level, a stage of a curriculum, a learning-rate stage.

    Attributes:
        name: shown to people, e.g. "level 4, 64 px".
        start: first step of the phase.
        stop: first step after it.
        stage: what distinguishes the phase for its task, e.g. the growth level.
        cost: time of one step relative to the other phases, for the estimate of the time left.
    """

    name: str
    start: int
    stop: int
    stage: int
    cost: float = 1.0


class Task(Protocol):
    """One trainable system. All functions of state are pure; the loop compiles them once per phase.

    GANs keep two groups in `state.params` and `state.opt`; frozen networks live in `state.extras`; a curriculum is a
    sequence of phases; a plain regressor has one. A task that swaps faces also has `swap` and `resolution`, see
    `tasks/comb.py`.
    """

    phases: Sequence[Phase]
    batch_spec: PartitionSpec
    smaller: str
    """What to change when the memory does not suffice, e.g. "lower config.batch"."""

    @property
    def corrupt(self) -> int:
        """Number of corrupt records that were met and skipped so far."""
        ...

    def __init__(self, config: ml_collections.ConfigDict): ...

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """The config with all that the data decides filled in, so that the run can be used without the data."""
        ...

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """A fresh state, of the first phase or of any; frozen networks have their shapes only."""
        ...

    def frozen(self) -> dict[str, PyTree]:
        """Networks that are given, not trained, read from their files: what a new run has in `state.extras`."""
        ...

    def enter(self, phase: Phase, state: State) -> State:
        """The state of `phase` from that of the phase before it."""
        ...

    def train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One step; the new state's `step` is one more."""
        ...

    def eval_step(self, phase: Phase, state: State, batch: Batch) -> Metrics:
        """Scores of held-out data."""
        ...

    def preview(
        self, phase: Phase, state: State, batch: Batch
    ) -> Float[Array, "rows columns h w 3"]:
        """A grid of pictures in [0, 1] from held-out data."""
        ...

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """This host's share of the batch of every step, addressed by step number.

        Arrays of text, which tell people where data come from, stay on the host: the steps find None in their place.
        """
        ...

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Batches of held-out data; the loop uses the first ones."""
        ...


class OfFaces:
    """What tasks share whose data are the face records that `config.data` names."""

    config: ml_collections.ConfigDict

    @cached_property
    def data(self) -> Mapping[str, sources.PersonaSource]:
        """All records of each persona; `corrupt` of a source tells which of them had to be skipped so far."""
        return datasets.open_data(self.config.data)

    @property
    def corrupt(self) -> int:
        """Number of corrupt records that were met and skipped so far."""
        return sum(len(source.corrupt) for source in self.data.values())


def with_data(config: ml_collections.ConfigDict, **decided: object) -> ml_collections.ConfigDict:
    """The config with what the data decide, and with the digest of their manifest, unless that is given."""
    config = config.copy_and_resolve_references()
    config.update(decided)
    config.data.manifest = config.data.manifest or datasets.manifest_digest(config.data)
    return config


def task_class(config: ml_collections.ConfigDict) -> type[Task]:
    """Class Task of `faceswap_jax/tasks/<config.task>.py`."""
    names = sorted(m.name for m in pkgutil.iter_modules(tasks.__path__) if m.name != "base")
    if config.task not in names:
        raise InputError(f"config.task is '{config.task}'; choose one of {', '.join(names)}.")
    return importlib.import_module(f"faceswap_jax.tasks.{config.task}").Task


def load_task(config: ml_collections.ConfigDict) -> Task:
    """The task that a resolved config describes."""
    return task_class(config)(config)


def phase_of(task: Task, step: int) -> Phase:
    """The phase that a state with `step` steps done is of: the one that did its last step."""
    return next(p for p in task.phases if step <= p.stop)


def abstract_state(task: Task, phase: Phase) -> State:
    """Shapes and types of a state of `phase`."""
    return jax.eval_shape(lambda key: task.init_state(phase, key), jax.random.key(0))
