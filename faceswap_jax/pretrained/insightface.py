"""Face networks published by InsightFace, as `models/iresnet.py` has them: files of safetensors and of ONNX.

Both are read into the tensors that `arcface_torch` names, "layer1.0.conv1.weight" and so on, then laid out anew.
Pickles, which can run any code, are refused. InsightFace licenses its weights for non-commercial research only.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from faceswap_jax.errors import InputError
from faceswap_jax.models import iresnet
from faceswap_jax.pretrained.tensor_files import PICKLES, State, float32, read_safetensors, take

# Names in arcface_torch of this package's modules, of those in a block, and of leaves
_MODULES = {
    "stem": "conv1",
    "stem_norm": "bn1",
    "stem_slope": "prelu",
    "norm": "bn2",
    "embed": "fc",
    "embed_norm": "features",
}
_OF_BLOCK = {
    "norm_0": "bn1",
    "conv_1": "conv1",
    "norm_1": "bn2",
    "slope": "prelu",
    "conv_2": "conv2",
    "norm_2": "bn3",
    "shortcut": "downsample.0",
    "shortcut_norm": "downsample.1",
}
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "slope": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

# From PyTorch's axes of a tensor to Flax's, by their number
_ORDERS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}

# Attributes of an ONNX convolution that are not written down
_CONV_DEFAULTS = {
    "strides": [1, 1],
    "pads": [0] * 4,
    "dilations": [1, 1],
    "group": 1,
    "auto_pad": b"NOTSET",
}


def read(path: Path) -> tuple[iresnet.IResNetConfig, iresnet.Params, iresnet.Statistics]:
    """The network that a file holds, its shape told by its tensors; float32 NumPy arrays.

    Args:
        path: .safetensors with PyTorch's names of the tensors, or .onnx, in which batch normalisations may have been
            folded into convolutions, as in w600k_r50.onnx.

    Raises:
        InputError: there is no such file, it is damaged, holds another network, or is a pickle; or the library that
            reads it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise InputError(
            f"'{path}' may be a pickle, which can run any code; give the network as .onnx, or convert it where you "
            "trust it: safetensors.torch.save_file(torch.load(path, weights_only=True), 'network.safetensors')."
        )
    if suffix not in _READERS:
        raise InputError(
            f"'{path}' holds no face network; give a file that ends in {' or '.join(_READERS)}."
        )
    if not path.is_file():
        raise InputError(f"There is no file '{path}'; give the weights of a face network.")
    try:
        return _converted(_READERS[suffix](path))
    except ImportError as error:
        raise InputError(
            f"'{path}' needs {error.name} to be read: pip install 'faceswap-jax[insightface]'."
        ) from error
    except ValueError as error:
        raise InputError(
            f"'{path}' is not an IResNet that can be used ({' '.join(str(error).split())}); "
            "give one such as InsightFace's w600k_r50.onnx."
        ) from error


def _read_onnx(path: Path) -> State:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        return _Graph(model.graph).state()
    except (DecodeError, onnx.checker.ValidationError, OSError, KeyError, TypeError) as error:
        raise ValueError(f"reading fails: {error}") from error


_READERS = {".onnx": _read_onnx, ".safetensors": read_safetensors}


