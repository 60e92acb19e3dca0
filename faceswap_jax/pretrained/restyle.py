"""ReStyle's public weights, as `models/restyle.py` has them: a file of the user's, .safetensors or .npz.

Names of the tensors are those of `yuval-alaluf/restyle-encoder`: "encoder." and "decoder." before those of the two
networks, and the mean style. docs/transfer.md has the table and how to convert. It is ReStyle with pSp's encoder for
faces, whose body is an IR-SE; that of other pictures is a ResNet. With e4e's encoder tensors have the same names and
shapes, but what the heads say is added otherwise: only whoever converts can tell the two apart.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from faceswap_jax.models import psp
from faceswap_jax.models.psp import EncoderConfig
from faceswap_jax.models.restyle import ReStyleConfig
from faceswap_jax.pretrained import stylegan2
from faceswap_jax.pretrained.layouts import Tensor, as_is, kernel, laid_out, transposed
from faceswap_jax.pretrained.stylegan2 import MEAN
from faceswap_jax.pretrained.tensor_files import State, check_format, float32, network_of, shape_of

ALIGNMENT = "ffhq"
"""How faces are cut that the public weights know."""

ENCODER = "encoder."
DECODER = "decoder."

_BLOCK = re.compile(r"encoder\.body\.(\d+)\.")

PAGE = "docs/transfer.md"


def read(path: Path) -> tuple[ReStyleConfig, PyTree]:
    """The networks that a file holds, their shapes told by its tensors.

    Returns:
        Their shape, and {"params", "statistics"} of the encoder with the "generator", float32 NumPy arrays.

    Raises:
        InputError: there is no such file, it is damaged, may be a pickle, or holds other networks.
    """
    check_format(path, "ReStyle", PAGE)
    remedy = f"{PAGE} has the names and shapes of its tensors"
    return network_of(path, "ReStyle", _converted, remedy)


def _converted(state: State) -> tuple[ReStyleConfig, PyTree]:
    """The tensors as our networks lay them out.

    Raises:
        ValueError: one is missing, has another shape, is not finite, or belongs to neither network; the first one.
    """
    state = float32(state)
    encoder = _encoder(state)
    made_by = _generator(state)
    if made_by.config.resolution < encoder.side:
        raise ValueError(
            f"its encoder reads pictures of {encoder.side} px, its decoder makes {made_by.config.resolution}"
        )
    encoder = replace(encoder, styles=made_by.config.layers, latent=made_by.config.latent)

    params, statistics = jax.eval_shape(partial(psp.init, encoder), jax.random.key(0))
    shapes = {"params": params, "statistics": statistics}
    weights = laid_out(state, encoder_tensors(encoder), shapes, ENCODER)
    if state:
        raise ValueError(f"the tensor '{min(state)}' belongs to no part of it")
    generator = {"params": made_by.params, "mean": made_by.mean}
    return ReStyleConfig(encoder, made_by.config), {**weights, "generator": generator}


def _encoder(state: State) -> EncoderConfig:
    """The shape of the encoder from those of its tensors, but for what its generator says."""
    stem = shape_of(state, f"{ENCODER}input_layer.0.weight", 4)[0]

    # A stage begins where the number of channels changes, the first with the first block.
    blocks, channels = [], []
    names = [_BLOCK.match(name) for name in state]
    numbers = {name[1] for name in names if name}
    for number in range(max(len(numbers), 1)):
        out = shape_of(state, f"{ENCODER}body.{number}.res_layer.1.weight", 4)[0]
        if channels[-1:] != [out]:
            blocks.append(0)
            channels.append(out)
        blocks[-1] += 1

    # Convolutions and rectifiers take turns in a head.
    shape_of(state, f"{ENCODER}styles.0.convs.0.weight", 4)
    halvings = 1
    while f"{ENCODER}styles.0.convs.{2 * halvings}.weight" in state:
        halvings += 1
    return EncoderConfig(
        side=2 ** (len(blocks) + halvings),
        blocks=tuple(blocks),
        channels=tuple(channels),
        stem=stem,
    )


def _generator(state: State) -> stylegan2.Weights:
    """The generator, whose tensors are taken out."""
    names = [name for name in state if name.startswith(DECODER)]
    if not names:
        raise ValueError(
            f"it has no tensors '{DECODER}*', the generator that its encoder was trained with"
        )
    decoder = {name.removeprefix(DECODER): state.pop(name) for name in names}
    decoder[MEAN] = _mean(state)
    try:
        return stylegan2.converted(decoder)
    except ValueError as error:
        raise ValueError(f"of its decoder {error}") from error


def _mean(state: State) -> np.ndarray:
    """The mean style [latent], which files have once or for each layer."""
    if MEAN not in state:
        raise ValueError(
            f"the tensor '{MEAN}' is missing, which checkpoints have beside their 'state_dict'"
        )
    mean = state.pop(MEAN)
    if mean.ndim != 2 or not len(mean):
        return mean
    if (mean != mean[0]).any():
        raise ValueError(f"the rows of '{MEAN}', a style for each layer, are not the same")
    return mean[0]


def encoder_tensors(config: EncoderConfig) -> Iterator[Tensor]:
    """The tensors of an encoder, in the order in which it computes; names without their prefix."""
    yield _param("input_layer.0.weight", "stem", "kernel", lay_out=kernel)
    yield from _norm("input_layer.1", "stem_norm")
    yield _param("input_layer.2.weight", "stem_slope", "slope")

    number, into = 0, config.stem
    for i, (blocks, channels) in enumerate(zip(config.blocks, config.channels, strict=True)):
        for j in range(blocks):
            yield from _block(f"body.{number}", f"block_{i}_{j}", projects=into != channels)
            number, into = number + 1, channels

    for k in range(config.styles):
        yield from _head(f"styles.{k}", f"style_{k}", config.halvings)


def _block(name: str, block: str, projects: bool) -> Iterator[Tensor]:
    if projects:
        yield _param(f"{name}.shortcut_layer.0.weight", block, "shortcut", "kernel", lay_out=kernel)
        yield from _norm(f"{name}.shortcut_layer.1", block, "shortcut_norm")
    name = f"{name}.res_layer"
    yield from _norm(f"{name}.0", block, "norm")
    yield _param(f"{name}.1.weight", block, "conv_1", "kernel", lay_out=kernel)
    yield _param(f"{name}.2.weight", block, "slope", "slope")
    yield _param(f"{name}.3.weight", block, "conv_2", "kernel", lay_out=kernel)
    yield from _norm(f"{name}.4", block, "conv_norm")
    yield _param(f"{name}.5.fc1.weight", block, "squeeze", "kernel", lay_out=kernel)
    yield _param(f"{name}.5.fc2.weight", block, "excite", "kernel", lay_out=kernel)


def _head(name: str, head: str, halvings: int) -> Iterator[Tensor]:
    for n in range(halvings):
        # Convolutions and rectifiers take turns.
        conv = f"{name}.convs.{2 * n}"
        yield _param(f"{conv}.weight", head, f"conv_{n}", "kernel", lay_out=kernel)
        yield _param(f"{conv}.bias", head, f"conv_{n}", "bias")
    yield _param(f"{name}.linear.weight", head, "styles", "kernel", lay_out=transposed)
    yield _param(f"{name}.linear.bias", head, "styles", "bias")


def _norm(name: str, *place: str) -> Iterator[Tensor]:
    """A batch normalisation, with its running statistics."""
    yield _param(f"{name}.weight", *place, "scale")
    yield _param(f"{name}.bias", *place, "bias")
    yield Tensor(f"{name}.running_mean", ("statistics", *place, "mean"), as_is)
    yield Tensor(f"{name}.running_var", ("statistics", *place, "var"), as_is)


def _param(name: str, *place: str, lay_out=as_is) -> Tensor:
    return Tensor(name, ("params", *place), lay_out)
