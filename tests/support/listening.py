"""A network that hears, so small that a test can make one."""

from functools import partial
from pathlib import Path

import jax
import ml_collections

from experiments import sync as experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.tasks.sync import Task

TIMES, SIDE, EMBEDDING = 3, 32, 8


def config(**changes) -> ml_collections.ConfigDict:
    c = experiment.get_config()
    c.data.update(kind="puppets", held_out=0.4, test=8, times=TIMES)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 12, "resolution": SIDE})
    c.model.update(hidden=32, side=16, stem=8, levels=(8,), squeeze=4, embedding=EMBEDDING)
    c.update(resolution=SIDE, steps=1000, batch=8, warm_up=1, learning_rate=0.01)
    c.update_from_flattened_dict(changes)
    return c


def write_listener(workdir: Path, seed: int) -> Path:
    """A run whose weights are those that it begins with."""
    workdir.mkdir(parents=True, exist_ok=True)
    c = config()
    configs.save(c, workdir / "config.json")
    task = Task(c)
    state = jax.jit(partial(task.init_state, task.phases[0]))(jax.random.key(seed))
    with Checkpoints(workdir, c, writing=True) as checkpoints:
        checkpoints.save(state)
    return workdir
