"""Scores and previews of a state on held-out data."""

from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from faceswap_jax.errors import InputError
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.distributed import host_slice
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Phase, Task
from faceswap_jax.training.programs import Programs


class HeldOut:
    """The held-out data of a phase, and what its task measures and shows of them.

    Attributes:
        preview: the task's; None if it shows nothing.
    """

    def __init__(self, task: Task, phase: Phase, mesh: Mesh, programs: Programs):
        """Reads the first batch, which stays on the devices."""
        self.preview = task.preview(phase)
        self._task, self._mesh, self._programs = task, mesh, programs
        self._evaluators = task.evaluators(phase)
        self._data = task.eval_data(phase, *host_slice(mesh))
        self._first = self._batch(0)

    def scores(self, state: State) -> dict[str, float]:
        """The scores of all evaluators."""
        # A batch at a time, for all evaluators: a whole set may not fit the memory.
        measured = [[] for _ in self._evaluators]
        for number, batch in enumerate(self._batches()):
            for i, evaluator in enumerate(self._evaluators):
                if number < evaluator.batches:
                    values = self._programs.measures[i](state, batch)
                    measured[i].append(jax.device_get(values))
        return self._summarise(measured)

    def images(self, state: State) -> Float[np.ndarray, "rows columns h w 3"]:
        """The grid of the preview."""
        return jax.device_get(self._programs.draw(state, self._first))

    def check_best(self, best: str, state: State) -> None:
        """Checks that `config.run.best` is the name of a score, before a step is made.

        Raises:
            InputError: it is not.
        """
        names = self.score_names(state) if best else ()
        if best and best.removeprefix("-") not in names:
            raise InputError(f"config.run.best is '{best}'; the scores are {', '.join(names)}.")

    def score_names(self, state: State) -> list[str]:
        """Names of the scores, without measuring anything: the evaluators summarise zeros."""
        measured = []
        for evaluator in self._evaluators:
            shapes = jax.eval_shape(evaluator.measure, state, self._first)
            zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
            measured.append([zeros] * evaluator.batches)
        # Zeros may divide by zero; only the names count.
        with np.errstate(all="ignore"):
            return list(self._summarise(measured))

    def _batches(self) -> Iterator[Batch]:
        count = max((evaluator.batches for evaluator in self._evaluators), default=0)
        for number in range(count):
            yield self._batch(number) if number else self._first

    def _batch(self, number: int) -> Batch:
        return put(self._data[number], self._task.batch_spec, self._mesh)

    def _summarise(self, measured: list[list]) -> dict[str, float]:
        scores = {}
        for evaluator, values in zip(self._evaluators, measured, strict=True):
            scores |= evaluator.summarise(values)
        return scores
