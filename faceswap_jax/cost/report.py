"""`faceswap compile`: what every phase of an experiment costs, as tables."""

import sys
from collections.abc import Sequence
from functools import partial

import jax
import ml_collections
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from faceswap_jax.cost.chips import CHIPS, REACHED, Chip, bound, least
from faceswap_jax.cost.collectives import Collective
from faceswap_jax.cost.fit import Fit, fits
from faceswap_jax.cost.program import Cost, TooLarge, costs
from faceswap_jax.cost.topologies import devices_of
from faceswap_jax.parallel.mesh import make_mesh, split_cpu
from faceswap_jax.reporting.progress import duration
from faceswap_jax.tasks.base import Task
from faceswap_jax.tasks.registry import load_task, task_class

FRAMES = 1000
"""Of each persona of the data that are not there; more than any experiment wants."""

RESOLUTION = 1024
"""Of these data where the config does not say it; the most that any network makes."""

Found = Sequence[Sequence[Cost | TooLarge]]
"""For each phase, the cost of each of its steps."""


def compile_phases(
    config: ml_collections.ConfigDict,
    personas: int,
    *,
    devices: int = 0,
    topology: str = "",
    fit: Sequence[str] = (),
) -> None:
    """Compiles every phase of `config` and prints tables to stdout; call it before JAX starts.

    No data are read. Config.mesh.persona is respected.

    Args:
        config: of the experiment.
        personas: how many the data would have.
        devices: of the mesh, simulated CPU devices, in place of config.mesh.cpu_devices.
        topology: of TPUs or GPUs, in place of simulated devices; see `topologies.SHAPES`.
        fit: if given, "batch" and names of `fit.VARIED`: instead finds the largest batch that these chips hold in
            the last phase.

    Raises:
        InputError: the config is wrong, the mesh does not fit, or the topology cannot be compiled for.
    """
    jax.config.update("jax_platforms", "cpu")
    # What the cache knows would seem to compile in no time.
    jax.config.update("jax_enable_compilation_cache", False)

    # The experiment's mesh, on devices that execute nothing, or simulated ones
    chip = None
    if topology:
        there = devices_of(topology)
        chip = CHIPS[topology.partition(":")[0]]
    else:
        split_cpu(devices)
        there = jax.devices()
    config = without_data(config, personas)
    task = load_task(task_class(config).resolve(config))
    mesh = make_mesh(config.mesh.persona, there)

    console = Console(width=None if sys.stdout.isatty() else 140)
    tell = partial(print, file=sys.stderr, flush=True)
    if fit:
        varied = [name for name in fit if name != "batch"]
        found = list(fits(config, mesh, chip.memory, varied, tell))
        console.print(fit_table(found, mesh, chip))
        return

    # Costs
    found = costs(task, mesh, tell)
    console.print(program_table(found, mesh, chip))
    if chip and chip.peaks:
        console.print(bound_table(task, found, chip))


def without_data(config: ml_collections.ConfigDict, personas: int) -> ml_collections.ConfigDict:
    """The config with grey pictures in place of its data; a task that makes its own keeps them."""
    config = config.copy_and_resolve_references()
    if "kind" in config.get("data", {}):
        resolution = config.data.get("resolution", RESOLUTION)
        blank = {"kind": "blank", "personas": personas, "frames": FRAMES, "resolution": resolution}
        with config.unlocked():
            config.data.update(blank)
    return config


def program_table(found: Found, mesh: Mesh, chip: Chip | None) -> Table:
    """One row per step; all numbers are of one device."""
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    where = "a simulated mesh" if chip is None else f"{mesh.size} x {chip.name}, a mesh"
    result = Table(title=f"A train step on each device of {where} of {axes}")
    result.add_column("phase")
    numbers = ("compile (s)", "GFLOP", "traffic (MiB)", "arguments (MiB)", "temporaries (MiB)")
    for column in (*numbers, "peak (MiB)"):
        result.add_column(column, justify="right")
    result.add_column("collectives (MiB)")

    for row in [one for of_phase in found for one in of_phase]:
        if isinstance(row, TooLarge):
            result.add_row(row.phase, f"{row.seconds:.1f}", *"-----", f"does not fit: {row.reason}")
            continue
        peak = f"{row.peak / 2**20:,.1f}"
        if chip:
            peak += f" ({row.peak / chip.memory:.0%})"
        sizes = (row.traffic, row.arguments, row.temporaries)
        result.add_row(
            row.phase,
            f"{row.seconds:.1f}",
            "-" if row.flops is None else f"{row.flops / 1e9:,.3g}",
            *("-" if size is None else f"{size / 2**20:,.1f}" for size in sizes),
            peak,
            summary(row.collectives),
        )
    return result


