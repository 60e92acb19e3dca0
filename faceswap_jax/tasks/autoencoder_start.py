"""Weights that a training of autoencoders begins with: of a run, of a file, or of the puppets that ship with us."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import read_parts
from faceswap_jax.errors import InputError
from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.pretrained import shipped
from faceswap_jax.tasks.base import abstract_state, phase_of
from faceswap_jax.tasks.registry import load_task

AVERAGE = "average"
"""Where a state's averaged weights are, in its extras."""


@dataclass(frozen=True, eq=False)
class Start:
    """A trained network that others begin with.

    Attributes:
        name: where it comes from, for people.
        alignment: how the faces are cut that it knows.
        personas: names of whom it knows.
        params: weights, NumPy arrays.
    """

    name: str
    alignment: str
    personas: Sequence[str]
    params: Params


def load(name: str) -> Start:
    """What `config.init` names.

    Args:
        name: a run's folder, a file of `save_start`, or "puppets": that of experiments/pretraining.py ships.

    Raises:
        InputError: there is no such thing, or it cannot be used.
    """
    ours = shipped.ships(name, "autoencoder")
    path = shipped.path_of("autoencoder") if ours else Path(name)
    if path.is_dir():
        return _of_run(path)
    if path.is_file():
        return _of_file(name, path)
    raise InputError(
        f"config.init is '{name}', and there is no such file or folder; give a run's folder, a file of weights, or "
        f"'{shipped.PUPPETS}'."
    )


def save_start(workdir: Path, path: Path) -> None:
    """Writes what the personas of a run have in common, without the personas, kernels as float16.

    Raises:
        InputError: `workdir` holds no run of autoencoders, or they have no mean decoder.
    """
    start = _of_run(workdir)
    if "mean" not in start.params:
        raise InputError(
            f"The personas of '{workdir}' have no decoder in common; train it with config.model.mean_decoder=True."
        )
    nobody = jax.tree.map(lambda leaf: leaf[:0], start.params["personas"])
    params = start.params | {"personas": nobody}
    about = {"alignment": start.alignment, "personas": json.dumps([])}
    shipped.write(path, params, about)


def fitting(start: Start, network: Autoencoder, personas: Sequence[str], wanted: Params) -> Params:
    """The weights of a start that fit, by group and module, whole modules alone.

    Args:
        start: to begin with.
        network: that is to be trained.
        personas: their names.
        wanted: shapes of its weights.

    Raises:
        InputError: nothing fits.
    """
    known = list(start.personas)
    numbers = [known.index(name) if name in known else None for name in personas]
    given = network.adopted(start.params, numbers)

    found = {}
    for group, modules in wanted.items():
        taken = {}
        for name, weights in modules.items():
            offered = given.get(group, {}).get(name)
            if offered is not None and _shapes(offered) == _shapes(weights):
                taken[name] = offered
        found[group] = taken
    if not any(found.values()):
        raise InputError(
            f"config.init is '{start.name}', of which no module fits this network; give config.model the values that "
            "it was trained with, or begin with nothing: --config.init='' --config.freeze.steps=0."
        )
    return found


def told(start: Start, found: Params, wanted: Params) -> str:
    """What was taken, and what begins afresh, for people."""
    taken = sum(map(len, found.values()))
    fresh = []
    for group, modules in wanted.items():
        fresh += [f"{group}/{name}" for name in modules if name not in found[group]]
    text = f"Begins with {taken} modules of '{start.name}'"
    return f"{text}; fresh: {', '.join(fresh)}." if fresh else f"{text}: all."


def _of_run(workdir: Path) -> Start:
    config = configs.load(workdir / "config.json")
    if config.task != "autoencoder":
        raise InputError(f"'{workdir}' holds a run of '{config.task}'; give one of 'autoencoder'.")
    task = load_task(config)

    def wanted(step: int) -> dict:
        state = abstract_state(task, phase_of(task, step))
        if config.average:
            return {"extras": {AVERAGE: state.extras[AVERAGE]}}
        return {"params": state.params}

    read = read_parts(workdir, wanted, make_mesh())
    params = read["extras"][AVERAGE] if config.average else read["params"]
    params = jax.tree.map(np.asarray, params)
    return Start(str(workdir), config.alignment, config.personas, params)


def _of_file(name: str, path: Path) -> Start:
    try:
        params, about = shipped.read(path)
        personas = json.loads(about["personas"])
        alignment = about["alignment"]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"'{path}' holds no weights to begin with ({error}); give a run's folder, or a file made from one."
        ) from error
    return Start(name, alignment, personas, params)


def _shapes(tree: PyTree) -> Mapping:
    return jax.tree.map(lambda leaf: tuple(leaf.shape), tree)
