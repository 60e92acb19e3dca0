"""The Open Inference Protocol, version 2, over REST: tensors in, tensors out, as JSON or as bytes behind it."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from faceswap_jax.inference.generator import Generator
from faceswap_jax.serving import tensors
from faceswap_jax.serving.refusal import BUSY, UNKNOWN, UNUSABLE, Refusal
from faceswap_jax.serving.service import Service
from faceswap_jax.serving.tensors import PERSONA, TEXT, Spec, Tensor

JSON_LENGTH = "inference-header-content-length"
"""Header: how many bytes of the body are JSON; tensors as bytes follow."""

MOST_DIGITS = 20
"""Of a length: Python reads none of more than some thousands."""

SIZE, BINARY = "binary_data_size", "binary_data"

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])


class TensorSent(BaseModel):
    """An input: its values in `data`, or its size in `parameters`."""

    name: str = Field(max_length=100)
    datatype: str = Field(max_length=100)
    shape: list[int] = Field(max_length=8)
    parameters: dict[str, Any] = {}
    data: list | None = None


class OutputWanted(BaseModel):
    """An output, and whether as bytes."""

    name: str = Field(max_length=100)
    parameters: dict[str, Any] = {}


class Wanted(BaseModel):
    """The JSON of a request."""

    id: str = Field("", max_length=100)
    inputs: list[TensorSent] = Field(max_length=8)
    outputs: list[OutputWanted] = Field([], max_length=1)
    parameters: dict[str, Any] = {}


@router.get("")
async def server() -> dict[str, Any]:
    """Which server this is."""
    found = version("faceswap-jax")
    return {"name": "faceswap", "version": found, "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Whether the server runs."""
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """Whether it takes requests: 503 while it drains."""
    if request.app.state.service.draining:
        raise Refusal(BUSY, "The server is about to stop.")
    return {"ready": True}


@router.get("/models/{model}")
@router.get("/models/{model}/versions/{version}")
async def model(request: Request, model: str, version: str | None = None) -> dict[str, Any]:
    """A model's tensors."""
    generator = generator_of(request.app.state.service, model, version)
    return {
        "name": model,
        "versions": [generator.version],
        "platform": "faceswap",
        "inputs": [vars(spec) for spec in tensors.inputs_of(generator)],
        "outputs": [vars(spec) for spec in tensors.outputs_of(generator)],
    }


@router.get("/models/{model}/ready")
@router.get("/models/{model}/versions/{version}/ready")
async def model_ready(request: Request, model: str, version: str | None = None) -> dict[str, Any]:
    """Whether a model takes requests: one that is there does."""
    generator_of(request.app.state.service, model, version)
    return {"name": model, "ready": True}


@router.post("/models/{model}/infer")
@router.post("/models/{model}/versions/{version}/infer")
async def infer(request: Request, model: str, version: str | None = None) -> Response:
    """Images of tensors."""
    service: Service = request.app.state.service
    generator = generator_of(service, model, version)
    body = await request.body()
    # Long lists of numbers take a while, in which others are answered.
    wanted, given = await asyncio.to_thread(
        _read_request, generator, body, request.headers.get(JSON_LENGTH)
    )
    images = await service.tensors(request.state.owner, model, given)
    told = {"model_name": model, "model_version": generator.version, "id": wanted.id}
    return _answer(told, images, _as_bytes(wanted))


def generator_of(service: Service, model: str, version: str | None) -> Generator:
    """The model of that name; raises Refusal if it is not served, or in another version."""
    generator = service.models[model].generator
    if version not in (None, generator.version):
        raise Refusal(UNKNOWN, f"{model} is served in version {generator.version}; ask for that.")
    return generator


def _read_request(
    generator: Generator, body: bytes, length: str | None
) -> tuple[Wanted, dict[str, Tensor | str]]:
    """A request, and all inputs of the model, checked."""
    wanted, rest = _split(body, length)
    return wanted, _tensors(generator, wanted.inputs, rest)


