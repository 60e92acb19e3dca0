"""VGG-Face's weights (Parkhi, Vedaldi and Zisserman, BMVC 2015), as `models/vgg.py` has them: a file of the user's.

| tensors | what they are |
|---|---|
| conv{b}_{i}.weight | of convolution i of block b, both counted from 1: [out, in, 3, 3], as PyTorch has it |
| conv{b}_{i}.bias | [out] |
| fc6.weight | [4096, 512 * 7 * 7] or [4096, 512, 7, 7]; tells the side of the images, 224 without it |

All others are ignored. So are named those of the `vgg_face_dag` that can be had for PyTorch, of configuration D. The
source's own is D; X2Face's is of configuration A, and was not released.

Images are RGB from 0 to 255, less `vgg.MEAN`, without a scale. Weights for Caffe expect BGR: turn round the second axis
of conv1_1.weight when you convert them.
"""

import math
from pathlib import Path

import jax
import numpy as np

from faceswap_jax.models import vgg
from faceswap_jax.pretrained.tensor_files import State, holds, network_of, take

FIRST = "conv1_1.weight"
"""Tells such a file from others."""

REDUCTION = 32  # five poolings


def is_vgg(path: Path) -> bool:
    """Whether a file can only hold such weights: an .npz, or a .safetensors with their names."""
    return path.suffix.lower() == ".npz" or holds(path, FIRST)


def read(path: Path) -> tuple[vgg.VGGConfig, vgg.Params]:
    """The network that a file holds, its shape told by its tensors; float32 NumPy arrays.

    Raises:
        InputError: there is no such file, it is damaged, or holds another network.
    """
    remedy = "give VGG-11 or VGG-16 with tensors named conv1_1.weight, conv1_1.bias and so on, as .safetensors or .npz"
    return network_of(path, "VGG-Face", _converted, remedy)


def _converted(state: State) -> tuple[vgg.VGGConfig, vgg.Params]:
    """The tensors as `models/vgg.py` lays them out.

    Raises:
        ValueError: one is missing, has another shape or is not finite, or there are too many or too few.
    """
    config = _config(state)
    params = {}
    into = 3
    for name, out in vgg.convolutions(config).items():
        kernel = take(state, f"{name}.weight", (out, into, 3, 3))
        bias = take(state, f"{name}.bias", (out,))
        params[name] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
        into = out
    return config, jax.tree.map(np.ascontiguousarray, params)


def _config(state: State) -> vgg.VGGConfig:
    """The shape of the network, from those of its tensors."""
    counts = []
    channels = []
    for block in range(1, 6):
        weights = [state[name] for name in state if _is_weight_of(name, block)]
        counts.append(len(weights))
        channels.append(len(weights[0]) if weights and weights[0].ndim else 0)
    found = [name for name, blocks in vgg.CONFIGURATIONS.items() if blocks == tuple(counts)]
    if not found:
        raise ValueError(f"its five blocks have {counts} convolutions")

    # The first fully connected layer reads what five poolings leave.
    side = vgg.VGGConfig.side
    if "fc6.weight" in state:
        read = state["fc6.weight"][0].size // max(channels[-1], 1)
        side = REDUCTION * math.isqrt(read)
    return vgg.VGGConfig(found[0], tuple(channels), side)


def _is_weight_of(name: str, block: int) -> bool:
    return name.startswith(f"conv{block}_") and name.endswith(".weight")
