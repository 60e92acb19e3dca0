"""How long the comb network's training step takes to compile, and its memory, by personas and devices.

    python -m experiments.benchmarks.comb_personas [--personas 2,8,32,128] [--axes 1,8] [--level 4] [--width 0.125]

The decoders of a device are unrolled, see parallel/persona.py: compiling grows with the personas of a
device. Nothing is computed; memory is what the compiler has planned for each device.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from absl import app, flags
from jax.sharding import AxisType, NamedSharding

from experiments import comb as experiment
from experiments.benchmarks.measuring import print_table
from faceswap_jax.models import comb
from faceswap_jax.parallel.mesh import AXES
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.training.cost import cost

PERSONAS = flags.DEFINE_list("personas", ["2", "8", "32", "128"], "How many personas.")
MESHES = flags.DEFINE_list(
    "axes", ["1", "8"], "How many devices, all along the persona axis; simulated on a CPU."
)
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
            if personas % devices == 0:
                rows.append([str(personas), str(devices), *measure(personas, devices)])
    columns = ("personas", "devices", "compile (s)", "state (MiB a device)", "work (MiB a device)")
    print_table(columns, rows)


def measure(personas: int, devices: int) -> list[str]:
    """Returns seconds of compiling, MiB of the state and MiB of all else."""
    config = experiment.get_config()
    config.personas = tuple(f"persona_{p}" for p in range(personas))
    config.model.width = WIDTH.value
    config.batch = BATCH.value
    config.level_steps = (0,) * LEVEL.value + (1,)
    task = load_task(config)
    phase = task.phases[0]

    # All devices along the persona axis.
    mesh = jax.make_mesh(
        (1, devices),
        AXES,
        axis_types=(AxisType.Auto,) * 2,
        devices=jax.devices()[:devices],
    )
    sharding = NamedSharding(mesh, task.batch_spec)
    side = comb.resolution(LEVEL.value)
    image = jax.ShapeDtypeStruct(
        (personas, config.batch, side, side, 3), jnp.uint8, sharding=sharding
    )
    mask = jax.ShapeDtypeStruct(image.shape[:-1], jnp.uint8, sharding=sharding)
    landmarks = jax.ShapeDtypeStruct((*image.shape[:2], 68, 2), jnp.float32, sharding=sharding)
    batch = {"encoder_input": image, "image": image, "mask": mask, "landmarks": landmarks}

    (step,) = task.steps(phase)
    found = cost(task, phase, mesh, batch, step)
    sizes = [f"{size / 2**20:,.0f}" for size in (found.arguments, found.temporaries)]
    return [f"{found.seconds:.1f}", *sizes]


if __name__ == "__main__":
    app.run(main)
