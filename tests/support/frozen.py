"""Runs of tiny frozen networks, of fresh weights: what other systems' losses and features name by a folder."""

from pathlib import Path

import ml_collections
import numpy as np

from experiments import detector as detector_experiment
from experiments import expression as expression_experiment
from experiments import identity as identity_experiment
from experiments import inversion as inversion_experiment
from experiments import stylegan2 as stylegan2_experiment
from experiments import transfer as transfer_experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.models.inception import InceptionConfig, convolutions
from faceswap_jax.pretrained import inversion as pretrained_inversion
from faceswap_jax.pretrained.embedder import described
from faceswap_jax.pretrained.stylegan2 import shape
from faceswap_jax.tasks import detector, expression, identity, inversion, stylegan2, transfer
from faceswap_jax.tasks.base import Task
from tests.support.drawn import drawn_state

IDENTITY = {"blocks": [1, 1], "channels": [6, 8], "stem": 4, "embedding": 5, "side": 16}
"""Shape of the network of `write_identity`, as JSON has it."""

EXPRESSION = {"outputs": 19, "side": 16, "stem": 4, "levels": [4], "squeeze": 4, "hidden": 8}
"""Likewise, of `write_expression`."""


GENERATOR = {"resolution": 16, "latent": 6, "width": 1 / 512, "mapping_layers": 1}
"""Of the config of `write_generator`, but for another side."""

INVERSION = {"blocks": [1], "channels": [6], "stem": 6}
"""Likewise, of `write_inversion`."""


def write_identity(folder: Path, alignment: str = "eyes") -> None:
    """A run of the face embedder."""
    c = identity_experiment.get_config()
    c.update(identities=("ada", "ben"), alignment=alignment)
    c.model.update(IDENTITY)
    _write(folder, identity.Task(c))


def write_expression(folder: Path, alignment: str = "eyes") -> None:
    """A run of the network that reads expressions."""
    c = expression_experiment.get_config()
    c.alignment = alignment
    c.resolution = EXPRESSION["side"]
    c.model.update({name: EXPRESSION[name] for name in ("stem", "levels", "squeeze", "hidden")})
    _write(folder, expression.Task(c))


def write_inception(path: Path) -> None:
    """A file of weights of Inception, a sixteenth as wide."""
    rng = np.random.default_rng(0)
    state = {}
    for name, (height, width, into, out) in convolutions(InceptionConfig(1 / 16)):
        scale = np.sqrt(2 / (into * height * width))
        state[f"{name}.conv.weight"] = rng.normal(0, scale, (out, into, height, width))
        state[f"{name}.bn.weight"] = state[f"{name}.bn.running_var"] = np.ones(out)
        state[f"{name}.bn.bias"] = state[f"{name}.bn.running_mean"] = np.zeros(out)
    np.savez(path, **{name: np.float32(tensor) for name, tensor in state.items()})


def write_detector(folder: Path, alignment: str = "eyes") -> None:
    """A run of the detector of fakes, which knows nothing of fakes."""
    c = detector_experiment.get_config()
    c.update(identities=("ada", "ben"), alignment=alignment, resolution=16)
    c.model.update(halvings=2, scales=2, width=1 / 8)
    _write(folder, detector.Task(c))


def write_generator(folder: Path, alignment: str = "eyes", side: int = 16) -> None:
    """Likewise of StyleGAN2."""
    c = stylegan2_experiment.get_config()
    c.update(identities=("ada", "ben"), alignment=alignment)
    c.model.update(GENERATOR, resolution=side)
    _write(folder, stylegan2.Task(c))


def write_inversion(folder: Path, alignment: str = "eyes", side: int = 16) -> None:
    """Likewise of the inversion; its generator and its judges are as fresh."""
    c = _inversion(side)
    c.alignment = alignment
    _write(folder, inversion.Task(c))


def write_transfer(folder: Path) -> None:
    """A run of transfer with such an inversion."""
    c = transfer_experiment.get_config()
    c.update(identities=("ada", "ben"), alignment="eyes")
    frozen = pretrained_inversion.described(pretrained_inversion.shape(_inversion()))
    c.shapes = {"inversion": frozen, "identity": IDENTITY, "expression": EXPRESSION}
    c.model.update(INVERSION)
    _write(folder, transfer.Task(c))


def _inversion(side: int = 16) -> ml_collections.ConfigDict:
    c = inversion_experiment.get_config()
    c.update(identities=("ada", "ben"), refinements=2)
    c.shapes = {"generator": shape_of_generator(side), "identity": IDENTITY}
    c.model.update(INVERSION, side=side)
    return c


def write_networks(folder: Path, alignment: str, side: int = 16) -> None:
    """Runs of all that is frozen where people work in a generator's latent space, for faces of an alignment."""
    folder.mkdir(parents=True)
    write_identity(folder / "identity", alignment)
    write_expression(folder / "expression", alignment)
    write_generator(folder / "generator", alignment, side)
    write_inversion(folder / "inversion", alignment, side)


def shape_of_generator(side: int = 16) -> dict:
    """Of `write_generator`'s, as configs have it."""
    c = stylegan2_experiment.get_config()
    c.model.update(GENERATOR, resolution=side)
    return described(shape(c))


WRITERS = {"identity": write_identity, "expression": write_expression}
"""By the roles of MC-AAD's features."""


def _write(folder: Path, task: Task) -> None:
    """The folder with one checkpoint."""
    folder.mkdir()
    configs.save(task.config, folder / "config.json")
    state = drawn_state(task, seed=3)
    with Checkpoints(folder, task.config, writing=True) as checkpoints:
        checkpoints.save(state)
