"""LPIPS's weights (Zhang et al., CVPR 2018), as `models/lpips.py` has them: a file of the user's.

| tensors | what they are |
|---|---|
| net.slice{s}.{n}.weight, .bias | of module n of torchvision's `features`, a convolution: [out, in, k, k], [out] |
| lin{i}.model.1.weight | how much each channel of layer i counts: [1, channels, 1, 1] |

These are the names in the public package `lpips`. Where its weights can be had:

    import lpips, numpy
    weights = lpips.LPIPS(net="alex").state_dict()  # or "vgg"
    numpy.savez("lpips.npz", **{name: tensor.numpy() for name, tensor in weights.items()})

AlexNet and VGG-16 are told apart by their first kernel. All other tensors are ignored.
"""

import re
from pathlib import Path

import jax
import numpy as np

from faceswap_jax.models import lpips
from faceswap_jax.pretrained.tensor_files import State, holds, network_of, take

FIRST = "net.slice1.0.weight"
"""Tells such a file from others."""

_CONVOLUTION = re.compile(r"net\.slice\d+\.(\d+)\.weight")

_BY_KERNEL = {11: "alex", 3: "vgg"}
"""Networks by the side of their first kernel."""


def is_lpips(path: Path) -> bool:
    """Whether a file holds tensors with such names."""
    return holds(path, FIRST)


def read(path: Path) -> tuple[lpips.LPIPSConfig, lpips.Params]:
    """The network that a file holds, its shape told by its tensors; float32 NumPy arrays.

    Raises:
        InputError: there is no such file, it is damaged, or holds another network.
    """
    remedy = "give what faceswap_jax/pretrained/lpips.py says how to write"
    return network_of(path, "LPIPS", _converted, remedy)


def _converted(state: State) -> tuple[lpips.LPIPSConfig, lpips.Params]:
    """The tensors as `models/lpips.py` lays them out.

    Raises:
        ValueError: one is missing, has another shape or is not finite, or there are too many or too few.
    """
    config = _config(state)
    given = sorted(filter(_CONVOLUTION.fullmatch, state), key=_number)
    wanted = config.convolutions
    if len(given) != len(wanted):
        raise ValueError(f"it has {len(given)} convolutions, not {len(wanted)}")

    params = {}
    into = 3
    layers = 0
    for n, (name, conv) in enumerate(zip(given, wanted, strict=True)):
        kernel = take(state, name, (conv.channels, into, conv.kernel, conv.kernel))
        bias = take(state, name.replace("weight", "bias"), (conv.channels,))
        params[f"conv_{n}"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
        if conv.told:
            head = take(state, f"lin{layers}.model.1.weight", (1, conv.channels, 1, 1))
            params[f"head_{layers}"] = head.reshape(-1)
            layers += 1
        into = conv.channels
    return config, jax.tree.map(np.ascontiguousarray, params)


def _config(state: State) -> lpips.LPIPSConfig:
    """The shape of the network, from that of its first tensor."""
    if FIRST not in state:
        raise ValueError(f"the tensor '{FIRST}' is missing")
    shape = state[FIRST].shape
    network = _BY_KERNEL.get(shape[-1] if len(shape) == 4 else 0)
    if network is None:
        raise ValueError(f"the tensor '{FIRST}' has the shape {shape}")
    published = lpips.NETWORKS[network][0].channels
    return lpips.LPIPSConfig(network, shape[0] / published)


def _number(name: str) -> int:
    """Of a convolution among torchvision's modules."""
    return int(_CONVOLUTION.fullmatch(name).group(1))
