"""What a training step costs for more and more personas: parameters, compiling, memory, time.

    python -m experiments.benchmarks.personas [--networks comb,tunable] [--personas 2,8,32,128] [--axes 1,8]
        [--steps 0] [--level 4] [--width 0.125] [--batch 4]

The comb's decoders of a device are unrolled: compiling grows with the personas of a device. A tunable decoder is one
program for all of them. All networks see the whole face but `parts`.

Memory is what the compiler has planned for each device. With --steps so many steps run, after one that does not count.
Of these the one that takes least counts, in seconds of all cores together: what else the machine does changes them
less than those on the wall. Without, nothing is computed.
"""

import gc
import math
import time
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from absl import app, flags
from jax.sharding import AxisType, Mesh, NamedSharding

from experiments import comb, parts, tunable
from experiments.benchmarks.measuring import print_table
from faceswap_jax.cost.program import lower
from faceswap_jax.models.comb import resolution
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import AXES
from faceswap_jax.tasks.base import Batch, Phase, Task, abstract_state
from faceswap_jax.tasks.registry import load_task

WHOLE = {"model.parts": (), "model.latent": 512}
CONTESTANTS = {
    "comb": (comb, {}),
    "parts": (parts, {}),
    "tunable": (tunable, WHOLE),
    "code": (tunable, WHOLE | {"model.tuning": "code"}),
    "weights": (tunable, WHOLE | {"model.tuning": "weights"}),
}
"""Experiments, and what is changed of them; the last two are tunable decoders, too."""

NETWORKS = flags.DEFINE_list("networks", ["comb"], f"Of {', '.join(CONTESTANTS)}.")
PERSONAS = flags.DEFINE_list("personas", ["2", "8", "32", "128"], "How many personas.")
MESHES = flags.DEFINE_list(
    "axes", ["1", "8"], "How many devices, all along the persona axis; simulated on a CPU."
)
STEPS = flags.DEFINE_integer("steps", 0, "How many steps to run.")
LEVEL = flags.DEFINE_integer("level", 4, "Growth level; level l is of 4 * 2**l px.")
WIDTH = flags.DEFINE_float("width", 0.125, "Multiplies all channel counts.")
BATCH = flags.DEFINE_integer("batch", 4, "Pictures of each persona.")


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    jax.config.update("jax_num_cpu_devices", max(map(int, MESHES.value)))
    # What the cache knows would seem to compile in no time.
    jax.config.update("jax_enable_compilation_cache", False)
    rows = []
    for personas in map(int, PERSONAS.value):
        for devices in map(int, MESHES.value):
            for network in NETWORKS.value:
                if personas % devices == 0:
                    found = measure(network, personas, devices)
                    rows.append([network, str(personas), str(devices), *found])
                    # For those who wait
                    print(*rows[-1], flush=True)
                    gc.collect()
    columns = ["network", "personas", "devices", "parameters (k)", "compile (s)"]
    columns += ["state (MiB a device)", "work (MiB a device)"]
    if STEPS.value:
        columns.append("step (core s)")
    print_table(columns, rows, width=120)


def measure(network: str, personas: int, devices: int) -> list[str]:
    """Returns thousands of parameters, seconds of compiling, MiB of the state and of all else, seconds of a step."""
    task = task_of(network, personas)
    phase = task.phases[0]
    # All devices along the persona axis.
    mesh = jax.make_mesh(
        (1, devices),
        AXES,
        axis_types=(AxisType.Auto,) * 2,
        devices=jax.devices()[:devices],
    )
    batch = jax.device_put(noise(personas), NamedSharding(mesh, task.batch_spec))
    abstract = abstract_state(task, phase)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract.params))

    (step,) = task.steps(phase)
    begin = time.perf_counter()
    compiled = lower(task, phase, mesh, batch, step).compile()
    seconds = time.perf_counter() - begin
    memory = compiled.memory_analysis()
    sizes = (memory.argument_size_in_bytes, memory.temp_size_in_bytes)
    found = [f"{parameters / 1e3:,.0f}", f"{seconds:.1f}"]
    found += [f"{size / 2**20:,.0f}" for size in sizes]
    if STEPS.value:
        found.append(f"{step_seconds(task, phase, mesh, compiled, batch):.2f}")
    return found


def task_of(network: str, personas: int) -> Task:
    """Returns the task that trains a network at one level alone."""
    experiment, changes = CONTESTANTS[network]
    config = experiment.get_config()
    config.update_from_flattened_dict(changes)
    config.personas = tuple(f"persona_{p}" for p in range(personas))
    config.model.width = WIDTH.value
    config.batch = BATCH.value
    config.level_steps = (0,) * LEVEL.value + (1,)
    return load_task(config)


def noise(personas: int) -> Batch:
    """Returns images of noise, whose faces fill the middle."""
    rng = np.random.default_rng(0)
    side = resolution(LEVEL.value)
    shape = (personas, BATCH.value, side, side)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[..., side // 8 : -side // 8, side // 8 : -side // 8] = 255
    landmarks = rng.uniform(0.3 * side, 0.7 * side, (*shape[:2], 68, 2)).astype(np.float32)
    return {
        "image": image,
        "encoder_input": image,
        "mask": mask,
        "landmarks": landmarks,
        "encoder_landmarks": landmarks,
    }


def step_seconds(
    task: Task, phase: Phase, mesh: Mesh, compiled: jax.stages.Compiled, batch: Batch
) -> float:
    """Returns the seconds of all cores together that the fastest step took."""
    with jax.set_mesh(mesh):
        layout = rules.shardings(abstract_state(task, phase), mesh)
        make = jax.jit(partial(task.init_state, phase), out_shardings=layout)
        state = make(jax.random.key(0))
    spent = []
    for _ in range(1 + STEPS.value):
        begin = time.process_time()
        state, *_ = jax.block_until_ready(compiled(state, batch))
        spent.append(time.process_time() - begin)
    return min(spent[1:])


if __name__ == "__main__":
    app.run(main)
