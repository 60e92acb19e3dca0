"""Training steps of the comb network, beside the same steps in PyTorch.

    python -m experiments.benchmarks.comb_step [--levels 4,5,6,8] [--batch 2] [--width 1] [--precision float32]

Both train the same network (two personas, a level half faded in) with the same loss (1 - MS-SSIM
inside the mask, Eq. 2), Adam, batch and precision, from the same weights. Before the clock starts,
the losses of two steps and the norms of the first gradient must agree. PyTorch runs eagerly and
compiled, channels last, on all cores. The contestants take turns, for other work on the machine slows
whoever happens to run; the best turn of each counts.
"""

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import app, flags
from jax.sharding import NamedSharding

from experiments import comb as experiment
from experiments.benchmarks.comb_torch import TorchTraining, torch
from experiments.benchmarks.measuring import print_table
from faceswap_jax.models import comb
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.base import Batch, abstract_state

LEVELS = flags.DEFINE_list(
    "levels", ["4", "5", "6", "8"], "Growth levels; level l is of 4 * 2**l px."
)
BATCH = flags.DEFINE_integer("batch", 2, "Pictures of each persona; one above 256 px.")
WIDTH = flags.DEFINE_float("width", 1.0, "Multiplies all channel counts.")
PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "Type of the arithmetic."
)
REMAT = flags.DEFINE_string(
    "remat", "none", "What our network computes again instead of keeping it."
)
TURNS = flags.DEFINE_integer("turns", 4, "Turns of each contestant.")
SECONDS = flags.DEFINE_float("seconds", 2.0, "Least length of a turn, which is one step at least.")
CPU_DEVICES = flags.DEFINE_integer(
    "cpu_devices", 1, "Devices into which JAX splits the CPU; each has its personas."
)
PEAK = flags.DEFINE_float(
    "peak", None, "TFLOP/s that the machine could reach, to print the fraction that is reached."
)
PERSONAS = ("a", "b")
STEPS = 1_000  # of the level
BEGIN = STEPS // 4  # step at which half of the level has faded in

# Relative, of losses and of the gradient's norm. Variances as differences of moments cost the
# gradient digits: at 256 px float32 is off by 1e-4, ours and PyTorch's.
TOLERANCE = {"float32": (1e-4, 1e-3), "bfloat16": (2e-2, 5e-2)}


class Contestant(Protocol):
    """A training that takes turns."""

    def step(self) -> float:
        """Makes one step; returns its loss when all is done."""

    def first_steps(self) -> tuple[tuple[float, float], float]:
        """Returns the losses of two steps, and the norm of the first gradient."""

    def memory(self) -> int | None:
        """Returns the peak bytes of a device; None if unknown."""


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    jax.config.update("jax_num_cpu_devices", CPU_DEVICES.value)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = []
    for level in map(int, LEVELS.value):
        # Larger pictures need too much memory.
        batch = BATCH.value if comb.resolution(level) <= 256 else 1
        rows += measure(level, batch)
        gc.collect()

    columns = ["px", "batch", "", "pictures/s", "of PyTorch's best", "TFLOP/s"]
    if PEAK.value:
        columns.append("of peak")
    title = f"comb network, width {WIDTH.value:g}, {PRECISION.value}, {jax.devices()[0]}"
    print_table([*columns, "GiB"], rows, title=title)


def measure(level: int, count: int) -> list[list[str]]:
    """Returns the rows of one level, with `count` pictures of each persona."""
    task = Task(config(level, count))
    contestants = agreeing_contestants(task, pictures(comb.resolution(level), count))
    seconds = dict.fromkeys(contestants, float("inf"))
    for _ in range(TURNS.value):
        for name, contestant in contestants.items():
            seconds[name] = min(seconds[name], turn(contestant))
    best_rival = min(spent for name, spent in seconds.items() if name != "ours")

    # A multiplication is two operations, in the encoder and in a decoder; a step costs three times
    # the way forward.
    images = len(PERSONAS) * count
    flop = 3 * 2 * 2 * task.network(task.phases[-1]).multiplications * images
    rows = []
    for name, spent in seconds.items():
        row = [
            str(comb.resolution(level)),
            f"{len(PERSONAS)} x {count}",
            name,
            f"{images / spent:.3g}",
            f"{best_rival / spent:.2f}",
            f"{flop / spent / 1e12:.3f}",
        ]
        if PEAK.value:
            row.append(f"{flop / spent / PEAK.value / 1e12:.0%}")
        memory = contestants[name].memory()
        rows.append([*row, f"{memory / 2**30:.1f}" if memory else ""])
    return rows


