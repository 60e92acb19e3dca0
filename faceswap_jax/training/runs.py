"""Runs as others find them: the trained state in a run's folder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ml_collections
from jax.sharding import Mesh
from jaxtyping import PyTree

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.checkpoint import Checkpoints
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Phase, Task, abstract_state, phase_of
from faceswap_jax.tasks.registry import load_task


@dataclass(frozen=True)
class Run:
    """What a run has come to: a state of one of its phases."""

    config: ml_collections.ConfigDict
    task: Task
    phase: Phase
    state: State


def layout(task: Task, mesh: Mesh, step: int) -> tuple[State, PyTree]:
    """Shapes and types of the state after `step` steps, and the sharding of each leaf."""
    abstract = abstract_state(task, phase_of(task, step))
    return abstract, rules.shardings(abstract, mesh)


def load(workdir: Path, mesh: Mesh, step: int | None = None) -> Run:
    """The newest sound checkpoint of a run, or the one after `step` steps.

    Raises:
        InputError: `workdir` holds no run, or no such checkpoint.
    """
    config = configs.load(workdir / "config.json")
    task = load_task(config)
    with Checkpoints(workdir / "checkpoints", config) as checkpoints:
        state = checkpoints.restore(partial(layout, task, mesh), step)
    if state is None:
        raise InputError(
            f"'{workdir}' has no checkpoint yet; let 'faceswap train' run until its first one."
        )
    return Run(config, task, phase_of(task, int(state.step)), state)
