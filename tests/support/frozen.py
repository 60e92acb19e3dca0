"""Runs of tiny frozen networks, of fresh weights: what other systems' losses and features name by a folder."""

from functools import partial
from pathlib import Path

import jax

from experiments import detector as detector_experiment
from experiments import expression as expression_experiment
from experiments import identity as identity_experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.tasks import detector, expression, identity
from faceswap_jax.tasks.base import Task

IDENTITY = {"blocks": [1, 1], "channels": [6, 8], "stem": 4, "embedding": 5, "side": 16}
"""Shape of the network of `write_identity`, as JSON has it."""

EXPRESSION = {"outputs": 19, "side": 16, "stem": 4, "levels": [4], "squeeze": 4, "hidden": 8}
"""Likewise, of `write_expression`."""


def write_identity(folder: Path, alignment: str = "eyes") -> None:
    """A run of the face embedder."""
    c = identity_experiment.get_config()
    c.update(identities=("ada", "ben"), alignment=alignment)
    c.model.update(IDENTITY)
    _write(folder, identity.Task(c))


def write_expression(folder: Path) -> None:
    """A run of the network that reads expressions."""
    c = expression_experiment.get_config()
    c.resolution = EXPRESSION["side"]
    c.model.update({name: EXPRESSION[name] for name in ("stem", "levels", "squeeze", "hidden")})
    _write(folder, expression.Task(c))


def write_detector(folder: Path, alignment: str = "eyes") -> None:
    """A run of the detector of fakes, which knows nothing of fakes."""
    c = detector_experiment.get_config()
    c.update(identities=("ada", "ben"), alignment=alignment, resolution=16)
    c.model.update(halvings=2, scales=2, width=1 / 8)
    _write(folder, detector.Task(c))


WRITERS = {"identity": write_identity, "expression": write_expression}
"""By the roles of MC-AAD's features."""


def _write(folder: Path, task: Task) -> None:
    """The folder with one checkpoint."""
    folder.mkdir()
    configs.save(task.config, folder / "config.json")
    state = jax.jit(partial(task.init_state, task.phases[0]))(jax.random.key(3))
    with Checkpoints(folder, task.config, writing=True) as checkpoints:
        checkpoints.save(state)
