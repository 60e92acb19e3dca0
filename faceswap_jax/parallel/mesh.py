"""The device mesh. Axes: data (samples, and shards of large tensors), persona (decoders)."""

import jax
from jax.sharding import AxisType, Mesh

from faceswap_jax.errors import InputError

AXES = ("data", "persona")


def make_mesh(persona: int = 1) -> Mesh:
    """A mesh over all devices, `persona` of them along the persona axis and the rest along data."""
    devices = jax.device_count()
    if persona < 1 or devices % persona:
        raise InputError(f"config.mesh.persona is {persona}; choose a divisor of the {devices} devices.")
    return jax.make_mesh((devices // persona, persona), AXES, axis_types=(AxisType.Auto,) * len(AXES))
