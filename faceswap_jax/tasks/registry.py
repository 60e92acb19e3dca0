"""From the names in a config to classes: tasks and networks of this package, or anybody's by their dotted names."""

import importlib
from collections.abc import Sequence

import ml_collections

from faceswap_jax.errors import InputError
from faceswap_jax.tasks.base import Task

TASKS = (
    "autoencoder",
    "x2face",
    "attribute",
    "stylegan2",
    "inversion",
    "transfer",
    "identity",
    "expression",
    "sync",
    "oracle",
    "detector",
)
"""Modules of this package that hold a class `Task`."""

AUTOENCODERS = ("comb", "parts", "tunable")
"""Modules of `faceswap_jax.models` that hold a class `Network` of the autoencoder family."""


def task_class(config: ml_collections.ConfigDict) -> type[Task]:
    """Class `Task` of the module that `config.task` names.

    Raises:
        InputError: there is no such module, or it has no class Task.
    """
    return _class_of("task", config.task, "Task", "faceswap_jax.tasks", TASKS)


def network_class(config: ml_collections.ConfigDict) -> type:
    """Class `Network` of the module that `config.model.network` names.

    Raises:
        InputError: there is no such module, or it has no class Network.
    """
    name = config.model.network
    return _class_of("model.network", name, "Network", "faceswap_jax.models", AUTOENCODERS)


def load_task(config: ml_collections.ConfigDict) -> Task:
    """The task that a resolved config describes."""
    return task_class(config)(config)


def _class_of(field: str, name: str, attribute: str, package: str, known: Sequence[str]) -> type:
    """A class of a module of `package` if its name is known, or else of any module."""
    module = f"{package}.{name}" if name in known else name
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"config.{field} is '{name}'; choose one of {', '.join(known)}, or name a module of your own with a class "
            f"{attribute}, such as my_package.module, in the current folder or on PYTHONPATH ({error})."
        ) from error
