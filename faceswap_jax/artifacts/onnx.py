"""Programs as ONNX, by jax2onnx, for runtimes without JAX. The weights lie in the files."""

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jaxtyping import PyTree

from faceswap_jax.artifacts import archive
from faceswap_jax.artifacts.manifest import ONNX
from faceswap_jax.artifacts.programs import Program, abstract
from faceswap_jax.errors import InputError
from faceswap_jax.ops.platforms import portable

OPSET = 21

LEAST_CAST = 256
"""Values of a tensor from which on it is stored in half precision."""

LARGEST = 2**31 - 2**20
"""Bytes of a file; weights of larger ones lie in a file beside it."""

HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def write(
    folder: Path, programs: Mapping[str, Program], variables: PyTree, metadata: Mapping[str, str]
) -> dict:
    """Writes a file for each program; returns what is to be known of them.

    Args:
        folder: to write into.
        programs: by name.
        variables: weights as they are stored.
        metadata: for the files.

    Raises:
        InputError: what writes ONNX is not installed.
    """
    onnx, jax2onnx = _libraries()
    for name, program in programs.items():
        model = _converted(jax2onnx, name, program, archive.restored(variables))
        dtype = jax.tree.leaves(variables)[0].dtype.name
        if dtype in HALVES:
            _halve(onnx, model.graph, dtype)
        onnx.helper.set_model_props(model, dict(metadata))
        large = model.ByteSize() > LARGEST
        path = folder / f"{name}.{ONNX}"
        onnx.save(model, path, save_as_external_data=large, location=f"{path.name}.data")
        onnx.checker.check_model(path)
    return {"opset": OPSET, "ir": model.ir_version, "jax2onnx": version("jax2onnx")}


def _libraries():
    """Imported where needed: they are an extra, and slow to import."""
    try:
        import jax2onnx
        import onnx
    except ImportError as error:
        raise InputError(
            f"Writing ONNX needs {error.name}: pip install 'faceswap-jax[onnx]', or leave it out with --formats."
        ) from error
    return onnx, jax2onnx


def _converted(jax2onnx, name: str, program: Program, variables: PyTree):
    """The model of a program, with named inputs and outputs."""
    arrays = abstract(program)

    def function(*values):
        outputs = program.function(variables, dict(zip(arrays, values, strict=True)))
        return tuple(outputs[name] for name in program.outputs)

    # Traced here: jax2onnx has convolutions of its own for Flax's layers, which do not enlarge images as ours do.
    with portable():
        traced = jax.make_jaxpr(function)(*arrays.values())
    # It says of many shapes that nothing tells their type.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    return jax2onnx.to_onnx(
        jaxpr_as_fun(traced),
        list(arrays.values()),
        model_name=name,
        opset=OPSET,
        input_names=list(arrays),
        output_names=program.outputs,
    )


def _halve(onnx, graph, dtype: str) -> None:
    """Stores the large tensors in half precision where that changes none of their values."""
    halves = []
    casts = []
    kept = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        half = values.astype(HALVES[dtype]) if values.dtype == np.float32 else values
        if values.dtype != np.float32 or values.size < LEAST_CAST or (half != values).any():
            kept.append(tensor)
            continue
        name = f"{tensor.name}_{dtype}"
        halves.append(onnx.numpy_helper.from_array(half, name))
        casts.append(
            onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
        )

    del graph.initializer[:]
    graph.initializer.extend([*kept, *halves])
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