class _Graph:
    """An ONNX graph, walked from its input to the embeddings. Its names say nothing: only the operators count.

    Methods that take a tensor's name read what follows it, keep the weights and return the name of the result.

    Raises:
        ValueError: it is no IResNet.
    """

    def __init__(self, graph):
        from onnx import numpy_helper

        self._state: State = {}
        self._constants = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }

        # Nodes by the tensors that they read; those that change nothing are left out.
        self._users = defaultdict(list)
        alias = {}
        for node in graph.node:
            inputs = [alias.get(name, name) for name in node.input]
            if node.op_type in ("Identity", "Dropout"):
                alias[node.output[0]] = inputs[0]
                continue
            del node.input[:]
            node.input.extend(inputs)
            for name in dict.fromkeys(inputs):
                self._users[name].append(node)
        self._inputs = [value.name for value in graph.input if value.name not in self._constants]

    def state(self) -> State:
        """The network's tensors by the names that `arcface_torch` gives them."""
        if len(self._inputs) != 1:
            raise ValueError(f"it has {len(self._inputs)} inputs, not one")
        x = self._conv_norm(self._inputs[0], "conv1", "bn1")
        x = self._prelu(x, "prelu")

        stage = 0
        block = -1
        # What a block begins with is read twice: by its first normalisation and by the shortcut.
        while len(self._users[x]) == 2:
            begins_stage = any(node.op_type == "Conv" for node in self._users[x])
            if begins_stage:
                stage += 1
                block = -1
            block += 1
            x = self._block(x, f"layer{stage}.{block}.", begins_stage)

        x = self._norm(x, "bn2")
        x = self._user(x, "Flatten").output[0]
        x = self._gemm(x)
        if self._users[x]:
            self._norm(x, "features")
        else:
            # Folded into the fully connected layer
            self._shift("features", np.zeros_like(self._state["fc.bias"]))
        return self._state

    def _block(self, x: str, name: str, begins_stage: bool) -> str:
        """A residual block. The first of a stage halves the side, and convolves its shortcut."""
        strides = 2 if begins_stage else 1
        h = self._norm(x, f"{name}bn1")
        h = self._conv_norm(h, f"{name}conv1", f"{name}bn2")
        h = self._prelu(h, f"{name}prelu")
        h = self._conv_norm(h, f"{name}conv2", f"{name}bn3", strides)
        if begins_stage:
            x = self._conv_norm(x, f"{name}downsample.0", f"{name}downsample.1", strides)

        add = self._user(h, "Add")
        if set(add.input) != {h, x}:
            raise ValueError(
                f"a block adds '{', '.join(add.input)}', not its input and its convolutions"
            )
        return add.output[0]

    def _user(self, tensor: str, operator: str):
        """The only node of this operator that reads a tensor."""
        found = [node for node in self._users[tensor] if node.op_type == operator]
        if len(found) != 1:
            others = ", ".join(node.op_type for node in self._users[tensor]) or "nothing"
            raise ValueError(f"'{tensor}' is followed by {others} where {operator} is expected")
        return found[0]

    def _constant(self, name: str) -> np.ndarray:
        if name not in self._constants:
            raise ValueError(f"the tensor '{name}' is missing")
        return self._constants[name]

    def _conv_norm(self, x: str, conv: str, norm: str, strides: int = 1) -> str:
        """A convolution and its batch normalisation, which may have become the convolution's bias."""
        node = self._user(x, "Conv")
        weight, *bias = (self._constant(name) for name in node.input[1:])
        padding = weight.shape[-1] // 2
        wanted = _CONV_DEFAULTS | {"strides": [strides] * 2, "pads": [padding] * 4}
        for name, value in (_CONV_DEFAULTS | _attributes(node)).items():
            if name != "kernel_shape" and value != wanted[name]:
                raise ValueError(f"the convolution '{conv}' has {name} {value}, not {wanted[name]}")

        self._state[f"{conv}.weight"] = weight
        shift = bias[0] if bias else np.zeros(len(weight), np.float32)
        y = node.output[0]

        # A normalisation behind it, or folded into it
        if [user.op_type for user in self._users[y]] != ["BatchNormalization"]:
            self._shift(norm, shift)
            return y
        y = self._norm(y, norm)
        # A bias before the normalisation is a mean that is so much less.
        self._state[f"{norm}.running_mean"] = self._state[f"{norm}.running_mean"] - shift
        return y

    def _norm(self, x: str, name: str) -> str:
        node = self._user(x, "BatchNormalization")
        weight, bias, mean, variance = (self._constant(tensor) for tensor in node.input[1:])
        # The network adds its own epsilon to the variance.
        epsilon = _attributes(node).get("epsilon", 1e-5)
        variance = variance + (epsilon - iresnet.EPSILON)
        self._keep_norm(name, weight, bias, mean, variance)
        return node.output[0]

    def _shift(self, name: str, shift: np.ndarray) -> None:
        """A batch normalisation that only shifts."""
        ones = np.ones_like(shift)
        zeros = np.zeros_like(shift)
        # The network adds its epsilon to the variance: 1 in all.
        self._keep_norm(name, ones, shift, zeros, ones - iresnet.EPSILON)

    def _keep_norm(self, name: str, weight, bias, mean, variance) -> None:
        self._state[f"{name}.weight"] = weight
        self._state[f"{name}.bias"] = bias
        self._state[f"{name}.running_mean"] = mean
        self._state[f"{name}.running_var"] = variance

    def _prelu(self, x: str, name: str) -> str:
        node = self._user(x, "PRelu")
        self._state[f"{name}.weight"] = self._constant(node.input[1]).reshape(-1)
        return node.output[0]

    def _gemm(self, x: str) -> str:
        node = self._user(x, "Gemm")
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | _attributes(node)
        scales = (attributes["alpha"], attributes["beta"]) != (1.0, 1.0)
        if scales or attributes["transA"]:
            raise ValueError("its fully connected layer scales or transposes")
        weight, bias = (self._constant(name) for name in node.input[1:])
        self._state["fc.weight"] = weight if attributes["transB"] else weight.T
        self._state["fc.bias"] = bias
        return node.output[0]


