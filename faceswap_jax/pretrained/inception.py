"""Inception's weights for FID, as `models/inception.py` has them: a file of the user's.

| tensors | what they are |
|---|---|
| {module}.conv.weight | of a convolution: [out, in, h, w] |
| {module}.bn.weight, .bias, .running_mean, .running_var | of the batch normalisation behind it, [out] |

Modules have PyTorch's names, "Conv2d_1a_3x3", "Mixed_5b.branch1x1" and so on, as in `pt_inception-2015-12-05`, the
weights of the first FID for PyTorch. Where they can be had:

    import numpy, torch
    weights = torch.load("pt_inception-2015-12-05-6726825d.pth", weights_only=True)
    numpy.savez("inception.npz", **{name: tensor.numpy() for name, tensor in weights.items()})

All other tensors are ignored.
"""

from pathlib import Path

import numpy as np

from faceswap_jax.models import inception
from faceswap_jax.pretrained.tensor_files import State, holds, network_of, take

FIRST = "Conv2d_1a_3x3.conv.weight"
"""Tells such a file from others."""

EPSILON = 1e-3  # of the batch normalisations


def is_inception(path: Path) -> bool:
    """Whether a file holds tensors with such names."""
    return holds(path, FIRST)


def read(path: Path) -> tuple[inception.InceptionConfig, inception.Params]:
    """The network that a file holds; float32 NumPy arrays.

    Raises:
        InputError: there is no such file, it is damaged, or holds another network.
    """
    remedy = "give what faceswap_jax/pretrained/inception.py says how to write"
    return network_of(path, "Inception", _converted, remedy)


def _converted(state: State) -> tuple[inception.InceptionConfig, inception.Params]:
    """The tensors as `models/inception.py` lays them out.

    Raises:
        ValueError: one is missing, has another shape or is not finite.
    """
    if FIRST not in state:
        raise ValueError(f"the tensor '{FIRST}' is missing")
    published = inception.STEMS[0].conv.channels
    config = inception.InceptionConfig(width=len(state[FIRST]) / published)
    params = {}
    for name, (height, width, into, out) in inception.convolutions(config):
        kernel = take(state, f"{name}.conv.weight", (out, into, height, width))
        norm = {}
        for part in ("weight", "bias", "running_mean", "running_var"):
            norm[part] = take(state, f"{name}.bn.{part}", (out,))

        # The normalisation becomes a part of the convolution.
        scale = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
        params[name] = {
            "kernel": np.ascontiguousarray(kernel.transpose(2, 3, 1, 0) * scale),
            "bias": norm["bias"] - scale * norm["running_mean"],
        }
    return config, params
