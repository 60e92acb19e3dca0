"""The programs of train steps, compiled for devices that execute nothing, and what their compiler says of them.

- Arguments are exact: the bytes of a device's part of the state, and of what the step reads of the batch. Temporaries
  are what the compiler has planned.
- FLOPs are XLA's count. A loop's body counts once, in FLOPs, traffic and collectives alike, however often it is run.
  For GPUs there is none, and no traffic: their programs call libraries. Nor is there what these need to work with.
- Seconds are those of this machine, without the cache of compiled programs.

For simulated CPU devices the numbers resemble those of as many accelerators, but are not theirs. Collectives follow
from the layout (parallel/rules.py), which is the same everywhere, but every platform's compiler combines, splits and
moves them in its own way: what is exchanged tells more than how often. A CPU's convolutions need fewer operations
(ops/convolution.py). Other platforms fuse otherwise, pad, and keep workspaces for their convolutions.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import grain
import jax
from jax.sharding import Mesh

from faceswap_jax.cost import stored
from faceswap_jax.cost.collectives import Collective, collectives
from faceswap_jax.cost.hlo import computations
from faceswap_jax.cost.traffic import traffic
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.batches import described
from faceswap_jax.parallel.distributed import host_slice
from faceswap_jax.reporting.progress import duration
from faceswap_jax.tasks.base import Batch, Phase, Task, abstract_state
from faceswap_jax.training.programs import Compiler, programs_of, step_title


@dataclass(frozen=True)
class Cost:
    """Of one train step, for each device.

    Attributes:
        phase: its name.
        step: name of the step in `Task.steps`.
        seconds: tracing and compiling.
        flops: operations; a multiplication with its addition is two. None of GPUs.
        traffic: bytes to and from the device's memory. None of GPUs.
        arguments: bytes of the state and the batch.
        temporaries: bytes of all else while the step runs.
        peak: bytes of both, and of results that do not take the place of the old state.
        collectives: of the compiled program.
    """

    phase: str
    step: str
    seconds: float
    flops: float | None
    traffic: int | None
    arguments: int
    temporaries: int
    peak: int
    collectives: tuple[Collective, ...]


@dataclass(frozen=True)
class TooLarge:
    """A train step that a device's memory does not hold.

    Attributes:
        phase: its name.
        step: name of the step in `Task.steps`.
        seconds: tracing, and compiling until that was known.
        reason: how much is missing, in the compiler's words.
    """

    phase: str
    step: str
    seconds: float
    reason: str


def costs(task: Task, mesh: Mesh, tell: Callable[[str], None]) -> list[list[Cost | TooLarge]]:
    """The cost of every step of every phase.

    Args:
        task: whose steps to compile.
        mesh: of devices that are simulated, or not there at all.
        tell: is given the name of each before its turn, and about how long the rest will take.

    Returns:
        A list for each phase.

    Raises:
        InputError: the batches do not fit the mesh.
    """
    # The batches of all phases, so that errors come first.
    batches = [batch_of(task, phase, mesh) for phase in task.phases]
    count = sum(len(task.steps(phase)) for phase in task.phases)
    began = time.monotonic()
    done = 0
    results = []
    for phase, batch in zip(task.phases, batches, strict=True):
        of_phase = []
        for name in task.steps(phase):
            left = ""
            if done:
                mean = (time.monotonic() - began) / done
                left = f", about {duration(mean * (count - done))} left"
            tell(f"{step_title(task, phase, name)} ({done + 1} of {count}{left}) ...")
            of_phase.append(cost(task, phase, mesh, batch, name))
            done += 1
        results.append(of_phase)
    return results


def batch_of(task: Task, phase: Phase, mesh: Mesh) -> Batch:
    """Shapes, types and shardings of a phase's batches; none is read.

    Raises:
        InputError: the data do not fit the phase, the batch does not fit the mesh, or the task does not tell shapes.
    """
    data = task.train_data(phase, *host_slice(mesh))
    try:
        spec = grain.experimental.get_element_spec(data)
    except (ValueError, NotImplementedError) as error:
        raise InputError(
            f"config.task '{task.config.task}' does not tell the shapes of its batches; make its data with "
            f"data_pipelines.batches.described.Described ({error})."
        ) from error
    return described(spec, task.batch_spec, mesh)


def cost(task: Task, phase: Phase, mesh: Mesh, batch: Batch, name: str) -> Cost | TooLarge:
    """The cost of one of a phase's steps on an abstract batch."""
    title = step_title(task, phase, name)
    begin = time.perf_counter()
    lowered = lower(task, phase, mesh, batch, name)
    digest = stored.digest(lowered, mesh)
    known = stored.read(digest, (Cost, TooLarge))
    if known:
        return replace(known, phase=title, step=name)

    try:
        compiled = Compiler()(title, lambda: lowered)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _, _, reason = str(error).splitlines()[0].partition("RESOURCE_EXHAUSTED: ")
        found = TooLarge(title, name, time.perf_counter() - begin, reason)
    else:
        found = _cost(title, name, time.perf_counter() - begin, compiled, mesh)
    stored.write(digest, found)
    return found


def _cost(title: str, name: str, seconds: float, compiled: jax.stages.Compiled, mesh: Mesh) -> Cost:
    memory = compiled.memory_analysis()
    program = list(computations(compiled.as_text()))
    counts = compiled.cost_analysis()
    # What takes the place of the old state needs no room of its own.
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Cost(
        phase=title,
        step=name,
        seconds=seconds,
        flops=counts["flops"] if counts else None,
        traffic=traffic(program) if counts else None,
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        peak=memory.argument_size_in_bytes + memory.temp_size_in_bytes + results,
        collectives=tuple(collectives(program, mesh)),
    )


def lower(task: Task, phase: Phase, mesh: Mesh, batch: Batch, name: str) -> jax.stages.Lowered:
    """The loop's own step, for a state that is never made."""
    with jax.set_mesh(mesh):
        state = rules.sharded(abstract_state(task, phase), mesh)
        step = programs_of(task, phase, mesh, Compiler()).steps[name]
        return step.lower(state, batch)
