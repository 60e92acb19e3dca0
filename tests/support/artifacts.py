"""Artifacts without a training: ONNX of a few operators, and the manifest that belongs to it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceswap_jax.artifacts.manifest import ONNX, Artifact, digests_of
from faceswap_jax.inference.described import Description

SIDE = 32


def mean_artifact(
    folder: Path, digest: str = "0123456789abcdef", brightness: float = 1.0
) -> Artifact:
    """An artifact whose images have the mean colour of the crop everywhere, times a brightness."""
    folder.mkdir()
    onnx.save(_encoder(), folder / f"encode.{ONNX}")
    onnx.save(_decoder(brightness), folder / f"decode.{ONNX}")
    description = Description(
        alignment="eyes",
        resolution=SIDE,
        placement="blended",
        inputs=["crops"],
        sound_window=1600,
        personas=["ada", "ben"],
        mixes=True,
        by_pictures=False,
        paintable=False,
        parts={"all": 3},
        step=7,
    )
    artifact = Artifact(
        made="2026-01-01T00:00:00+00:00",
        by={},
        task="autoencoder",
        digest=digest,
        precision="float32",
        description=description,
        formats={ONNX: {"opset": 21}},
        parity={},
        files=digests_of(folder),
    )
    artifact.save(folder)
    return artifact


def _encoder() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["crops"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["latents"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["b", SIDE, SIDE, 3])]
    outputs = [helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["b", 3])]
    return model_of(nodes, inputs, outputs, {"axes": np.array([1, 2])})


def _decoder(brightness: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceSum", ["weights"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "scale"], ["factor"]),
        helper.make_node("Mul", ["latents", "factor"], ["colours"]),
        helper.make_node("Unsqueeze", ["colours", "axes"], ["pixels"]),
        helper.make_node("Expand", ["pixels", "shape"], ["images"]),
    ]
    inputs = [
        helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["b", 3]),
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, [2]),
    ]
    outputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", SIDE, SIDE, 3])]
    constants = {
        "scale": np.float32(brightness / 255),
        "axes": np.array([1, 2]),
        "shape": np.array([1, SIDE, SIDE, 1]),
    }
    return model_of(nodes, inputs, outputs, constants)


def model_of(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    """A program of ONNX, with its constants by name."""
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "program", inputs, outputs, held)
    return helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_operatorsetid("", 21)]
    )
