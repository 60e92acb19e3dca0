"""StyleGAN2's weights, as `models/stylegan2.py` and `models/residual.py` have them: of a run, or a file of the user's.

Files are .safetensors or .npz, with PyTorch's names of the tensors as `rosinality/stylegan2-pytorch` has them, and with
it pSp, ReStyle and most public checkpoints. docs/stylegan2.md has the table and how to convert. Pickles, which can run
any code, are refused.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
from jaxtyping import Float

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import read_parts
from faceswap_jax.errors import InputError
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.models.stylegan2 import FIRST, StyleGAN2Config
from faceswap_jax.ops import precision
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.pretrained.tensor_files import PICKLES, READERS, State, network_of

DISCRIMINATOR = "discriminator."
"""What the names of its tensors begin with, where a file has them."""

MEAN = "latent_avg"

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
"""What files also have, up to a factor, under names that end in "kernel"."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Trained networks.

    Attributes:
        config: shape of both.
        params: of the generator, NumPy arrays: "mapping", "synthesis" and "noise".
        mean: mean style.
        discriminator: its parameters; None if they are not given.
    """

    config: StyleGAN2Config
    params: stylegan2.Params
    mean: Float[np.ndarray, "latent"]
    discriminator: residual.Params | None


def shape(config: ml_collections.ConfigDict) -> StyleGAN2Config:
    """The shape of the networks that a config of `config.task` "stylegan2" describes."""
    c = config.model
    return StyleGAN2Config(
        resolution=c.resolution,
        latent=c.latent,
        width=c.width,
        mapping_layers=c.mapping_layers,
        most=c.most,
        dtype=precision.dtype(config.precision),
    )


def load(path: Path, config: StyleGAN2Config | None = None) -> Weights:
    """The networks of a run of `config.task` "stylegan2", at its newest checkpoint, or of a file.

    Args:
        path: folder of the run, or .safetensors or .npz.
        config: the shape that they must have; any if None.

    Raises:
        InputError: there are none, they cannot be used, or have another shape.
    """
    return _of_run(path, config) if path.is_dir() else _of_file(path, config)


def _of_run(path: Path, config: StyleGAN2Config | None) -> Weights:
    about = configs.load(path / "config.json")
    if about.task != "stylegan2":
        raise InputError(f"'{path}' holds a run of '{about.task}'; give one of 'stylegan2'.")
    found = shape(about)
    if config and replace(found, dtype=config.dtype) != config:
        raise InputError(
            f"The networks of '{path}' are {_described(found)}, and {_described(config)} is wanted; "
            "give config.model the values that the run was trained with."
        )
    key = jax.random.key(0)
    average = jax.eval_shape(partial(stylegan2.init, found), key)
    discriminator = jax.eval_shape(partial(residual.init, found), key)
    mean = jax.ShapeDtypeStruct((found.latent,), np.float32)
    wanted = {
        "params": {"discriminator": discriminator},
        "extras": {"average": average, "mean_style": mean},
    }
    state = jax.tree.map(np.asarray, read_parts(path, lambda _: wanted, make_mesh()))
    extras = state["extras"]
    return Weights(found, extras["average"], extras["mean_style"], state["params"]["discriminator"])


def _of_file(path: Path, config: StyleGAN2Config | None) -> Weights:
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise InputError(
            f"'{path}' may be a pickle, which can run any code; convert it to .safetensors where you trust it, as "
            "docs/stylegan2.md shows."
        )
    if suffix not in READERS:
        raise InputError(
            f"'{path}' holds no StyleGAN2; give a run's folder, or a file that ends in {' or '.join(READERS)}."
        )
    wanted = f" of {_described(config)}" if config else ""
    return network_of(
        path,
        f"StyleGAN2{wanted}",
        lambda state: _converted(state, config or _config(state)),
        "docs/stylegan2.md has the names and shapes of its tensors",
    )


def _described(config: StyleGAN2Config) -> str:
    widths = f"{config.channels(FIRST)} to {config.channels(config.resolution)} channels"
    return f"{config.resolution} px, {widths}, latents of {config.latent} and {config.mapping_layers} mapping layers"


# Layouts


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


def _as_is(tensor: np.ndarray) -> np.ndarray:
    return tensor


def _transposed(tensor: np.ndarray) -> np.ndarray:
    """[out, in] to [in, out]."""
    return tensor.T


def _kernel(tensor: np.ndarray) -> np.ndarray:
    """[out, in, h, w], or [1, out, in, h, w], to [h, w, in, out]."""
    return tensor.reshape(tensor.shape[-4:]).transpose(2, 3, 1, 0)


def _turned(tensor: np.ndarray) -> np.ndarray:
    """Likewise of a transposed convolution, whose kernel lies turned round."""
    return _kernel(tensor)[::-1, ::-1]


def _pixelwise(tensor: np.ndarray) -> np.ndarray:
    """[..., out, in, 1, 1] to [in, out]."""
    return _kernel(tensor)[0, 0]


def _start(tensor: np.ndarray) -> np.ndarray:
    """[1, c, h, w] to [h, w, c]."""
    return tensor[0].transpose(1, 2, 0)


def _hidden(tensor: np.ndarray) -> np.ndarray:
    """[out, c * h * w] to [h * w * c, out]."""
    out = len(tensor)
    images = tensor.reshape(out, -1, FIRST, FIRST)
    return images.transpose(2, 3, 1, 0).reshape(-1, out)


def _flat(tensor: np.ndarray) -> np.ndarray:
    return tensor.reshape(-1)


def _map(tensor: np.ndarray) -> np.ndarray:
    """[1, 1, h, w] to [h, w]."""
    return tensor.reshape(tensor.shape[-2:])


def generator_tensors(config: StyleGAN2Config) -> Iterator[Tensor]:
    """The tensors of a generator, in the order in which it computes."""
    for i in range(config.mapping_layers):
        place = ("mapping", f"layer_{i}")
        yield Tensor(f"style.{i + 1}.weight", (*place, "kernel"), _transposed)
        yield Tensor(f"style.{i + 1}.bias", (*place, "bias"), _as_is)

    yield Tensor("input.input", ("synthesis", "start"), _start)
    for block, side in enumerate(config.sides):
        module = f"side_{side}"
        if block:
            yield from _layer(f"convs.{2 * block - 2}", f"{module}_enlarge", _turned)
        conv = f"convs.{2 * block - 1}" if block else "conv1"
        yield from _layer(conv, f"{module}_conv", _kernel)
        colours = f"to_rgbs.{block - 1}" if block else "to_rgb1"
        yield from _colours(colours, f"{module}_colours")
    for i in range(config.layers - 1):
        yield Tensor(f"noises.noise_{i}", ("noise", f"layer_{i}"), _map)


def _layer(name: str, module: str, kernel) -> Iterator[Tensor]:
    place = ("synthesis", module)
    yield Tensor(f"{name}.conv.weight", (*place, "kernel"), kernel)
    yield from _style(name, place)
    yield Tensor(f"{name}.noise.weight", (*place, "noise"), _as_is)
    yield Tensor(f"{name}.activate.bias", (*place, "bias"), _as_is)


def _colours(name: str, module: str) -> Iterator[Tensor]:
    place = ("synthesis", module)
    yield Tensor(f"{name}.conv.weight", (*place, "kernel"), _pixelwise)
    yield from _style(name, place)
    yield Tensor(f"{name}.bias", (*place, "bias"), _flat)


def _style(name: str, place: tuple[str, ...]) -> Iterator[Tensor]:
    yield Tensor(f"{name}.conv.modulation.weight", (*place, "style", "kernel"), _transposed)
    yield Tensor(f"{name}.conv.modulation.bias", (*place, "style", "bias"), _as_is)


def discriminator_tensors(config: StyleGAN2Config) -> Iterator[Tensor]:
    """The tensors of a discriminator, in the order in which it computes; names without their prefix."""
    yield Tensor("convs.0.0.weight", ("colours", "kernel"), _pixelwise)
    yield Tensor("convs.0.1.bias", ("colours", "bias"), _as_is)
    for i, side in enumerate(reversed(config.sides[1:]), 1):
        module = f"side_{side}"
        yield Tensor(f"convs.{i}.conv1.0.weight", (f"{module}_conv", "kernel"), _kernel)
        yield Tensor(f"convs.{i}.conv1.1.bias", (f"{module}_conv", "bias"), _as_is)
        yield Tensor(f"convs.{i}.conv2.1.weight", (f"{module}_reduce", "kernel"), _kernel)
        yield Tensor(f"convs.{i}.conv2.2.bias", (f"{module}_reduce", "bias"), _as_is)
        yield Tensor(f"convs.{i}.skip.1.weight", (f"{module}_bypass", "kernel"), _pixelwise)
    yield Tensor("final_conv.0.weight", ("last_conv", "kernel"), _kernel)
    yield Tensor("final_conv.1.bias", ("last_conv", "bias"), _as_is)
    yield Tensor("final_linear.0.weight", ("hidden", "kernel"), _hidden)
    yield Tensor("final_linear.0.bias", ("hidden", "bias"), _as_is)
    yield Tensor("final_linear.1.weight", ("verdict", "kernel"), _transposed)
    yield Tensor("final_linear.1.bias", ("verdict", "bias"), _as_is)


def _config(state: State) -> StyleGAN2Config:
    """The shape of a generator, from those of its tensors."""

    def tensor(name, axes):
        if name not in state or state[name].ndim != axes:
            raise ValueError(f"the tensor '{name}' is missing, or has not {axes} axes")
        return state[name]

    layers = sum(name.startswith("style.") and name.endswith(".weight") for name in state)
    blocks = sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in state)
    resolution = FIRST << blocks
    first = tensor("conv1.conv.weight", 5).shape[1]
    last = tensor(f"to_rgbs.{blocks - 1}.conv.weight" if blocks else "to_rgb1.conv.weight", 5)
    width = last.shape[2] * resolution / 2**15
    return StyleGAN2Config(
        resolution=resolution,
        latent=tensor("style.1.weight", 2).shape[0],
        width=width,
        mapping_layers=layers,
        most=round(first / width),
    )


def _converted(state: State, config: StyleGAN2Config) -> Weights:
    """The tensors as our networks lay them out.

    Raises:
        ValueError: one is missing, has another shape, is not finite, or belongs to no StyleGAN2; the first one.
    """
    state = {name: tensor.astype(np.float32) for name, tensor in state.items()}
    _take_filters(state)
    key = jax.random.key(0)
    shapes = jax.eval_shape(partial(stylegan2.init, config), key)
    params = _laid_out(state, generator_tensors(config), shapes)
    if MEAN not in state or state[MEAN].shape != (config.latent,):
        raise ValueError(f"the tensor '{MEAN}', [{config.latent}], is missing or has another shape")
    mean = state.pop(MEAN)

    discriminator = None
    if any(name.startswith(DISCRIMINATOR) for name in state):
        shapes = jax.eval_shape(partial(residual.init, config), key)
        tensors = discriminator_tensors(config)
        discriminator = _laid_out(state, tensors, shapes, DISCRIMINATOR)
    if state:
        raise ValueError(f"the tensor '{min(state)}' belongs to no part of it")
    return Weights(config, params, mean, discriminator)


def _take_filters(state: State) -> None:
    """Removes the filters, which are constants, from a file's tensors."""
    for name in [name for name in state if name.endswith("kernel")]:
        taps = state.pop(name)
        if taps.shape != FILTER.shape or not np.allclose(taps / taps.sum(), FILTER, atol=1e-6):
            raise ValueError(f"the filter '{name}' is not that of [1, 3, 3, 1]")


def _laid_out(state: State, tensors: Iterator[Tensor], shapes: Mapping, prefix: str = "") -> dict:
    """Parameters from a file's tensors, which are taken out of these."""
    params: dict = {}
    for name, place, laid_out in tensors:
        name = prefix + name
        if name not in state:
            raise ValueError(f"the tensor '{name}' is missing")
        tensor = state.pop(name)
        *parents, leaf = place
        at, wanted = params, shapes
        for parent in parents:
            at, wanted = at.setdefault(parent, {}), wanted[parent]
        try:
            found = np.ascontiguousarray(laid_out(tensor))
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
