"""Configurations: an experiment file's values, as text, compared."""

import functools
import json
import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_collections

from faceswap_jax.errors import InputError

# These may change when a run is continued: how it is watched, on which devices and where its data lie, not what it
# computes. What the data are, their manifest tells.
FREE = re.compile(r"(run|mesh)\.|data\.path$")


def defaults() -> ml_collections.ConfigDict:
    """What the configs of all experiments have: devices, and how a run is watched and kept."""
    c = ml_collections.ConfigDict()
    c.mesh = ml_collections.ConfigDict()
    c.mesh.persona = 1  # devices along the persona axis; the others are along data
    c.mesh.cpu_devices = (
        1  # of each process when JAX runs on a CPU; one per core is fastest for small networks
    )

    c.run = ml_collections.ConfigDict()
    c.run.log = 20  # steps between lines of metrics.jsonl
    c.run.preview = 2_000  # steps between previews and evaluations
    c.run.checkpoint = 2_000  # steps between checkpoints
    c.run.keep = 2  # newest checkpoints that stay
    c.run.keep_every = 0  # those at multiples of so many steps stay too; 0: none
    c.run.best = ""  # the one with the best score of evaluations stays too: "psnr", or "-dissimilarity" for the lowest
    c.run.not_finite = (
        "stop"  # what to do about NaN: "stop", or "rollback" to a checkpoint and skip the batch
    )
    c.run.wandb = ""  # project in W&B that the run is shown in; "": none
    return c


def check_run(run: ml_collections.ConfigDict) -> None:
    """Checks `config.run`.

    Raises:
        InputError: a value makes no sense.
    """
    demands = {
        name: (run[name] >= 1, "give 1 or more")
        for name in ("log", "preview", "checkpoint", "keep")
    }
    demands |= {
        "keep_every": (
            run.keep_every >= 0 and run.keep_every % max(run.checkpoint, 1) == 0,
            f"give a multiple of config.run.checkpoint, {run.checkpoint}, or 0",
        ),
        "best": (
            not run.best or run.checkpoint % max(run.preview, 1) == 0,
            f"let config.run.checkpoint, {run.checkpoint}, be a multiple of config.run.preview, {run.preview}: a "
            "checkpoint without an evaluation has no score",
        ),
        "not_finite": (run.not_finite in ("stop", "rollback"), "choose stop or rollback"),
    }
    for name, (met, remedy) in demands.items():
        if not met:
            raise InputError(f"config.run.{name} is {run[name]!r}; {remedy}.")


def to_json(config: ml_collections.ConfigDict) -> str:
    """The full resolved config, stable and readable."""
    return json.dumps(json.loads(config.to_json_best_effort()), indent=2, sort_keys=True) + "\n"


def from_experiment(path: Path) -> ml_collections.ConfigDict:
    """What `get_config()` of an experiment file returns.

    Raises:
        InputError: there is no such file, or it is wrong.
    """
    if not path.is_file():
        raise InputError(
            f"There is no config file '{path}'; give an experiment, such as experiments/comb.py."
        )
    try:
        config = runpy.run_path(str(path))["get_config"]()
    except Exception as error:  # whatever the file does
        raise InputError(
            f"The config file '{path}' cannot be used ({type(error).__name__}: {error}); correct it."
        ) from error
    if not isinstance(config, ml_collections.ConfigDict) or "task" not in config:
        raise InputError(
            f"get_config() of '{path}' must return a ConfigDict with a field 'task'; correct it."
        )
    return config


def load(path: Path) -> ml_collections.ConfigDict:
    """The config that a run has stored.

    Raises:
        InputError: there is none.
    """
    try:
        values = json.loads(path.read_text())
        values["task"]
    except OSError as error:
        raise InputError(
            f"'{path.parent}' holds no run; give the folder that was --workdir of 'faceswap train'."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{path}' is not the config of a run ({error!r}); choose another --workdir."
        ) from error
    return ml_collections.ConfigDict(values)


def differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> list[str]:
    """One line "field: old -> new" for every field that identifies a run and differs."""
    old, new = fields(old), fields(new)
    return [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if not FREE.match(name) and old.get(name) != new.get(name)
    ]


def fields(config: ml_collections.ConfigDict) -> dict:
    """Values by full name, e.g. "model.width"."""
    return _flat(json.loads(to_json(config)))


def _flat(tree: dict, prefix: str = "") -> dict:
    leaves = {}
    for name, value in tree.items():
        leaves |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return leaves


@dataclass(frozen=True)
class Demand:
    """What a value of a config must be.

    Attributes:
        met: whether a value is so.
        remedy: what to do if it is not, as an imperative: "give 1 or more".
    """

    met: Callable[[Any], bool]
    remedy: str


def at_least(least: float) -> Demand:
    """The value is `least` or more."""
    return Demand(lambda value: value >= least, f"give {least} or more")


def between(low: float, high: float) -> Demand:
    """The value lies between two others, or is one of them."""
    return Demand(lambda value: low <= value <= high, f"give {low} to {high}")


def inside(low: float, high: float) -> Demand:
    """The value lies between two others and is neither."""
    return Demand(lambda value: low < value < high, f"give more than {low} and less than {high}")


def below(low: float, high: float) -> Demand:
    """The value is `low` or more, and less than `high`."""
    return Demand(lambda value: low <= value < high, f"give {low} or more, and less than {high}")


def positive() -> Demand:
    """The value is greater than zero."""
    return Demand(lambda value: value > 0, "give a positive number")


def one_of(*values: str) -> Demand:
    """The value is one of these."""
    return Demand(lambda value: value in values, f"choose {' or '.join(map(str, values))}")


def check(config: ml_collections.ConfigDict, demands: Mapping[str, Demand]) -> None:
    """Checks the values of a config by a table, such as {"batch": at_least(1), "data.validation": inside(0, 1)}.

    Raises:
        InputError: one of them is not as demanded; the sentence names the field, the value and the remedy.
    """
    for name, demand in demands.items():
        value = functools.reduce(getattr, name.split("."), config)
        if not demand.met(value):
            raise InputError(f"config.{name} is {value!r}; {demand.remedy}.")
