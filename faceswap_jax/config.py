"""Configurations: an experiment file's values, as text, compared."""

import json
import runpy
from pathlib import Path

import ml_collections

from faceswap_jax.errors import InputError

# These may change when a run is continued: how it is watched and on which devices, not what it computes.
FREE = ("run", "mesh")


def to_json(config: ml_collections.ConfigDict) -> str:
    """The full resolved config, stable and readable."""
    return json.dumps(json.loads(config.to_json_best_effort()), indent=2, sort_keys=True) + "\n"


def from_experiment(path: Path) -> ml_collections.ConfigDict:
    """What `get_config()` of an experiment file returns.

    Raises:
        InputError: there is no such file, or it is wrong.
    """
    if not path.is_file():
        raise InputError(f"There is no config file '{path}'; give an experiment, such as experiments/comb.py.")
    try:
        config = runpy.run_path(str(path))["get_config"]()
    except Exception as error:  # whatever the file does
        raise InputError(
            f"The config file '{path}' cannot be used ({type(error).__name__}: {error}); correct it."
        ) from error
    if not isinstance(config, ml_collections.ConfigDict) or "task" not in config:
        raise InputError(f"get_config() of '{path}' must return a ConfigDict with a field 'task'; correct it.")
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
        raise InputError(f"'{path}' is not the config of a run ({error!r}); choose another --workdir.") from error
    return ml_collections.ConfigDict(values)


def differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> list[str]:
    """One line "field: old -> new" for every field that identifies a run and differs."""
    old, new = fields(old), fields(new)
    return [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if name.split(".")[0] not in FREE and old.get(name) != new.get(name)
    ]


def fields(config: ml_collections.ConfigDict) -> dict:
    """Values by full name, e.g. "model.width"."""
    return _flat(json.loads(to_json(config)))


def _flat(tree: dict, prefix: str = "") -> dict:
    leaves = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves
