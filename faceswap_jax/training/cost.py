"""What train steps cost on a mesh, known from compiling them for simulated devices; nothing runs.

The mesh is of CPU devices. The numbers resemble those of as many accelerators, but are not theirs:

- Collectives follow from the layout (parallel/rules.py), which is the same everywhere, but every platform's compiler
  combines, splits and moves them in its own way: what is exchanged tells more than how often. A CPU exchanges bfloat16
  as float32, in twice the bytes.
- FLOPs are XLA's count for the program of a CPU, whose convolutions need fewer (ops/convolution.py). A loop's body
  counts once, in FLOPs and collectives alike, however often it is run.
- Arguments are exact: the bytes of a device's part of the state, and of what the step reads of the batch. Temporaries
  are what the compiler has planned; other platforms fuse otherwise, pad, and keep workspaces for their convolutions.
- Seconds are those of this machine, without the cache of compiled programs.
"""

import math
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import ml_collections
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from faceswap_jax.parallel import rules
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.mesh import make_mesh, split_cpu
from faceswap_jax.tasks.base import Batch, Phase, Task, abstract_state
from faceswap_jax.tasks.registry import load_task, task_class
from faceswap_jax.training.programs import Compiler, programs_of, step_title

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
COLUMNS = (
    "phase",
    "compile (s)",
    "GFLOP",
    "arguments (MiB)",
    "temporaries (MiB)",
    "peak (MiB)",
    "collectives (MiB)",
)


@dataclass(frozen=True)
class Collective:
    """One instruction by which devices exchange data, which may hold several tensors.

    Attributes:
        kind: one of KINDS.
        shapes: of its result on one device, as HLO writes them, e.g. ["f32[3,3,8,8]", "f32[8]"].
        size: bytes of its result on one device; of a reduce-scatter it is what is left, of an all-gather the whole.
    """

    kind: str
    shapes: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Cost:
    """Of one train step, for each device.

    Attributes:
        phase: its name.
        seconds: tracing and compiling.
        flops: operations; a multiplication with its addition is two.
        arguments: bytes of the state and the batch.
        temporaries: bytes of all else while the step runs.
        peak: bytes of both, and of results that do not take the place of the old state.
        collectives: of the compiled program.
    """

    phase: str
    seconds: float
    flops: float
    arguments: int
    temporaries: int
    peak: int
    collectives: tuple[Collective, ...]


def compile_phases(config: ml_collections.ConfigDict, devices: int) -> None:
    """Compiles every phase of `config` for a mesh of `devices` simulated CPU devices and prints a table to stdout.

    Call it before JAX starts. Takes the place of config.mesh.cpu_devices; config.mesh.persona is respected. The data
    must be there, for they decide about personas and shapes; one batch of each phase is read.

    Raises:
        InputError: the config is wrong, its data is missing, or the mesh does not fit.
    """
    jax.config.update("jax_platforms", "cpu")
    # What the cache knows would seem to compile in no time.
    jax.config.update("jax_enable_compilation_cache", False)

    # The experiment's mesh, on simulated devices
    split_cpu(devices)
    config = task_class(config).resolve(config)
    task, mesh = load_task(config), make_mesh(config.mesh.persona)
    rows = costs(task, mesh, partial(print, file=sys.stderr, flush=True))
    Console(width=None if sys.stdout.isatty() else 140).print(table(rows, mesh))


def costs(task: Task, mesh: Mesh, tell: Callable[[str], None]) -> list[Cost]:
    """The cost of every step of every phase.

    Args:
        task: whose steps to compile.
        mesh: of simulated devices.
        tell: is given the name of each before its turn.

    Raises:
        InputError: the data do not fit a phase or the mesh.
    """
    # The batches of all phases, so that errors come first.
    batches = [batch_of(task, phase, mesh) for phase in task.phases]
    results = []
    for phase, batch in zip(task.phases, batches, strict=True):
        for name in task.steps(phase):
            tell(f"{step_title(task, phase, name)} ...")
            results.append(cost(task, phase, mesh, batch, name))
    return results


def batch_of(task: Task, phase: Phase, mesh: Mesh) -> Batch:
    """Shapes, types and shardings of a phase's batches, as its first one has them.

    Raises:
        InputError: the data do not fit the phase or the mesh.
    """
    batch = put(task.train_data(phase, 0, 1)[0], task.batch_spec, mesh)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), batch
    )


def cost(task: Task, phase: Phase, mesh: Mesh, batch: Batch, name: str) -> Cost:
    """The cost of one of a phase's steps on an abstract batch."""
    begin = time.perf_counter()
    compiled = lower(task, phase, mesh, batch, name).compile()
    seconds = time.perf_counter() - begin
    # What takes the place of the old state needs no room of its own.
    memory = compiled.memory_analysis()
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Cost(
        step_title(task, phase, name),
        seconds,
        compiled.cost_analysis()["flops"],
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.argument_size_in_bytes + memory.temp_size_in_bytes + results,
        tuple(collectives(compiled.as_text())),
    )


def lower(task: Task, phase: Phase, mesh: Mesh, batch: Batch, name: str) -> jax.stages.Lowered:
    """The loop's own step, for a state that is never made."""
    with jax.set_mesh(mesh):
        state = rules.sharded(abstract_state(task, phase), mesh)
        step = programs_of(task, phase, mesh, Compiler()).steps[name]
        return step.lower(state, batch)


def collectives(text: str) -> list[Collective]:
    """Finds the collectives of an optimized program, given as text (`jax.stages.Compiled.as_text`).

    One that is started and awaited counts once, where it is awaited: there its type is that of its result alone. Groups
    of one device exchange nothing and do not count.
    """
    instruction = re.compile(
        rf"^\s*(?:ROOT )?\S+ = (.+?) ({'|'.join(KINDS)})(?:-done)?\((.*)", re.MULTILINE
    )
    # "  %name = f32[8,2]{1,0} all-reduce(%operand), replica_groups=..."
    found = []
    for result, kind, rest in instruction.findall(text):
        alone = re.search(r"replica_groups=({{\d+}|\[\d+,1\])", rest)
        if not alone:
            shapes = tuple(re.findall(r"\w+\[[\d,]*\]", result))
            found.append(Collective(kind, shapes, sum(map(_size, shapes))))
    return found


def _size(shape: str) -> int:
    """Bytes of e.g. "f32[8,2]"; the first number in the name of a type is of its bits."""
    kind, dimensions = shape.rstrip("]").split("[")
    bits = 8 if kind == "pred" else int(re.search(r"\d+", kind)[0])
    return math.prod(int(d) for d in dimensions.split(",") if d) * bits // 8


def table(rows: list[Cost], mesh: Mesh) -> Table:
    """One row per phase; MiB and GFLOP are of one device."""
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    result = Table(title=f"A train step on each device of a simulated mesh of {axes}")
    for column in COLUMNS:
        result.add_column(
            column, justify="left" if column in (COLUMNS[0], COLUMNS[-1]) else "right"
        )
    for row in rows:
        memory = (f"{size / 2**20:,.1f}" for size in (row.arguments, row.temporaries, row.peak))
        result.add_row(
            row.phase,
            f"{row.seconds:.1f}",
            f"{row.flops / 1e9:,.3g}",
            *memory,
            summary(row.collectives),
        )
    return result


def summary(found: tuple[Collective, ...]) -> str:
    """A line for every kind: how many, and in brackets the MiB of their results on one device."""
    lines = []
    for kind in KINDS:
        sizes = [collective.size / 2**20 for collective in found if collective.kind == kind]
        if sizes:
            total = f"{sum(sizes):,.2f}" if sum(sizes) >= 0.01 else "<0.01"
            lines.append(f"{len(sizes)} {kind} ({total})")
    return "\n".join(lines) or "none"
