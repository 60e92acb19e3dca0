"""Which devices will run what is traced: the fast form of an operation is not the same on all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

_PORTABLE = ContextVar("portable", default=False)


def platform() -> str:
    """Of the mesh that a program is traced for, or else of this process, e.g. "cpu"; "" if anybody may run it."""
    if _PORTABLE.get():
        return ""
    of_mesh = jax.sharding.get_abstract_mesh().abstract_device
    return of_mesh.platform if of_mesh else jax.default_backend()


@contextmanager
def portable() -> Iterator[None]:
    """What is traced meanwhile has plain operations alone: whoever runs it chooses the algorithm."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)
