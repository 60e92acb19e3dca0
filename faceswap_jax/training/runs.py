"""Runs as others find them: the trained state in a run's folder."""

from dataclasses import dataclass
from pathlib import Path

import ml_collections
from jax.sharding import Mesh

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints, existing
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


def layout(task: Task, mesh: Mesh, step: int) -> State:
    """The abstract arrays of the state after `step` steps, with their shardings."""
    return rules.sharded(abstract_state(task, phase_of(task, step)), mesh)


def load(workdir: Path, mesh: Mesh, step: int | None = None, *, optimizer: bool = False) -> Run:
    """Loads the newest sound checkpoint of a run, or the one after `step` steps.

    Args:
        workdir: folder of the run.
        mesh: over which to lay the state.
        step: of the only checkpoint that will do.
        optimizer: whether to read the optimizer states, two thirds of a state, too; without, `state.opt` is {}.

    Raises:
        InputError: `workdir` holds no run, or no such checkpoint.
    """
    config = configs.load(workdir / "config.json")
    task = load_task(config)

    # Phases differ in their states, so that the layout depends on the step.
    def parts(step: int) -> dict:
        groups = vars(layout(task, mesh, step)).copy()
        if not optimizer:
            del groups["opt"]
        return groups

    with Checkpoints(workdir, config) as checkpoints:
        found = existing(checkpoints.read(parts, step), workdir)
    state = State(**{"opt": {}} | found)
    return Run(config, task, phase_of(task, int(state.step)), state)
