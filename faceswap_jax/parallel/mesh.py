"""The device mesh. Axes: data (samples, and shards of large tensors), persona (decoders)."""

import contextlib

import jax
from jax.sharding import AxisType, Mesh

from faceswap_jax.errors import InputError

AXES = ("data", "persona")


def make_mesh(persona: int = 1, cpu_devices: int | None = None) -> Mesh:
    """A mesh over all devices, `persona` of them along the persona axis and the rest along data.

    Args:
        persona: size of the persona axis.
        cpu_devices: into how many devices to split the CPU, if it is what JAX runs on and JAX has not started yet.
            XLA's convolutions keep one core busy, so that training on a CPU wants a device per core.

    Raises:
        InputError: `persona` does not divide the number of devices, or one of the two is not positive.
    """
    if cpu_devices is not None:
        if cpu_devices < 1:
            raise InputError(f"config.mesh.cpu_devices is {cpu_devices}; give 1 or more.")
        with contextlib.suppress(RuntimeError):  # raised once JAX has started
            jax.config.update("jax_num_cpu_devices", cpu_devices)
    devices = jax.device_count()
    if persona < 1 or devices % persona:
        raise InputError(
            f"config.mesh.persona is {persona}; choose a divisor of the {devices} devices."
        )
    shape = devices // persona, persona
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES))
