"""Runs as others find them: the trained state in a run's folder."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import ml_collections
from jax.sharding import Mesh

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints, existing
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.distributed import host_slice
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Phase, Task, abstract_state, phase_of
from faceswap_jax.tasks.registry import load_task

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What a run has come to: a state of one of its phases, laid over a mesh."""

    config: ml_collections.ConfigDict
    task: Task
    phase: Phase
    state: State
    mesh: Mesh
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The data, and steps that were compiled, of this run and those that continue it."""

    def next_batch(self) -> Batch:
        """The batch of the next step, on the devices.

        Raises:
            InputError: the data are missing.
        """
        data = self._once(
            f"{self.phase.name}: data",
            lambda: self.task.train_data(self.phase, *host_slice(self.mesh)),
        )
        return put(data[int(self.state.step)], self.task.batch_spec, self.mesh)

    def train_step(self) -> tuple[Self, Metrics]:
        """The run after one more step, and the metrics of that; nothing is written. The state needs its optimizer's."""
        name = self.task.step_name(self.phase, int(self.state.step))
        step = self._once(f"{self.phase.name}: step {name}", lambda: self._compiled(name))
        with jax.set_mesh(self.mesh):
            state, metrics = step(self.state, self.next_batch())
        return replace(self, state=state), metrics

    def _compiled(self, name: str) -> Callable[[State, Batch], tuple[State, Metrics]]:
        # Whose states lie as it takes them, so that it is compiled once.
        layout = rules.shardings(abstract_state(self.task, self.phase), self.mesh)
        return jax.jit(self.task.steps(self.phase)[name], out_shardings=(layout, None))

    def _once(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


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
    return Run(config, task, phase_of(task, int(state.step)), state, mesh)
