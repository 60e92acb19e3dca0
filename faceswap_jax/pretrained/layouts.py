"""Where the tensors of a user's file go, from PyTorch's layouts to ours."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from faceswap_jax.pretrained.tensor_files import State


class Tensor(NamedTuple):
    """Where a tensor of a file goes.

    Attributes:
        name: in the file.
        place: its path in the parameters.
        laid_out: from PyTorch's layout to ours.
    """

    name: str
    place: tuple[str, ...]
    laid_out: Callable[[np.ndarray], np.ndarray]


def as_is(tensor: np.ndarray) -> np.ndarray:
    """The same."""
    return tensor


def transposed(tensor: np.ndarray) -> np.ndarray:
    """[out, in] to [in, out]."""
    return tensor.T


def kernel(tensor: np.ndarray) -> np.ndarray:
    """[out, in, h, w], or [1, out, in, h, w], to [h, w, in, out]."""
    return tensor.reshape(tensor.shape[-4:]).transpose(2, 3, 1, 0)


def laid_out(state: State, tensors: Iterable[Tensor], shapes: Mapping, prefix: str = "") -> dict:
    """Parameters from a file's tensors, which are taken out of these.

    Args:
        state: float32 tensors of the file.
        tensors: where they go.
        shapes: abstract parameters.
        prefix: of the names in the file.

    Raises:
        ValueError: one is missing, has another shape or is not finite; the first one.
    """
    params: dict = {}
    for name, place, lay_out in tensors:
        name = prefix + name
        if name not in state:
            raise ValueError(f"the tensor '{name}' is missing")
        tensor = state.pop(name)
        *parents, leaf = place
        at, wanted = params, shapes
        for parent in parents:
            at, wanted = at.setdefault(parent, {}), wanted[parent]
        try:
            found = np.ascontiguousarray(lay_out(tensor))
        except ValueError:
            found = None
        if found is None or found.shape != wanted[leaf].shape:
            raise ValueError(
                f"the tensor '{name}' has the shape {tensor.shape}, which does not make {wanted[leaf].shape}"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"the tensor '{name}' is not finite")
        at[leaf] = found
    return params