def _split(body: bytes, length: str | None) -> tuple[Wanted, bytes]:
    """The JSON of a request, and what follows."""
    end = len(body)
    if length is not None:
        end = int(length) if length.isdecimal() and len(length) < MOST_DIGITS else end + 1
        if end > len(body):
            raise Refusal(UNUSABLE, f"{JSON_LENGTH} is no length within the request.")
    try:
        return Wanted.model_validate_json(body[:end]), body[end:]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "The request"
        raise Refusal(UNUSABLE, f"{place}: {first['msg']}.") from error


def _tensors(
    generator: Generator, sent: Sequence[TensorSent], rest: bytes
) -> dict[str, Tensor | str]:
    """All inputs of a model, checked."""
    specs = tensors.all_given(tensors.inputs_of(generator), [tensor.name for tensor in sent])
    given: dict[str, Tensor | str] = {}
    for tensor, content in zip(sent, _contents(sent, rest), strict=True):
        spec = specs[tensor.name]
        spec.check(tensor.datatype, tensor.shape)
        given[spec.name] = _read(spec, tensor, content)
    return given


def _contents(sent: Sequence[TensorSent], rest: bytes) -> Iterator[bytes | None]:
    """The bytes of each tensor that is sent as bytes."""
    start = 0
    for tensor in sent:
        size = tensor.parameters.get(SIZE)
        if size is None:
            yield None
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest) - start:
            raise Refusal(UNUSABLE, f"The input {tensor.name} has fewer bytes than it says.")
        yield rest[start : start + size]
        start += size
    if start < len(rest):
        raise Refusal(UNUSABLE, "There are more bytes than the inputs say.")


def _read(spec: Spec, tensor: TensorSent, content: bytes | None) -> Tensor | str:
    """One input."""
    if spec.datatype == TEXT:
        # As bytes, a text has its length before it.
        texts = [content[4:].decode(errors="replace")] if content is not None else tensor.data
        if not isinstance(texts, list) or len(texts) != 1 or not isinstance(texts[0], str):
            raise Refusal(UNUSABLE, f"The input {PERSONA} must be one text.")
        return texts[0]
    if content is not None:
        return spec.from_bytes(tensor.shape, content)
    try:
        values = np.asarray(tensor.data, np.float64)
    except (TypeError, ValueError) as error:
        raise Refusal(UNUSABLE, f"The input {spec.name} must have numbers in rows.") from error
    # Numbers that are none, or too large, are refused below.
    with np.errstate(invalid="ignore", over="ignore"):
        fits = (values >= 0) & (values <= 255) & (values % 1 == 0)
        content = values.astype(tensors.TYPES[spec.datatype]).tobytes()
    if spec.datatype == "UINT8" and not fits.all():
        raise Refusal(UNUSABLE, f"The input {spec.name} must have whole numbers from 0 to 255.")
    return spec.from_bytes(tensor.shape, content)


def _as_bytes(wanted: Wanted) -> bool:
    """Whether the images are wanted as bytes."""
    default = wanted.parameters.get("binary_data_output", False)
    if not wanted.outputs:
        return bool(default)
    if wanted.outputs[0].name != tensors.IMAGES:
        raise Refusal(UNUSABLE, f"The only output is {tensors.IMAGES}; ask for that.")
    return bool(wanted.outputs[0].parameters.get(BINARY, default))


def _answer(told: Mapping[str, str], images: Tensor, as_bytes: bool) -> Response:
    """JSON with the images in it, or behind it."""
    output: dict[str, Any] = {"name": tensors.IMAGES, "datatype": "UINT8", "shape": images.shape}
    content = b""
    if as_bytes:
        content = images.tobytes()
        output["parameters"] = {SIZE: len(content)}
    else:
        output["data"] = images.ravel().tolist()
    head = json.dumps({**told, "outputs": [output]}).encode()
    if not as_bytes:
        return Response(head, media_type="application/json")
    headers = {JSON_LENGTH: str(len(head))}
    return Response(head + content, media_type="application/octet-stream", headers=headers)
