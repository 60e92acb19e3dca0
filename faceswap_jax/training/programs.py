"""The compiled functions of a phase."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, PyTree

from faceswap_jax.parallel import rules
from faceswap_jax.reporting.goodput import Clock
from faceswap_jax.reporting.progress import duration
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Phase, Step, Task, abstract_state
from faceswap_jax.training import finite
from faceswap_jax.training.cache import COMPILING
from faceswap_jax.training.memory import warn_if_large

SLOW = 5
"""Seconds of a compilation from which it is said how long it took."""

# For what runs once: compiles in half the time, to the same numbers.
QUICK = {"xla_backend_optimization_level": 1}


def _nothing(_text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Compiler:
    """Compiles, and says so.

    Attributes:
        clock: tells how long it takes.
        say: writes a line for people.
    """

    clock: Clock = field(default_factory=Clock)
    say: Callable[[str], None] = _nothing

    def __call__(self, title: str, lower: Callable[[], jax.stages.Lowered]) -> jax.stages.Compiled:
        """Compiles what `lower` traces; `title` is for people."""
        self.say(f"Compiling {title} ...")
        began = time.monotonic()
        with self.clock("compile"):
            compiled = _compile(lower())
        seconds = time.monotonic() - began
        if seconds >= SLOW:
            self.say(f"Compiled {title} in {duration(seconds)}.")
        return compiled


class Program:
    """A jitted function that is compiled ahead of its first call.

    From then on arguments of another shape, type or layout are an error, not a compilation that nobody notices.
    """

    def __init__(
        self,
        title: str,
        function: Callable,
        compiler: Compiler,
        *,
        judge: Callable[[jax.stages.Compiled], None] | None = None,
        **options,
    ):
        """Says what to compile.

        Args:
            title: what it is, for people, e.g. "level 2, 16 px: step".
            function: of arrays.
            compiler: that compiles it.
            judge: is shown the compiled program.
            options: of `jax.jit`.
        """
        self._title = title
        self._function = jax.jit(function, **options)
        self._compiler = compiler
        self._judge = judge
        self._compiled = None

    def __call__(self, *arguments: PyTree) -> PyTree:
        """Compiles if need be, and dispatches."""
        if self._compiled is None:
            self._compiled = self._compiler(self._title, partial(self.lower, *arguments))
            if self._judge:
                self._judge(self._compiled)
        return self._compiled(*arguments)

    def lower(self, *arguments: PyTree) -> jax.stages.Lowered:
        """The traced program; arguments may be abstract."""
        return self._function.lower(*arguments)


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
    steps: Mapping[str, Program]
    measures: Sequence[Program]
    draw: Program | None


def programs_of(task: Task, phase: Phase, mesh: Mesh, compiler: Compiler) -> Programs:
    """The functions of a phase; each is compiled when it is first called."""
    layout = rules.shardings(abstract_state(task, phase), mesh)
    # What the host reads is whole on every device.
    replicated = NamedSharding(mesh, PartitionSpec())

    def train_step(name: str, step: Step) -> Program:
        title = step_title(task, phase, name)
        # The new state takes the place of the old one.
        return Program(
            title,
            _watched(step),
            compiler,
            judge=partial(warn_if_large, task, title),
            donate_argnums=0,
            out_shardings=(layout, replicated, replicated),
        )

    def reading(what: str, function: Callable) -> Program:
        return Program(f"{phase.name}: {what}", function, compiler, out_shardings=replicated)

    # It runs once: a fast compilation counts more than a fast program.
    enter = Program(
        f"{phase.name}: its beginning",
        partial(task.enter, phase),
        compiler,
        # Else the old state would stay in the memory for the whole phase.
        donate_argnums=0,
        out_shardings=layout,
        compiler_options=QUICK,
    )
    preview = task.preview(phase)
    return Programs(
        enter=enter,
        steps={name: train_step(name, step) for name, step in task.steps(phase).items()},
        measures=[reading("scores", evaluator.measure) for evaluator in task.evaluators(phase)],
        draw=reading("preview", preview.draw) if preview else None,
    )


def step_title(task: Task, phase: Phase, name: str) -> str:
    """What people call a step: by its phase, and by its own name if the phase has several."""
    return phase.name if len(task.steps(phase)) == 1 else f"{phase.name}, {name}"


def _watched(step: Step) -> Callable[[State, Batch], tuple[State, Metrics, Bool[Array, "n"]]]:
    """The step, which also tells what of it is finite."""

    def watched(state, batch):
        state, metrics = step(state, batch)
        # Part of the compiled step: a pass of its own would read all memory again.
        return state, metrics, finite.flags(batch, metrics, state)

    return watched


def _compile(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles in a thread of its own: XLA would keep the main thread from hearing Ctrl-C."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=COMPILING)
    try:
        return pool.submit(lowered.compile).result()
    finally:
        pool.shutdown(wait=False)
