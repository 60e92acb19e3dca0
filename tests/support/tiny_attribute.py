"""MC-AAD so small that tests can run it, with weights that are nowhere zero."""

from pathlib import Path

import jax
import jax.numpy as jnp

from experiments import attribute as experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.state import State
from faceswap_jax.tasks.attribute import AVERAGED, Task
from faceswap_jax.tasks.base import abstract_state
from tests.support.drawn import drawn
from tests.support.frozen import EXPRESSION, IDENTITY

SIDE, BATCH = 16, 8


def config(**changes):
    c = experiment.get_config()
    c.data.update(kind="puppets", held_out=0.4, test=8)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 4, "resolution": SIDE})
    c.model.update(resolution=SIDE, levels=2, layers=1, width=1 / 16)
    c.model.discriminator.update(halvings=2, scales=2, width=1 / 16)
    c.loss.update(adversary="relativistic", penalty=0.5, penalty_every=2)
    c.update(steps=3, batch=BATCH, learning_rate=0.01, average=0.9)
    c.features.update(identity="given", expression="given")
    c.shapes = {"identity": IDENTITY, "expression": EXPRESSION}
    c.run.update(log=1, preview=2, checkpoint=2)
    c.mesh.cpu_devices = 8
    c.update_from_flattened_dict(changes)
    return c


def task_and_state(**changes):
    task = Task(config(**changes))
    phase = task.phases[0]
    empty = abstract_state(task, phase)
    params, features = drawn(lambda _: (empty.params, empty.extras["features"]), seed=0)
    for read in features.values():
        for path, leaf in jax.tree_util.tree_leaves_with_path(read):
            # Images are told apart where normalisations keep what differs.
            if path[-1].key in ("var", "scale"):
                leaf[:] = 1
    opt = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), empty.opt)
    average = {name: params[name] for name in AVERAGED}
    extras = {"average": average, "features": features}
    return task, State(jnp.int32(0), jax.random.key(0), params, opt, extras)


def write_run(folder: Path, **changes) -> Path:
    """A run with one checkpoint of such weights, without a training."""
    task, state = task_and_state(**changes)
    folder.mkdir()
    configs.save(task.config, folder / "config.json")
    with Checkpoints(folder, task.config, writing=True) as checkpoints:
        checkpoints.save(jax.tree.map(jnp.asarray, state))
    return folder
