"""The device mesh. Axes: data (samples, and shards of large tensors), persona (decoders)."""

import contextlib
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from faceswap_jax.errors import InputError

AXES = ("data", "persona")


def split_cpu(devices: int) -> None:
    """Splits the CPU into simulated devices, if it is what JAX runs on and JAX has not started yet.

    Call it first: whatever starts JAX, such as reading a network's weights, fixes the number. XLA's convolutions keep
    one core busy, so that training on a CPU wants a device per core.

    Raises:
        InputError: the number is not positive.
    """
    if devices < 1:
        raise InputError(f"config.mesh.cpu_devices is {devices}; give 1 or more.")
    # Raised once JAX has started
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", devices)


def make_mesh(persona: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over devices, `persona` of them along the persona axis and the rest along data.

    Args:
        persona: how many.
        devices: those of this job if None; others may be such that programs are only compiled for.

    Raises:
        InputError: `persona` is not positive, or does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if persona < 1 or count % persona:
        raise InputError(
            f"config.mesh.persona is {persona}; choose a divisor of the {count} devices."
        )
    shape = (count // persona, persona)
    # XLA lays arrays out inside a program; JAX's default would make layouts a part of their types.
    automatic = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(shape, AXES, axis_types=automatic, devices=devices)