def fit_table(found: Sequence[Fit], mesh: Mesh, chip: Chip) -> Table:
    """One row per variant: the largest batch that fits, and what it needs."""
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    result = Table(title=f"The largest batch on {mesh.size} x {chip.name}, a mesh of {axes}")
    for name in ("variant", "phase"):
        result.add_column(name)
    numbers = ("config.batch", "predicted (MiB)", "peak (MiB)", "of the memory", "at best (ms)")
    for name in (*numbers, "ms / batch"):
        result.add_column(name, justify="right")
    for row in found:
        variant = ", ".join(f"{name}={value}" for name, value in row.variant.items())
        if row.cost is None:
            result.add_row(variant, "", "none fits", *["-"] * 5)
            continue
        predicted = "-"
        if row.predicted is not None:
            off = row.predicted / row.cost.peak - 1
            predicted = f"{row.predicted / 2**20:,.0f} ({off:+.1%})"
        milliseconds = ["-", "-"]
        if chip.peaks:
            least_ms = 1e3 * bound(row.cost, chip.peaks).seconds
            milliseconds = [f"{least_ms:,.1f}", f"{least_ms / row.batch:,.2f}"]
        result.add_row(
            variant or "as it is",
            row.cost.phase,
            f"{row.batch}",
            predicted,
            f"{row.cost.peak / 2**20:,.0f}",
            f"{row.cost.peak / chip.memory:.0%}",
            *milliseconds,
        )
    return result


def bound_table(task: Task, found: Found, chip: Chip) -> Table:
    """One row per step: how fast it can be at best, and how long its phase would take."""
    peaks = chip.peaks
    told = (
        f"{peaks.flops / 1e12:.0f} TFLOP/s",
        f"memory {peaks.bandwidth / 1e9:,.0f} GB/s",
        f"links {peaks.links / 1e9:.0f} GB/s",
    )
    result = Table(title=f"At best, by the peaks of a {chip.name}: {', '.join(told)}")
    result.add_column("phase")
    columns = ("arithmetic (ms)", "memory (ms)", "links (ms)")
    for column in columns:
        result.add_column(column, justify="right")
    result.add_column("waits for")
    for column in ("share of peak", "steps", "time", f"time at {REACHED:.0%}"):
        result.add_column(column, justify="right")

    total = 0.0
    for phase, of_phase in zip(task.phases, found, strict=True):
        seconds = least(task, phase, of_phase, peaks)
        total = None if seconds is None or total is None else total + seconds
        for row in of_phase:
            cells = ["-"] * 5
            if isinstance(row, Cost):
                limit = bound(row, peaks)
                cells = [f"{1e3 * one:,.2f}" for one in vars(limit).values()]
                cells += [limit.binding, f"{limit.share:.0%}"]
            steps = f"{phase.stop - phase.start:,}"
            result.add_row(row.phase, *cells, steps, *_times(seconds))
    result.add_section()
    result.add_row("all", *[""] * 5, f"{task.phases[-1].stop:,}", *_times(total))
    return result


def _times(seconds: float | None) -> tuple[str, str]:
    """At best, and at the part of it that is reached."""
    if seconds is None:
        return "-", "-"
    return duration(seconds), duration(seconds / REACHED)


def summary(found: Sequence[Collective]) -> str:
    """A line for every kind and its axes: how many, and in brackets the MiB of their results on one device."""
    groups = {}
    for collective in found:
        groups.setdefault((collective.kind, collective.axes), []).append(collective.size / 2**20)
    lines = []
    for (kind, axes), sizes in sorted(groups.items()):
        total = f"{sum(sizes):,.2f}" if sum(sizes) >= 0.01 else "<0.01"
        lines.append(f"{len(sizes)} {kind} along {', '.join(axes)} ({total})")
    return "\n".join(lines) or "none"
