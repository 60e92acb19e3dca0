"""What it costs to look for NaN in every step, and to save, against a training step of the comb network.

    python -m experiments.benchmarks.safety [--width 0.125] [--steps 20]

Steps with and without the flags of faceswap_jax/training/finite.py take turns; the medians are
compared. A checkpoint is timed until `save` returns and the next step could begin, and until it is
on the disk.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from jax.sharding import NamedSharding

from experiments import demo
from experiments.benchmarks.measuring import in_turns, seconds_of, silence_orbax
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh, split_cpu
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, abstract_state
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.training.programs import Compiler, programs_of

WIDTH = flags.DEFINE_float("width", 0.125, "Multiplies all channel counts.")
STEPS = flags.DEFINE_integer("steps", 20, "Of each kind.", lower_bound=1)

SAVES = 4
"""The first does not count."""


class Training:
    """A state that a step function carries on."""

    def __init__(self, step: Callable, state: State, batch: Batch):
        self._step = step
        self._batch = batch
        self.state = state
        self.step()  # compiles

    def step(self) -> None:
        """Makes a step and waits until it is done."""
        self.state = jax.block_until_ready(self._step(self.state, self._batch)[0])


def main(_) -> None:
    """Prints both costs."""
    silence_orbax()
    config = demo.get_config()
    config.personas = ("ada", "ben", "eve")
    config.update_order = "joint"
    config.model.width = WIDTH.value
    split_cpu(config.mesh.cpu_devices)
    mesh = make_mesh()

    with jax.set_mesh(mesh):
        watched, plain = trainings(config, mesh)
        seconds = in_turns({"watched": watched.step, "plain": plain.step}, STEPS.value)
        step = float(np.median(seconds["plain"]))
        ratio = float(np.median(seconds["watched"])) / step
        print(f"a step takes {step:.3f} s, with the search for NaN {ratio:.3f} times as long")

        returned, written = time_saves(config, watched)
    # Weights and Adam's two moments.
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(watched.state.params))
    size = 3 * weights / 2**20
    print(
        f"a checkpoint of {size:.0f} MiB holds a run up for {returned:.2f} s, "
        f"{returned / step:.2f} steps, and is written after {written:.2f} s"
    )


def trainings(config, mesh) -> tuple[Training, Training]:
    """Returns the last phase's training with the search for NaN, and the same without."""
    task = load_task(config)
    phase = task.phases[-1]
    layout = rules.shardings(abstract_state(task, phase), mesh)
    init = jax.jit(partial(task.init_state, phase), out_shardings=layout)

    shape = (3, config.batch, 64, 64, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    landmarks = np.full((3, config.batch, 68, 2), 32, np.float32)
    batch = jax.device_put(
        {"encoder_input": image, "image": image, "mask": image[..., 0], "landmarks": landmarks},
        NamedSharding(mesh, task.batch_spec),
    )

    (name,) = task.steps(phase)
    watched = programs_of(task, phase, mesh, Compiler()).steps[name]
    step = task.steps(phase)[name]
    plain = jax.jit(step, donate_argnums=0, out_shardings=(layout, None))
    # A state each: a step donates the one that it is given.
    return (
        Training(watched, init(jax.random.key(0)), batch),
        Training(plain, init(jax.random.key(0)), batch),
    )


def time_saves(config, training: Training) -> tuple[float, float]:
    """Returns median seconds until `save` returns, and until the checkpoint is on the disk."""
    returned = []
    written = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpoints(Path(folder), config, writing=True) as checkpoints,
    ):
        for _ in range(SAVES):
            # Between two saves of a run there are steps.
            training.step()
            returned.append(seconds_of(lambda: checkpoints.save(training.state)))
            written.append(returned[-1] + seconds_of(checkpoints.wait))
    return float(np.median(returned[1:])), float(np.median(written[1:]))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