def agreeing_contestants(task: Task, batch: Batch) -> dict[str, Contestant]:
    """Makes ours and both kinds of PyTorch's, and checks that they compute the same.

    Raises:
        AssertionError: losses or gradients differ.
    """
    state = jax.device_get(jax.jit(lambda: start(task))())
    contestants: dict[str, Contestant] = {"ours": JaxTraining(task, state, batch)}
    expected = contestants["ours"].first_steps()
    alphas = [min(1.0, step / (STEPS // 2)) for step in range(BEGIN, STEPS)]
    for name, compiled in (("PyTorch", False), ("PyTorch, compiled", True)):
        contestant = TorchTraining(
            task.phases[-1].stage,
            state.params,
            batch,
            alphas,
            learning_rate=task.config.learning_rate,
            bfloat16=PRECISION.value == "bfloat16",
            compiled=compiled,
        )
        try:
            found = contestant.first_steps()
        except torch._dynamo.exc.TorchDynamoException as error:
            # For want of a C++ compiler, say.
            print(f"{name} cannot run here: {type(error).__name__}: {error}")
            continue
        tolerances = TOLERANCE[PRECISION.value]
        for values, others, tolerance in zip(found, expected, tolerances, strict=True):
            np.testing.assert_allclose(values, others, rtol=tolerance)
        contestants[name] = contestant
    return contestants


def config(level: int, count: int) -> ml_collections.ConfigDict:
    """Returns the published values, up to one level."""
    values = experiment.get_config()
    values.personas = PERSONAS
    values.model.update(width=WIDTH.value, remat=REMAT.value)
    values.level_steps = (0,) * (level - 1) + (1, STEPS)
    values.batch = count
    values.precision = PRECISION.value
    return values


def pictures(side: int, count: int) -> Batch:
    """Returns noise, and a mask over the middle."""
    shape = (len(PERSONAS), count, side, side, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mask = np.zeros(image.shape[:-1], np.uint8)
    mask[..., side // 8 : -side // 8, side // 8 : -side // 8] = 255
    landmarks = np.full((len(PERSONAS), count, 68, 2), side / 2, np.float32)
    return {"image": image, "encoder_input": image, "mask": mask, "landmarks": landmarks}


def start(task: Task) -> State:
    """Returns the state from which all contestants start, the level half faded in."""
    phase = task.phases[-1]
    state = task.init_state(phase, jax.random.key(0))
    return replace(state, step=jnp.int32(phase.start + BEGIN))


def turn(contestant: Contestant) -> float:
    """Returns the seconds of a step.

    A first step, which gets back the memory that the others had, does not count.
    """
    contestant.step()
    count = 0
    begin = time.perf_counter()
    while (seconds := time.perf_counter() - begin) < SECONDS.value or not count:
        contestant.step()
        count += 1
    return seconds / count


class JaxTraining:
    """The compiled step of the task."""

    def __init__(self, task: Task, state: State, batch: Batch):
        phase = task.phases[-1]
        mesh = make_mesh(min(len(PERSONAS), jax.device_count()))
        with jax.set_mesh(mesh):
            layout = rules.shardings(abstract_state(task, phase), mesh)
            self.state = jax.device_put(state, layout)
            self.batch = jax.device_put(batch, NamedSharding(mesh, task.batch_spec))
            step = jax.jit(
                task.steps(phase)["train"], donate_argnums=0, out_shardings=(layout, None)
            )
            self.compiled = step.lower(self.state, self.batch).compile()

    def step(self) -> float:
        """Makes one step; returns its loss when all is done."""
        self.state, metrics = self.compiled(self.state, self.batch)
        jax.block_until_ready(self.state)
        return float(metrics["loss"])

    def first_steps(self) -> tuple[tuple[float, float], float]:
        """Returns the losses of two steps, and the norm of the first gradient."""
        loss = self.step()
        # Adam's first moments are a tenth of the first gradient.
        squares = 0.0
        for modules in self.state.opt.values():
            for adam in modules.values():
                for moment in jax.tree.leaves(jax.device_get(adam.mu)):
                    squares += np.square(10 * np.float64(moment)).sum()
        return (loss, self.step()), np.sqrt(squares)

    def memory(self) -> int:
        """Returns the peak bytes of a device, or the planned ones where it does not count them."""
        if stats := jax.devices()[0].memory_stats():
            return stats["peak_bytes_in_use"]
        planned = self.compiled.memory_analysis()
        return planned.argument_size_in_bytes + planned.temp_size_in_bytes


if __name__ == "__main__":
    app.run(main)
