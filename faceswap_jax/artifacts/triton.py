"""The verb `triton`: artifacts as a model repository of NVIDIA's Triton Inference Server.

    NAME-encode/1/model.onnx    a program of the artifact NAME
    NAME-encode/config.pbtxt    its inputs and outputs, and whether requests for it go into batches

This file imports no JAX.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from faceswap_jax.artifacts.manifest import ONNX, Artifact
from faceswap_jax.artifacts.runtime import session
from faceswap_jax.errors import InputError
from faceswap_jax.files import new_folder

BATCH = 8
"""Faces that Triton lets through a program together, at most."""

LINGER = 4000
"""Microseconds that a batch waits for more faces."""

TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
"""Triton's names of what onnxruntime calls a type."""


class Tensor(NamedTuple):
    """An input or an output; an axis whose length is free has a name in place of it."""

    name: str
    type: str
    shape: Sequence[int | str]


def write_repository(artifacts: Mapping[str, Path], output: Path) -> None:
    """Writes a model repository.

    Args:
        artifacts: folders by the names of the models.
        output: folder to write; not there yet.

    Raises:
        InputError: an artifact cannot be used, or has no ONNX. Nothing is written then.
    """
    with new_folder(output) as repository:
        for name, folder in artifacts.items():
            _write(repository, name, folder)
        models = sorted(path.name for path in repository.iterdir())
    print(f"{output}: {', '.join(models)}", file=sys.stderr)


def _write(repository: Path, name: str, folder: Path) -> None:
    """Writes the programs of one artifact."""
    artifact = Artifact.load(folder)
    if ONNX not in artifact.formats:
        raise InputError(
            f"'{folder}' has no {ONNX}; export the run with {ONNX} among its --formats."
        )
    artifact.check(folder, artifact.files_of(ONNX))
    for program in artifact.programs():
        model = repository / f"{name}-{program}"
        version = model / "1"
        version.mkdir(parents=True)
        shutil.copyfile(folder / f"{program}.{ONNX}", version / "model.onnx")
        # Large weights lie beside the file, which names them.
        for weights in folder.glob(f"{program}.{ONNX}.*"):
            shutil.copyfile(weights, version / weights.name)

        opened = session(version / "model.onnx")
        inputs = [Tensor(t.name, t.type, t.shape) for t in opened.get_inputs()]
        outputs = [Tensor(t.name, t.type, t.shape) for t in opened.get_outputs()]
        text = config(model.name, inputs, outputs, _told(artifact))
        (model / "config.pbtxt").write_text(text, encoding="utf-8")


def _told(artifact: Artifact) -> dict[str, str]:
    """What a client has to know to cut faces, and to give weights to personas."""
    described = artifact.description
    return {
        "alignment": described.alignment,
        "personas": json.dumps(list(described.personas)),
        "digest": artifact.digest,
    }


def config(
    name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], told: Mapping[str, str]
) -> str:
    """The configuration of a model, in protobuf's text format.

    Args:
        name: of the model.
        inputs: of its program.
        outputs: of its program.
        told: for clients, who can ask for it.
    """
    batched = _is_batched([*inputs, *outputs])
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {BATCH if batched else 0}",
        *(line for tensor in inputs for line in _block("input", tensor, batched)),
        *(line for tensor in outputs for line in _block("output", tensor, batched)),
    ]
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {LINGER} }}")
    for key, value in told.items():
        # JSON in ASCII is a string of protobuf's, too.
        text = f'key: "{key}" value {{ string_value: {json.dumps(value)} }}'
        lines.append(f"parameters {{ {text} }}")
    return "\n".join(lines) + "\n"


def _is_batched(tensors: Sequence[Tensor]) -> bool:
    """Whether rows of requests may be put together: the first axis of all is free, and the same.

    Who is shown has no such axis, unless features are lent to each face: it is the same for all faces of a call, so
    calls cannot be joined.
    """
    first = {tensor.shape[0] for tensor in tensors}
    return len(first) == 1 and isinstance(first.pop(), str)


def _block(kind: str, tensor: Tensor, batched: bool) -> list[str]:
    """An input or output; Triton adds the axis of batches itself."""
    shape = tensor.shape[1:] if batched else tensor.shape
    lengths = ", ".join("-1" if isinstance(length, str) else str(length) for length in shape)
    return [
        f"{kind} {{",
        f"  name: {json.dumps(tensor.name)}",
        f"  data_type: {TYPES[tensor.type]}",
        f"  dims: [ {lengths} ]",
        "}",
    ]