def _attributes(node) -> dict:
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def _converted(state: State) -> tuple[iresnet.IResNetConfig, iresnet.Params, iresnet.Statistics]:
    """The tensors as `models/iresnet.py` lays them out.

    Raises:
        ValueError: one is missing, has another shape, is not finite, or belongs to no IResNet.
    """
    state = float32(state)
    config = _config(state)

    def leaf(path, abstract):
        order = _ORDERS[len(abstract.shape)]
        shape = tuple(abstract.shape[i] for i in np.argsort(order))
        # The path begins with the number of params or statistics.
        name = _name([key.key for key in path[1:]])
        tensor = take(state, name, shape)
        return np.ascontiguousarray(tensor.transpose(order))

    params, statistics = jax.tree_util.tree_map_with_path(leaf, _abstract(config))
    # This network has no scale at the end, for it is trained with one of 1. Any other goes to the layer before.
    scale = take(state, "features.weight", (config.embedding,))
    params["embed"] = {name: weights * scale for name, weights in params["embed"].items()}
    norm = statistics["embed_norm"]
    norm["mean"] = norm["mean"] * scale
    if state:
        raise ValueError(f"no IResNet has the tensor '{min(state)}'")
    return config, params, statistics


def _config(state: Mapping[str, np.ndarray]) -> iresnet.IResNetConfig:
    """The shape of the network, from those of its tensors."""

    def shape(name):
        if name not in state or state[name].ndim < 2:
            raise ValueError(f"the tensor '{name}' is missing, or no matrix")
        return state[name].shape

    # Of each stage; stages count from 1, blocks from 0
    last_block = {1: 0}
    for name in state:
        match = re.fullmatch(r"layer(\d+)\.(\d+)\.conv1\.weight", name)
        if match:
            stage, block = map(int, match.groups())
            last_block[stage] = max(last_block.get(stage, 0), block)
    stages = range(1, max(last_block) + 1)
    channels = tuple(shape(f"layer{stage}.0.conv1.weight")[0] for stage in stages)

    # The fully connected layer reads a square of the last channels.
    embedding, inputs, *_ = shape("fc.weight")
    last_side = math.isqrt(inputs // channels[-1])
    return iresnet.IResNetConfig(
        blocks=tuple(1 + last_block.get(stage, 0) for stage in stages),
        channels=channels,
        stem=shape("conv1.weight")[0],
        embedding=embedding,
        side=last_side * 2 ** len(stages),
    )


def _abstract(config: iresnet.IResNetConfig) -> PyTree:
    return jax.eval_shape(lambda key: iresnet.init(config, key), jax.random.key(0))


def _name(path: list[str]) -> str:
    """The name that `arcface_torch` gives a leaf."""
    module, *inner, leaf = path
    if module.startswith("block_"):
        _, stage, block = module.split("_")
        part = inner[0] if inner else leaf
        return f"layer{int(stage) + 1}.{block}.{_OF_BLOCK[part]}.{_LEAVES[leaf]}"
    return f"{_MODULES[module]}.{_LEAVES[leaf]}"
