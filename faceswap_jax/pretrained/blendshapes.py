"""MediaPipe's networks of the blendshapes as `models/blendshapes.py` has them, for aligned crops of real faces.

Their weights are read from the file that `faces/blendshapes.py` runs by LiteRT (Apache-2.0, by Google's model cards).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Array, Float

from faceswap_jax.errors import InputError
from faceswap_jax.faces.blendshapes import NAMES, READ, networks
from faceswap_jax.models import blendshapes
from faceswap_jax.models.blendshapes import BlendshapesConfig

WINDOWS = {
    "eyes": BlendshapesConfig(x=0.5, y=0.55, width=1.05),
    "stable": BlendshapesConfig(x=0.5, y=0.51, width=1.17),
    "neutral": BlendshapesConfig(x=0.5, y=0.55, width=0.99),
    "ffhq": BlendshapesConfig(x=0.5, y=0.59, width=0.98),
    "box": BlendshapesConfig(x=0.5, y=0.44, width=1.21),
}
"""Where MediaPipe looks for a face, in crops of each alignment.

Means over six real people. MediaPipe's own window follows the mesh, and lies some hundredths of the side away: what is
read agrees with MediaPipe no less for that. experiments/benchmarks/blendshapes.py measures both.
"""

LENGTH = len(NAMES) - 1
"""Of the vectors."""

SPREAD = 0.16
"""Root mean square of the scores' standard deviations, over these people."""


def load_for(alignment: str) -> tuple[BlendshapesConfig, blendshapes.Params]:
    """Shape and weights for faces of `config.alignment`.

    Raises:
        InputError: LiteRT or the networks are not installed, or they are others.
    """
    return WINDOWS[alignment], read()


def vectors(
    config: BlendshapesConfig, params: blendshapes.Params, crops: Float[Array, "b h w 3"]
) -> Float[Array, "b 51"]:
    """Blendshapes of aligned square crops in [0, 1], without "neutral", which is always 0; of about variance 1.

    All are divided by one spread, for their unit is one: 0 at rest, 1 as far as a face goes. So squared errors count
    what is seen to move, and what hardly ever does, such as puffed cheeks, adds no noise.
    """
    return blendshapes.apply(config, params, crops)[:, 1:] / SPREAD


def read() -> blendshapes.Params:
    """Weights of both networks, float32 NumPy arrays.

    Raises:
        InputError: LiteRT or the networks are not installed, or they are others.
    """
    files = networks()
    return {
        "mesh": _mesh(files["face_landmarks_detector.tflite"]),
        "mixer": _mixer(files["face_blendshapes.tflite"]),
    }


def _mesh(file: bytes) -> dict:
    weights = _weights(file)
    params = {"stem": _conv(weights), "stem_slope": _slope(weights)}
    for i in range(len(blendshapes.STAGES)):
        if i > 0:
            params[f"halving_{i}"] = _block(weights)
        for j in range(blendshapes.BLOCKS):
            params[f"block_{i}_{j}"] = _block(weights)

    # Of three answers the last is the mesh: x, y and depth of each point. Of these few are read.
    *_, (kernel, bias) = weights
    kernel = kernel.reshape(len(bias) // 3, 3, -1)[READ, :2]
    bias = bias.reshape(-1, 3)[READ, :2]
    params["points"] = {"kernel": kernel.reshape(bias.size, -1).T, "bias": bias.reshape(-1)}
    return params


def _block(weights: Iterator) -> dict:
    return {
        "narrow": _conv(weights),
        "narrow_slope": _slope(weights),
        "spread": _depthwise(weights),
        "widen": _conv(weights),
        "slope": _slope(weights),
    }


def _mixer(file: bytes) -> dict:
    weights = _weights(file)
    params = {"tokens": _dense(weights), "channels": _dense(weights)}
    (answer,) = next(weights)
    params["answer"] = answer.reshape(-1)
    for i in range(blendshapes.MIXINGS):
        for mixed in ("token", "channel"):
            (scale,) = next(weights)
            params[f"{mixed}_norm_{i}"] = {"scale": scale}
            params[f"{mixed}_mlp_{i}"] = {"hidden": _dense(weights), "out": _dense(weights)}
    params["scores"] = _dense(weights)
    return params


# The next operator's weights, as Flax lays them out


def _conv(weights: Iterator) -> dict:
    kernel, bias = next(weights)
    return {"kernel": kernel.transpose(1, 2, 3, 0), "bias": bias}


def _depthwise(weights: Iterator) -> dict:
    kernel, bias = next(weights)
    return {"kernel": kernel[0], "bias": bias}


def _dense(weights: Iterator) -> dict:
    kernel, bias = next(weights)
    return {"kernel": kernel.reshape(len(bias), -1).T, "bias": bias}


def _slope(weights: Iterator) -> dict:
    (slope,) = next(weights)
    return {"slope": slope.reshape(-1)}


def _weights(file: bytes) -> Iterator[list[np.ndarray]]:
    """Of each operator that has any, its weights, in the order in which operators run. Scalars are none.

    Raises:
        InputError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError as error:
        raise InputError(
            "Reading blendshapes needs LiteRT, which is not installed: pip install 'faceswap-jax[faces]'."
        ) from error
    model = schema.ModelT.InitFromPackedBuf(file)
    (graph,) = model.subgraphs

    found = {}
    for number, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        is_weight = data is not None and tensor.type == schema.TensorType.FLOAT16
        # Scalars have no shape.
        if is_weight and tensor.shape is not None:
            found[number] = data.view(np.float16).reshape(tensor.shape).astype(np.float32)

    for operator in graph.operators:
        given = [found[number] for number in operator.inputs if number in found]
        if not given:
            continue
        # Each weight goes through an operator of its own, which makes it single precision.
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.DEQUANTIZE:
            found[operator.outputs[0]] = given[0]
        else:
            yield given
