"""From the name that `config.task` gives to the class that does it."""

import importlib
import pkgutil

import ml_collections

from faceswap_jax import tasks
from faceswap_jax.errors import InputError
from faceswap_jax.tasks.base import Task

NO_TASKS = ("base", "registry")  # modules of this package that hold no task


def task_class(config: ml_collections.ConfigDict) -> type[Task]:
    """Class `Task` of the module that `config.task` names: one of this package, or any, by its dotted name.

    Raises:
        InputError: there is no such module, or it has no class Task.
    """
    name = config.task
    known = sorted(m.name for m in pkgutil.iter_modules(tasks.__path__) if m.name not in NO_TASKS)
    if name in known:
        return importlib.import_module(f"{tasks.__name__}.{name}").Task
    try:
        return importlib.import_module(name).Task
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"config.task is '{name}'; choose one of {', '.join(known)}, or name a module of your own with a class "
            f"Task, such as my_package.module ({error})."
        ) from error


def load_task(config: ml_collections.ConfigDict) -> Task:
    """The task that a resolved config describes."""
    return task_class(config)(config)
