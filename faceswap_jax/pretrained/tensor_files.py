"""Tensors of a user's file, .safetensors or .npz. Pickles, which can run any code, are refused."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from faceswap_jax.errors import InputError

State = dict[str, np.ndarray]

Network = TypeVar("Network")

CAUSES = (SafetensorError, zipfile.BadZipFile, OSError, EOFError, KeyError, TypeError, ValueError)
"""What readers raise for damaged files, or for others."""

PICKLES = (".pth", ".pt", ".pkl", ".ckpt", ".bin")


def read_safetensors(path: Path) -> State:
    """The tensors of a file; ValueError if it is damaged."""
    try:
        return _without_counts(load_file(path))
    except CAUSES as error:
        raise ValueError(f"reading fails: {error}") from error


def read_npz(path: Path) -> State:
    """The tensors of a file; ValueError if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _without_counts(dict(file))
    except CAUSES as error:
        raise ValueError(f"reading fails: {error}") from error


def _without_counts(state: State) -> State:
    """Without the counts of PyTorch's batch normalisations, which are of no use here."""
    return {name: state[name] for name in state if not name.endswith(".num_batches_tracked")}


READERS = {".safetensors": read_safetensors, ".npz": read_npz}
"""By the ends of files' names."""


def read(path: Path) -> State:
    """The tensors of a file; ValueError if it is damaged, or of another kind."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"it does not end in {' or '.join(READERS)}")
    return READERS[suffix](path)


def holds(path: Path, name: str) -> bool:
    """Whether a file has a tensor of this name, which is looked up without reading any tensor."""
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                names = file.files
        else:
            with safe_open(path, "np") as file:
                names = file.keys()
    except CAUSES:
        return False
    return name in names


def check_format(path: Path, what: str, page: str) -> None:
    """Whether a file is of a kind that is read.

    Args:
        path: of the file.
        what: which network it is to hold, for people.
        page: shows how files are converted.

    Raises:
        InputError: it may be a pickle, or is of another kind.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise InputError(
            f"'{path}' may be a pickle, which can run any code; convert it to .safetensors where you trust it, as "
            f"{page} shows."
        )
    if suffix not in READERS:
        raise InputError(
            f"'{path}' holds no {what}; give a run's folder, or a file that ends in {' or '.join(READERS)}."
        )


def network_of(
    path: Path, what: str, converted: Callable[[State], Network], remedy: str
) -> Network:
    """The network that a file holds.

    Args:
        path: of the file.
        what: which network it is to be, for people.
        converted: makes it of the tensors; ValueError if they are others.
        remedy: what to do if it cannot be used.

    Raises:
        InputError: there is no such file, it is damaged, or holds another network.
    """
    if not path.is_file():
        raise InputError(f"There is no file '{path}'; give the weights of {what}.")
    try:
        return converted(read(path))
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"'{path}' is no {what} that can be used ({reason}); {remedy}.") from error


def float32(state: State) -> State:
    """The tensors in float32."""
    return {name: tensor.astype(np.float32, copy=False) for name, tensor in state.items()}


def shape_of(state: State, name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor; ValueError if it is missing, or has not so many axes."""
    if name not in state or state[name].ndim != axes:
        raise ValueError(f"the tensor '{name}' is missing, or has not {axes} axes")
    return state[name].shape


def take(state: State, name: str, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """Takes a tensor out; ValueError if it is missing, has another shape, or is not finite."""
    if name not in state:
        raise ValueError(f"the tensor '{name}' is missing")
    tensor = state.pop(name)
    if tensor.shape != shape:
        raise ValueError(f"the tensor '{name}' has the shape {tensor.shape}, not {shape}")
    if not np.isfinite(tensor).all():
        raise ValueError(f"the tensor '{name}' is not finite")
    return tensor.astype(np.float32, copy=False)
