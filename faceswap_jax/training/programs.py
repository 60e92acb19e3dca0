"""The compiled functions of a phase."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import psutil
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from faceswap_jax.parallel import rules
from faceswap_jax.reporting.goodput import Clock
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Phase, Task, abstract_state
from faceswap_jax.training import finite

logger = logging.getLogger(__name__)


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
        self._clock, self._function, self._judge = clock, jax.jit(function, **options), judge
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
    """The compiled functions of one phase."""

    enter: Callable[[State], State]
    train_step: Callable
    eval_step: Callable
    preview: Callable


# For what runs once: compiles in half the time, to the same numbers.
QUICK = {"xla_backend_optimization_level": 1}


def programs_of(task: Task, phase: Phase, mesh: Mesh, clock: Clock) -> Programs:
    """The functions of a phase; `train_step` also returns what `finite.check` reads."""
    layout = rules.shardings(abstract_state(task, phase), mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())  # what the host reads

    def train_step(state, batch):
        state, values = task.train_step(phase, state, batch)
        return state, values, finite.flags(batch, values, state)

    return Programs(
        enter=Program(
            clock, partial(task.enter, phase), out_shardings=layout, compiler_options=QUICK
        ),
        train_step=Program(
            clock,
            train_step,
            judge=partial(warn_if_large, task, phase),
            donate_argnums=0,
            out_shardings=(layout, everywhere, everywhere),
        ),
        eval_step=Program(clock, partial(task.eval_step, phase), out_shardings=everywhere),
        preview=Program(clock, partial(task.preview, phase), out_shardings=everywhere),
    )


def warn_if_large(task: Task, phase: Phase, compiled: jax.stages.Compiled) -> None:
    """Tells when a step needs more memory than a CPU has, for the system kills a process without a word."""
    if jax.default_backend() == "cpu":
        needed = compiled.memory_analysis().temp_size_in_bytes * jax.local_device_count()
        free = psutil.virtual_memory().available
        if needed > free:
            logger.warning(
                "%s needs %.1f GiB for a step with config.batch=%d, of which %.1f are free: if the process is killed, "
                "continue on more machines, or, in a new --workdir, %s.",
                phase.name,
                needed / 2**30,
                task.config.batch,
                free / 2**30,
                task.smaller,
            )
