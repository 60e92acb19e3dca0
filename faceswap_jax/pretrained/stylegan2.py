"""StyleGAN2's weights, as `models/stylegan2.py` and `models/residual.py` have them: of a run, or a file of the user's.

Files are .safetensors or .npz, with PyTorch's names of the tensors as `rosinality/stylegan2-pytorch` has them, and with
it pSp, ReStyle and most public checkpoints. docs/stylegan2.md has the table and how to convert. Pickles, which can run
any code, are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import ml_collections
import numpy as np
from jaxtyping import Float

from faceswap_jax.errors import InputError
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.models.stylegan2 import FIRST, StyleGAN2Config
from faceswap_jax.ops import precision
from faceswap_jax.pretrained import runs
from faceswap_jax.pretrained.layouts import Tensor, as_is, kernel, laid_out, transposed
from faceswap_jax.pretrained.tensor_files import (
    State,
    check_format,
    float32,
    network_of,
    shape_of,
    take,
)

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
    def wanted(about: ml_collections.ConfigDict) -> runs.Parts:
        # Before anything is read
        found = shape(about)
        if config and replace(found, dtype=config.dtype) != config:
            raise InputError(
                f"The networks of '{path}' are {_described(found)}, and {_described(config)} is wanted; "
                "give config.model the values that the run was trained with."
            )
        return parts(about)

    about, state = runs.load(path, "stylegan2", wanted)
    extras, judge = state["extras"], state["params"]["discriminator"]
    return Weights(shape(about), extras["average"], extras["mean_style"], judge)


def parts(config: ml_collections.ConfigDict) -> runs.Parts:
    """Shapes of what is read of a run: the averaged generator, and the discriminator."""
    network, key = shape(config), jax.random.key(0)
    average = jax.eval_shape(partial(stylegan2.init, network), key)
    mean = jax.ShapeDtypeStruct((network.latent,), np.float32)
    return {
        "params": {"discriminator": jax.eval_shape(partial(residual.init, network), key)},
        "extras": {"average": average, "mean_style": mean},
    }


def _of_file(path: Path, config: StyleGAN2Config | None) -> Weights:
    check_format(path, "StyleGAN2", "docs/stylegan2.md")
    wanted = f" of {_described(config)}" if config else ""
    return network_of(
        path,
        f"StyleGAN2{wanted}",
        lambda state: converted(state, config),
        "docs/stylegan2.md has the names and shapes of its tensors",
    )


def _described(config: StyleGAN2Config) -> str:
    widths = f"{config.channels(FIRST)} to {config.channels(config.resolution)} channels"
    return f"{config.resolution} px, {widths}, latents of {config.latent} and {config.mapping_layers} mapping layers"


# Layouts


def _turned(tensor: np.ndarray) -> np.ndarray:
    """Likewise of a transposed convolution, whose kernel lies turned round."""
    return kernel(tensor)[::-1, ::-1]


def _pixelwise(tensor: np.ndarray) -> np.ndarray:
    """[..., out, in, 1, 1] to [in, out]."""
    return kernel(tensor)[0, 0]


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
        yield Tensor(f"style.{i + 1}.weight", (*place, "kernel"), transposed)
        yield Tensor(f"style.{i + 1}.bias", (*place, "bias"), as_is)

    yield Tensor("input.input", ("synthesis", "start"), _start)
    for block, side in enumerate(config.sides):
        module = f"side_{side}"
        if block:
            yield from _layer(f"convs.{2 * block - 2}", f"{module}_enlarge", _turned)
        conv = f"convs.{2 * block - 1}" if block else "conv1"
        yield from _layer(conv, f"{module}_conv", kernel)
        colours = f"to_rgbs.{block - 1}" if block else "to_rgb1"
        yield from _colours(colours, f"{module}_colours")
    for i in range(config.layers - 1):
        yield Tensor(f"noises.noise_{i}", ("noise", f"layer_{i}"), _map)


def _layer(name: str, module: str, lay_out) -> Iterator[Tensor]:
    place = ("synthesis", module)
    yield Tensor(f"{name}.conv.weight", (*place, "kernel"), lay_out)
    yield from _style(name, place)
    yield Tensor(f"{name}.noise.weight", (*place, "noise"), as_is)
    yield Tensor(f"{name}.activate.bias", (*place, "bias"), as_is)


def _colours(name: str, module: str) -> Iterator[Tensor]:
    place = ("synthesis", module)
    yield Tensor(f"{name}.conv.weight", (*place, "kernel"), _pixelwise)
    yield from _style(name, place)
    yield Tensor(f"{name}.bias", (*place, "bias"), _flat)


def _style(name: str, place: tuple[str, ...]) -> Iterator[Tensor]:
    yield Tensor(f"{name}.conv.modulation.weight", (*place, "style", "kernel"), transposed)
    yield Tensor(f"{name}.conv.modulation.bias", (*place, "style", "bias"), as_is)


def discriminator_tensors(config: StyleGAN2Config) -> Iterator[Tensor]:
    """The tensors of a discriminator, in the order in which it computes; names without their prefix."""
    yield Tensor("convs.0.0.weight", ("colours", "kernel"), _pixelwise)
    yield Tensor("convs.0.1.bias", ("colours", "bias"), as_is)
    for i, side in enumerate(reversed(config.sides[1:]), 1):
        module = f"side_{side}"
        yield Tensor(f"convs.{i}.conv1.0.weight", (f"{module}_conv", "kernel"), kernel)
        yield Tensor(f"convs.{i}.conv1.1.bias", (f"{module}_conv", "bias"), as_is)
        yield Tensor(f"convs.{i}.conv2.1.weight", (f"{module}_reduce", "kernel"), kernel)
        yield Tensor(f"convs.{i}.conv2.2.bias", (f"{module}_reduce", "bias"), as_is)
        yield Tensor(f"convs.{i}.skip.1.weight", (f"{module}_bypass", "kernel"), _pixelwise)
    yield Tensor("final_conv.0.weight", ("last_conv", "kernel"), kernel)
    yield Tensor("final_conv.1.bias", ("last_conv", "bias"), as_is)
    yield Tensor("final_linear.0.weight", ("hidden", "kernel"), _hidden)
    yield Tensor("final_linear.0.bias", ("hidden", "bias"), as_is)
    yield Tensor("final_linear.1.weight", ("verdict", "kernel"), transposed)
    yield Tensor("final_linear.1.bias", ("verdict", "bias"), as_is)


def _config(state: State) -> StyleGAN2Config:
    """The shape of a generator, from those of its tensors."""
    layers = sum(name.startswith("style.") and name.endswith(".weight") for name in state)
    blocks = sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in state)
    resolution = FIRST << blocks
    first = shape_of(state, "conv1.conv.weight", 5)[1]
    colours = f"to_rgbs.{blocks - 1}" if blocks else "to_rgb1"
    last = shape_of(state, f"{colours}.conv.weight", 5)[2]
    width = last * resolution / 2**15
    return StyleGAN2Config(
        resolution=resolution,
        latent=shape_of(state, "style.1.weight", 2)[0],
        width=width,
        mapping_layers=layers,
        most=round(first / width),
    )


def converted(state: State, config: StyleGAN2Config | None = None) -> Weights:
    """The tensors of a file as our networks lay them out.

    Args:
        state: the tensors.
        config: the shape that the networks must have; if None, it is told by the tensors.

    Raises:
        ValueError: one is missing, has another shape, is not finite, or belongs to no StyleGAN2; the first one.
    """
    state = float32(state)
    config = config or _config(state)
    _take_filters(state)
    key = jax.random.key(0)
    shapes = jax.eval_shape(partial(stylegan2.init, config), key)
    params = laid_out(state, generator_tensors(config), shapes)
    mean = take(state, MEAN, (config.latent,))

    discriminator = None
    if any(name.startswith(DISCRIMINATOR) for name in state):
        shapes = jax.eval_shape(partial(residual.init, config), key)
        tensors = discriminator_tensors(config)
        discriminator = laid_out(state, tensors, shapes, DISCRIMINATOR)
    if state:
        raise ValueError(f"the tensor '{min(state)}' belongs to no part of it")
    return Weights(config, params, mean, discriminator)


def _take_filters(state: State) -> None:
    """Removes the filters, which are constants, from a file's tensors."""
    for name in [name for name in state if name.endswith("kernel")]:
        taps = state.pop(name)
        if taps.shape != FILTER.shape or not np.allclose(taps / taps.sum(), FILTER, atol=1e-6):
            raise ValueError(f"the filter '{name}' is not that of [1, 3, 3, 1]")
