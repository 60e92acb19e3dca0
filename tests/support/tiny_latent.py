"""Inversion and transfer so small that tests can run them, with weights that are nowhere zero."""

from dataclasses import replace

from experiments import inversion as inversion_experiment
from experiments import transfer as transfer_experiment
from faceswap_jax.ops.optimizers import RangerState
from faceswap_jax.pretrained import inversion as pretrained
from faceswap_jax.state import State
from faceswap_jax.tasks import inversion, transfer
from faceswap_jax.tasks.base import Task
from tests.support.drawn import drawn_state
from tests.support.frozen import EXPRESSION, IDENTITY, INVERSION, shape_of_generator

SIDE, BATCH, REFINEMENTS = 8, 8, 2


def inversion_config(**changes):
    c = inversion_experiment.get_config()
    c.shapes = {"generator": shape_of_generator(SIDE), "identity": IDENTITY}
    c.model.update(INVERSION, side=SIDE)
    c.update(refinements=REFINEMENTS, learning_rate=0.01)
    return small(c, changes)


def transfer_config(**changes):
    c = transfer_experiment.get_config()
    frozen = pretrained.described(pretrained.shape(inversion_config()))
    c.shapes = {"inversion": frozen, "identity": IDENTITY, "expression": EXPRESSION}
    c.model.update(INVERSION)
    c.update(learning_rate=0.01)
    return small(c, changes)


def small(c, changes):
    """On a few puppets."""
    c.data.update(kind="puppets", held_out=0.4, test=8)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 4, "resolution": SIDE})
    c.alignment = "eyes"
    c.update(steps=3, batch=BATCH)
    c.run.update(log=1, preview=2, checkpoint=2)
    c.mesh.cpu_devices = 8
    c.update_from_flattened_dict(changes)
    return c


def task_and_state(kind: str, **changes) -> tuple[Task, State]:
    """A task of inversion or transfer, and a state of it."""
    config, module = {
        "inversion": (inversion_config, inversion),
        "transfer": (transfer_config, transfer),
    }[kind]
    task = module.Task(config(**changes))
    state = drawn_state(task)
    # Ranger's slow weights begin as those that are trained.
    opt = dict(state.opt)
    for name, weights in state.params.items():
        if isinstance(opt[name], RangerState):
            opt[name] = task.optimizer.init(weights)
    return task, replace(state, opt=opt)
