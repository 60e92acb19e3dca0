"""StyleGAN2 so small that tests can run it, with weights that are nowhere zero."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments import stylegan2 as experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.models.stylegan2 import MAPPING_RATE
from faceswap_jax.state import State
from faceswap_jax.tasks.stylegan2 import AVERAGED, Task

SIDE, LATENT, BATCH = 8, 6, 8

CHANNELS = {4: 6, 8: 4}
"""Of its networks, by side."""


def config(**changes):
    c = experiment.get_config()
    c.data.update(kind="puppets", held_out=0.4, test=8)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 4, "resolution": SIDE})
    c.model.update(resolution=SIDE, latent=LATENT, width=1 / 1024, most=6000)
    c.loss.update(penalty=0.5, penalty_every=4, path_every=2)
    c.augment.update(kimg=0.1)
    c.update(identities=("a", "b"), steps=4, batch=BATCH, learning_rate=0.01, average=0.9)
    c.run.update(log=1, preview=4, checkpoint=2)
    c.mesh.cpu_devices = 8
    c.update_from_flattened_dict(changes)
    return c


def standard(init: Callable[[jax.Array], PyTree], seed: int) -> PyTree:
    """Weights of a variance of 1, drawn by NumPy, of the shapes that `init` has."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        return rng.normal(size=leaf.shape).astype(np.float32)

    return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))


def task_and_state(**changes) -> tuple[Task, State]:
    task = Task(config(**changes))
    average = standard(partial(stylegan2.init, task.model), seed=0)
    average["mapping"] = jax.tree.map(lambda leaf: leaf / MAPPING_RATE, average["mapping"])
    params = {name: average[name] for name in AVERAGED}
    params["discriminator"] = standard(partial(residual.init, task.model), seed=1)
    fresh = jax.eval_shape(partial(task.init_state, task.phases[0]), jax.random.key(0))
    opt = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), fresh.opt)
    extras = {
        "average": average,
        "mean_style": jnp.full(LATENT, 0.1),
        "path_length": jnp.float32(0.5),
        "probability": jnp.float32(0.2),
    }
    return task, State(jnp.int32(0), jax.random.key(0), params, opt, extras)


def write_run(folder: Path, **changes) -> Path:
    """A run with one checkpoint of such weights, without a training."""
    task, state = task_and_state(**changes)
    folder.mkdir()
    configs.save(task.config, folder / "config.json")
    with Checkpoints(folder, task.config, writing=True) as checkpoints:
        checkpoints.save(jax.tree.map(jnp.asarray, state))
    return folder
