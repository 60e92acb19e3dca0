"""What a training is, in a few lines before it begins."""

import math

import jax
from jax.sharding import Mesh

from faceswap_jax.tasks.base import Task, abstract_state


def summary(task: Task, mesh: Mesh) -> str:
    """The task and its data, the size of its networks, the devices and the steps."""
    about = task.data_summary()
    last = task.phases[-1]
    # The last phase has all that grew.
    leaves = jax.tree.leaves(abstract_state(task, last).params)
    parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    device = mesh.devices.flat[0]
    steps = f"{last.stop:,} steps"
    if len(task.phases) > 1:
        steps += f" in {len(task.phases)} phases, from {task.phases[0].name} to {last.name}"
    lines = [
        f"{task.config.task}: {about}" if about else task.config.task,
        f"{_short(parameters)} parameters; {mesh.size} x {device.device_kind}, mesh {axes}",
        steps,
    ]
    return "\n".join(lines)


def _short(count: int) -> str:
    """A number of parameters as people say it: 950, 23.4 thousand, 1.25 million."""
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return str(count)
