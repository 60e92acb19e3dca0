"""How long the comb network's training step takes to compile, and what memory it needs, by personas and devices.

    python -m experiments.benchmarks.comb_personas [--personas 2,8,32,128] [--axes 1,8] [--level 4] [--width 0.125]

The decoders of a device are unrolled, see parallel/persona.py: compiling grows with the personas of a device. Nothing
is computed; memory is what the compiler has planned for each device.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from absl import app, flags
from jax.sharding import AxisType, NamedSharding
from rich.console import Console
from rich.table import Table

from experiments import comb as experiment
from faceswap_jax.models import comb
from faceswap_jax.parallel.mesh import AXES
from faceswap_jax.tasks.autoencoder import Task
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
    jax.config.update("jax_enable_compilation_cache", False)
    table = Table(
        "personas", "devices", "compile (s)", "state (MiB a device)", "work (MiB a device)"
    )
    for personas in map(int, PERSONAS.value):
        for devices in map(int, MESHES.value):
            if personas % devices == 0:
                table.add_row(str(personas), str(devices), *measure(personas, devices))
    Console().print(table)


def measure(personas: int, devices: int) -> list[str]:
    """Cells of one line."""
    c = experiment.get_config()
    c.personas = tuple(f"persona_{p}" for p in range(personas))
    c.model.width, c.batch = WIDTH.value, BATCH.value
    c.level_steps = (0,) * LEVEL.value + (1,)
    task, side = Task(c), comb.resolution(LEVEL.value)
    mesh = jax.make_mesh(
        (1, devices), AXES, axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:devices]
    )
    sharding = NamedSharding(mesh, task.batch_spec)
    image = jax.ShapeDtypeStruct((personas, c.batch, side, side, 3), jnp.uint8, sharding=sharding)
    mask = jax.ShapeDtypeStruct(image.shape[:-1], jnp.uint8, sharding=sharding)
    found = cost(task, task.phases[0], mesh, {"input": image, "image": image, "mask": mask})
    return [
        f"{found.seconds:.1f}",
        *(f"{size / 2**20:,.0f}" for size in (found.arguments, found.temporaries)),
    ]


if __name__ == "__main__":
    app.run(main)
