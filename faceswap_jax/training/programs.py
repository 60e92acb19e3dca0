"""The compiled functions of a phase."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import psutil
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, PyTree

from faceswap_jax.parallel import rules
from faceswap_jax.reporting.goodput import Clock
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Phase, Step, Task, abstract_state
from faceswap_jax.training import finite

logger = logging.getLogger(__name__)

# For what runs once: compiles in half the time, to the same numbers.
QUICK = {"xla_backend_optimization_level": 1}


class Program:
    """A jitted function that is compiled ahead of its first call.

    From then on arguments of another shape, type or layout are an error, not a compilation that nobody notices.
    """

    def __init__(
        self,
        clock: Clock,
        function: Callable,
        *,
        judge: Callable[[jax.stages.Compiled], None] | None = None,
        **options,
    ):
        """Says what to compile.

        Args:
            clock: that tells how long it takes.
            function: of arrays.
            judge: is shown the compiled program.
            options: of `jax.jit`.
        """
        self._clock = clock
        self._function = jax.jit(function, **options)
        self._judge = judge
        self._compiled = None

    def __call__(self, *arguments: PyTree) -> PyTree:
        """Compiles if need be, and dispatches."""
        if self._compiled is None:
            with self._clock("compile"):
                self._compiled = self.lower(*arguments).compile()
            if self._judge:
                self._judge(self._compiled)
        return self._compiled(*arguments)

    def lower(self, *arguments: PyTree) -> jax.stages.Lowered:
        """The traced program; arguments may be abstract."""
        return self._function.lower(*arguments)

    def shapes(self, *arguments: PyTree) -> PyTree:
        """Shapes and types of the results."""
        return self._function.eval_shape(*arguments)


@dataclass(frozen=True)
class Programs:
    """The compiled functions of one phase.

    Attributes:
        enter: `Task.enter`.
        steps: `Task.steps`; each also returns the flags that `finite.check` reads.
        measures: of the task's evaluators, in their order.
        draw: of its preview; None if it shows nothing.
    """

    enter: Callable[[State], State]
    steps: Mapping[str, Callable]
    measures: Sequence[Callable]
    draw: Callable | None


def programs_of(task: Task, phase: Phase, mesh: Mesh, clock: Clock) -> Programs:
    """The functions of a phase; each is compiled when it is first called."""
    layout = rules.shardings(abstract_state(task, phase), mesh)
    replicated = NamedSharding(mesh, PartitionSpec())  # what the host reads

    def enter() -> Program:
        function = partial(task.enter, phase)
        return Program(clock, function, out_shardings=layout, compiler_options=QUICK)

    def train_step(name: str, step: Step) -> Program:
        return Program(
            clock,
            _watched(step),
            judge=partial(warn_if_large, task, step_title(task, phase, name)),
            donate_argnums=0,
            out_shardings=(layout, replicated, replicated),
        )

    preview = task.preview(phase)
    return Programs(
        enter=enter(),
        steps={name: train_step(name, step) for name, step in task.steps(phase).items()},
        measures=[
            Program(clock, evaluator.measure, out_shardings=replicated)
            for evaluator in task.evaluators(phase)
        ],
        draw=Program(clock, preview.draw, out_shardings=replicated) if preview else None,
    )


def step_title(task: Task, phase: Phase, name: str) -> str:
    """What people call a step: by its phase, and by its own name if the phase has several."""
    return phase.name if len(task.steps(phase)) == 1 else f"{phase.name}, {name}"


def _watched(step: Step) -> Callable[[State, Batch], tuple[State, Metrics, Bool[Array, "n"]]]:
    """The step, which also tells what of it is finite."""

    def watched(state, batch):
        state, metrics = step(state, batch)
        return state, metrics, finite.flags(batch, metrics, state)

    return watched


def warn_if_large(task: Task, name: str, compiled: jax.stages.Compiled) -> None:
    """Warns when a step needs more memory than a CPU has: the system kills a process without a word."""
    if jax.default_backend() == "cpu":
        needed = compiled.memory_analysis().temp_size_in_bytes * jax.local_device_count()
        free = psutil.virtual_memory().available
        if needed > free:
            logger.warning(
                "%s needs %.1f GiB for a step with config.batch=%d, of which %.1f are free: if the process is killed, "
                "continue on more machines, or, in a new --workdir, %s.",
                name,
                needed / 2**30,
                task.config.batch,
                free / 2**30,
                task.memory_advice,
            )
