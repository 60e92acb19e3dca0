"""What it costs to look for NaN in every step, and to save: as shares of a training step of the comb network.

    python -m experiments.benchmarks.safety [--width 0.125] [--steps 20]

Steps with and without the flags of faceswap_jax/finite.py take turns; the medians are compared. A checkpoint is timed
until `save` returns and the next step could begin, and until it is on the disk.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging
from jax.sharding import NamedSharding

from experiments import demo
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.training.programs import Compiler, programs_of

WIDTH = flags.DEFINE_float("width", 0.125, "Multiplies all channel counts.")
STEPS = flags.DEFINE_integer("steps", 20, "Of each kind.", lower_bound=1)
SAVES = 4  # of which the first is not counted


def main(_) -> None:
    """Prints both."""
    logging.set_verbosity(logging.ERROR)  # Orbax tells a lot
    c = demo.get_config()
    c.personas, c.update_order, c.model.width = ("ada", "ben", "eve"), "joint", WIDTH.value
    task, mesh = load_task(c), make_mesh(cpu_devices=c.mesh.cpu_devices)
    phase, sharding, rng = (
        task.phases[-1],
        NamedSharding(mesh, task.batch_spec),
        np.random.default_rng(0),
    )
    image = rng.integers(0, 256, (3, c.batch, 64, 64, 3), np.uint8)
    batch = jax.device_put({"input": image, "image": image, "mask": image[..., 0]}, sharding)
    with jax.set_mesh(mesh), tempfile.TemporaryDirectory() as folder:
        layout = rules.shardings(abstract_state(task, phase), mesh)
        init = jax.jit(partial(task.init_state, phase), out_shardings=layout)
        (name,) = task.steps(phase)
        plain = jax.jit(task.steps(phase)[name], donate_argnums=0, out_shardings=(layout, None))
        steps = {"looking": programs_of(task, phase, mesh, Compiler()).steps[name], "plain": plain}
        states = {name: step(init(jax.random.key(0)), batch)[0] for name, step in steps.items()}
        seconds = {name: [] for name in steps}
        for _ in range(STEPS.value):
            for name, step in steps.items():
                states[name] = timed(
                    seconds[name], lambda step=step, name=name: step(states[name], batch)[0]
                )
        looking, plain = (float(np.median(seconds[name])) for name in steps)
        print(
            f"a step takes {plain:.3f} s, with the search for NaN {looking / plain:.3f} times as long"
        )

        returned, written = [], []
        with Checkpoints(Path(folder), c, writing=True) as checkpoints:
            for _ in range(SAVES):
                states["looking"] = jax.block_until_ready(
                    steps["looking"](states["looking"], batch)[0]
                )
                begin = time.perf_counter()
                timed(returned, lambda: checkpoints.save(states["looking"]))
                checkpoints.wait()
                written.append(time.perf_counter() - begin)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(states["looking"].params) * 3) / 2**20
    print(
        f"a checkpoint of {size:.0f} MiB holds a run up for {np.median(returned[1:]):.2f} s, "
        f"{np.median(returned[1:]) / plain:.2f} steps, and is written after {np.median(written[1:]):.2f} s"
    )


def timed(seconds: list[float], work: Callable):
    """Does it, and notes how long it takes."""
    begin = time.perf_counter()
    result = jax.block_until_ready(work())
    seconds.append(time.perf_counter() - begin)
    return result


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
