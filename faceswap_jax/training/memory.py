"""Too little memory, told in a sentence."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import psutil

from faceswap_jax.errors import InputError
from faceswap_jax.parallel import distributed
from faceswap_jax.tasks.base import Phase, Task

logger = logging.getLogger(__name__)


@contextmanager
def explained(task: Task, phase: Phase) -> Iterator[None]:
    """Says in a sentence what JAX's runtime says in pages.

    Raises:
        InputError: there is not enough memory for `phase`.
        JobError: another process of the job has ended.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        distributed.raise_if_lost(error)
        # The device's memory; a CPU's process is killed instead.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        gist = next(line for line in str(error).splitlines() if "RESOURCE_EXHAUSTED" in line)
        raise InputError(
            f"Out of memory at {phase.name} with config.batch={task.config.batch} ({gist[:200]}); continue on more "
            f"devices, or, in a new --workdir, {task.memory_advice}. `faceswap compile` tells what every level needs."
        ) from error


def warn_if_large(task: Task, name: str, compiled: jax.stages.Compiled) -> None:
    """Warns when a step needs more memory than a CPU has: the system kills a process without a word.

    Args:
        task: of the step.
        name: of the step, for people.
        compiled: the step.
    """
    if jax.default_backend() != "cpu":
        return
    # Each simulated device has its own temporaries.
    needed = compiled.memory_analysis().temp_size_in_bytes * jax.local_device_count()
    free = psutil.virtual_memory().available
    if needed > free:
        logger.warning(
            "%s needs %.1f GiB for a step with config.batch=%d, of which %.1f are free: if the process is killed, "
            "continue on more machines, or, in a new --workdir, %s.",
            name,
            needed / 2**30,
            task.config.batch,
            free / 2**30,
            task.memory_advice,
        )
