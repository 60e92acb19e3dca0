"""Configurations: an experiment file's values, as text, compared."""

import functools
import json
import re
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_collections

from faceswap_jax.errors import InputError
from faceswap_jax.files import write_json

FREE = re.compile(r"(run|mesh)\.|data\.path$")
"""Fields that may change when a run is continued: how it is watched, on which devices, and where its data lie. They
change nothing that it computes; `data.manifest` says what the data are."""

BRIEF = 200
"""Letters of a value that differs which are shown."""


def defaults() -> ml_collections.ConfigDict:
    """What the configs of all experiments have: devices, and how a run is watched and kept."""
    c = ml_collections.ConfigDict()
    c.mesh = ml_collections.ConfigDict()
    # Devices along the persona axis; the others are along data.
    c.mesh.persona = 1
    # Simulated devices of each process on a CPU. One per core is fastest for small networks.
    c.mesh.cpu_devices = 1

    c.run = ml_collections.ConfigDict()
    # Steps between lines of metrics.jsonl.
    c.run.log = 20
    # Steps between previews and evaluations.
    c.run.preview = 2_000
    # Steps between checkpoints.
    c.run.checkpoint = 2_000
    # Newest checkpoints that stay.
    c.run.keep = 2
    # Checkpoints at multiples of so many steps stay too; 0: none.
    c.run.keep_every = 0
    # The checkpoint with the best score stays too: "psnr", or "-dissimilarity" for the lowest; "": none.
    c.run.best = ""
    # What to do about NaN: "stop", or "rollback" to a checkpoint and skip the batch.
    c.run.not_finite = "stop"
    # Project in W&B that the run is shown in; "": none.
    c.run.wandb = ""
    return c


def check_run(config: ml_collections.ConfigDict) -> None:
    """Checks `config.run`.

    Raises:
        InputError: a value makes no sense.
    """
    counts = ("run.log", "run.preview", "run.checkpoint", "run.keep")
    check(config, dict.fromkeys(counts, at_least(1)))
    demands = {
        "run.keep_every": multiple_of("run.checkpoint", config.run.checkpoint),
        "run.not_finite": one_of("stop", "rollback"),
    }
    # A checkpoint without an evaluation has no score.
    if config.run.best:
        demands["run.checkpoint"] = multiple_of("run.preview", config.run.preview)
    check(config, demands)


def plain(config: ml_collections.ConfigDict) -> dict:
    """The full resolved config in JSON's types, names sorted."""
    return json.loads(config.to_json_best_effort(sort_keys=True))


def save(config: ml_collections.ConfigDict, path: Path) -> None:
    """Stores the config of a run; `load` reads it.

    Raises:
        InputError: the file cannot be written.
    """
    write_json(path, plain(config))


def from_experiment(path: Path) -> ml_collections.ConfigDict:
    """What `get_config()` of an experiment file returns.

    The file may import modules that lie beside it, and `config.task` may name one.

    Raises:
        InputError: there is no such file, or it is wrong.
    """
    if not path.is_file():
        raise InputError(
            f"There is no config file '{path}'; give an experiment, such as experiments/comb.py."
        )
    # Last in the path, so that its names hide no installed package.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        config = runpy.run_path(str(path))["get_config"]()
    # Whatever the file does
    except Exception as error:
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


def differences(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict, may_grow: Sequence[str] = ()
) -> list[str]:
    """One line "field: old -> new" for every field that identifies a run and differs.

    Args:
        old: config of the run.
        new: config to compare.
        may_grow: fields that may be larger in `new`, e.g. ("final_steps",).
    """
    old, new = fields(old), fields(new)
    changed = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        grown = name in may_grow and name in old and name in new and after > before
        if before != after and not grown and not FREE.match(name):
            changed.append(f"{name}: {_brief(before)} -> {_brief(after)}")
    return changed


def _brief(value: Any) -> str:
    """A value in a line for people: of thousands of names the first and the last."""
    text = str(value)
    if len(text) <= BRIEF:
        return text
    return f"{text[: BRIEF // 2]} ... {text[-BRIEF // 2 :]} ({len(value):,} long)"


def fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Values by full name, e.g. "model.width"."""
    return _flat(plain(config))


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    leaves = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
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


def multiple_of(name: str, unit: int) -> Demand:
    """The value is a multiple of another field's, or 0."""
    remedy = f"give a multiple of config.{name}, {unit}, or 0"
    return Demand(lambda value: value >= 0 and value % unit == 0, remedy)


def multiple(unit: int) -> Demand:
    """The value is a multiple of a number, and positive."""
    return Demand(lambda value: value >= unit and value % unit == 0, f"give a multiple of {unit}")


def one_of(*values: str | bool) -> Demand:
    """The value is one of these."""
    return Demand(lambda value: value in values, f"choose {' or '.join(map(str, values))}")


def check(config: ml_collections.ConfigDict, demands: Mapping[str, Demand]) -> None:
    """Checks the values of a config by a table, such as {"batch": at_least(1), "data.validation": inside(0, 1)}.

    Raises:
        InputError: one of them is missing, or not as demanded; the sentence names the field, the value and the remedy.
    """
    for name, demand in demands.items():
        try:
            value = functools.reduce(getattr, name.split("."), config)
        except AttributeError as error:
            raise InputError(
                f"config.{name} is missing; add it to the experiment. A run without it is of an older version: train "
                "anew in another --workdir."
            ) from error
        if not demand.met(value):
            raise InputError(f"config.{name} is {value!r}; {demand.remedy}.")
