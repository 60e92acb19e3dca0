"""TPUs to compile for: which topologies there are, and devices that execute nothing.

Their compiler, libtpu, runs on any CPU.
"""

import importlib.util
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from faceswap_jax.errors import InputError

_SQUARES = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")

SHAPES = {"v5e": _SQUARES, "v5p": (*_CUBES, "8x16x16", "16x16x16", "16x16x24"), "v6e": _SQUARES}
"""Chips along each side, by generation, as Google's documentation of Cloud TPU has them."""

ENVIRONMENT = {
    # Nobody asks the metadata server of a cloud for this machine's TPUs.
    "TPU_SKIP_MDS_QUERY": "1",
    # Nothing is executed, so a program that holds this machine's TPUs is no obstacle.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Else it warns that it does not know them.
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}
"""What libtpu reads when it is loaded."""


def devices_of(name: str) -> Sequence[jax.Device]:
    """The devices of a topology; programs can be compiled for them.

    Args:
        name: generation and chips along each side, e.g. "v5e:4x4".

    Raises:
        InputError: there is no such topology, or libtpu is missing or cannot be used.
    """
    generation, _, shape = name.partition(":")
    if shape not in SHAPES.get(generation, ()):
        known = "; ".join(f"{one}:{', '.join(shapes)}" for one, shapes in SHAPES.items())
        raise InputError(f"There is no topology '{name}'; give one such as v5e:4x4, of {known}.")
    if not os.environ.get("TPU_LIBRARY_PATH") and importlib.util.find_spec("libtpu") is None:
        raise InputError(
            "--topology needs libtpu, the compiler for TPUs, which is not installed; install the extra `tpu` "
            "(pip install 'faceswap-jax[tpu]'), or give --devices for simulated CPU devices."
        )
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        return topologies.get_topology_desc(name, "tpu").devices
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--topology {name}: libtpu cannot be used ({reason}); if another program of this machine holds it, unset "
            "ALLOW_MULTIPLE_LIBTPU_LOAD or wait for its end, and otherwise install the extra `tpu` again."
        ) from error
