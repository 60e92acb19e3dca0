"""Configurations: an experiment file's values, as text, compared."""

import json
from pathlib import Path

import ml_collections

from faceswap_jax.errors import InputError

# Changing these between runs of one work folder changes how a run is watched, not what it computes.
FREE = ("run",)


def to_json(config: ml_collections.ConfigDict) -> str:
    """The full resolved config, stable and readable."""
    return json.dumps(json.loads(config.to_json_best_effort()), indent=2, sort_keys=True) + "\n"


def load(path: Path) -> ml_collections.ConfigDict:
    """The config that a run has stored."""
    if not path.exists():
        raise InputError(f"'{path.parent}' holds no run; give the folder that was --workdir of 'faceswap train'.")
    return ml_collections.ConfigDict(json.loads(path.read_text()))


def differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> list[str]:
    """One line "field: old -> new" for every field that identifies a run and differs."""
    old, new = (_flat(json.loads(to_json(c))) for c in (old, new))
    return [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if name.split(".")[0] not in FREE and old.get(name) != new.get(name)
    ]


def _flat(tree: dict, prefix: str = "") -> dict:
    leaves = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves
