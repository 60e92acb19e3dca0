"""The Open Inference Protocol, version 2, over gRPC, and gRPC's own health service."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from faceswap_jax.inference.generator import Generator
from faceswap_jax.serving import inference_pb2 as pb
from faceswap_jax.serving import tensors
from faceswap_jax.serving.protocol import generator_of
from faceswap_jax.serving.refusal import (
    BUSY,
    NO_KEY,
    TOO_LARGE,
    TOO_MANY,
    UNKNOWN,
    UNUSABLE,
    Refusal,
)
from faceswap_jax.serving.service import Service
from faceswap_jax.serving.tensors import TEXT, Spec, Tensor

NAME = "inference.GRPCInferenceService"
PREFIX = 4
"""Bytes before a text that tell its length."""

HEADS = 1 << 16
"""Bytes of a message beside its tensors."""

CODES = {
    NO_KEY: grpc.StatusCode.UNAUTHENTICATED,
    UNKNOWN: grpc.StatusCode.NOT_FOUND,
    TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UNUSABLE: grpc.StatusCode.INVALID_ARGUMENT,
    TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    BUSY: grpc.StatusCode.UNAVAILABLE,
}
"""What gRPC says in the place of HTTP's statuses."""

Answer = Callable[[Any, str], Awaitable[Message]]


class Rpc:
    """A gRPC server of a service, in the event loop that starts it."""

    def __init__(self, service: Service, address: str):
        """Not started yet.

        Args:
            service: that does the work.
            address: host and port.
        """
        self._service = service
        limits = service.limits
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", limits.picture_bytes + HEADS),
            ],
            maximum_concurrent_rpcs=limits.uploads,
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        methods = {name: self._handler(name, answer) for name, answer in self._methods().items()}
        handlers = grpc.method_handlers_generic_handler(NAME, methods)
        self._server.add_generic_rpc_handlers((handlers,))
        self.port = self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Answers from now on."""
        await self._server.start()
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Tells that others should be asked."""
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Ends, when what is on its way is finished or after so many seconds."""
        await self._server.stop(grace)

    async def _tell(self, status: int) -> None:
        for name in ("", NAME):
            await self._health.set(name, status)

    def _methods(self) -> dict[str, Answer]:
        """What is answered, by the names of the protocol."""
        return {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }

    def _handler(self, name: str, answer: Answer) -> grpc.RpcMethodHandler:
        """A method that asks for a key, counts, and says what it refuses."""

        async def handle(content: bytes, call: grpc.aio.ServicerContext) -> Message:
            began = time.monotonic()
            status = "INTERNAL"
            metadata = dict(call.invocation_metadata())
            try:
                owner = self._service.keys.owner(metadata.get("authorization"))
                with self._service.traces.request(name, metadata):
                    found = await answer(_message(name, content), owner)
                status = "OK"
                return found
            except Refusal as refusal:
                code = CODES[refusal.status_code]
                status = code.name
                await call.abort(code, refusal.detail)
            finally:
                seconds = time.monotonic() - began
                self._service.metrics.answered("gRPC", name, status, seconds)

        write = getattr(pb, f"{name}Response").SerializeToString
        return grpc.unary_unary_rpc_method_handler(handle, response_serializer=write)

    async def _live(self, request: Message, owner: str) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: Message, owner: str) -> Message:
        return pb.ServerReadyResponse(ready=not self._service.draining)

    async def _metadata(self, request: Message, owner: str) -> Message:
        return pb.ServerMetadataResponse(name="faceswap", version=version("faceswap-jax"))

    async def _model_ready(self, request: Message, owner: str) -> Message:
        generator_of(self._service, request.name, request.version or None)
        return pb.ModelReadyResponse(ready=True)

    async def _model_metadata(self, request: Message, owner: str) -> Message:
        generator = generator_of(self._service, request.name, request.version or None)
        told = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[generator.version],
            platform="faceswap",
            inputs=[told(**vars(spec)) for spec in tensors.inputs_of(generator)],
            outputs=[told(**vars(spec)) for spec in tensors.outputs_of(generator)],
        )

    async def _infer(self, request: Message, owner: str) -> Message:
        service = self._service
        if service.draining:
            raise Refusal(BUSY, "The server is about to stop; ask another one.")
        generator = generator_of(service, request.model_name, request.model_version or None)
        with service.uploads.place(owner):
            given = await asyncio.to_thread(_tensors, generator, request)
            images = await service.tensors(owner, request.model_name, given)
        told = pb.ModelInferResponse.InferOutputTensor
        output = told(name=tensors.IMAGES, datatype="UINT8", shape=images.shape)
        return pb.ModelInferResponse(
            model_name=request.model_name,
            model_version=generator.version,
            id=request.id,
            outputs=[output],
            raw_output_contents=[images.tobytes()],
        )


def _message(name: str, content: bytes) -> Message:
    """What a method is asked. Here and not by gRPC, which would call a wrong one the server's own failure."""
    kind = getattr(pb, f"{name}Request")
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise Refusal(UNUSABLE, f"What was sent is no {name}Request.") from error


def _tensors(generator: Generator, request: Message) -> dict[str, Tensor | str]:
    """All inputs of a model, checked; raises Refusal."""
    specs = tensors.all_given(tensors.inputs_of(generator), [sent.name for sent in request.inputs])
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refusal(UNUSABLE, "Send raw_input_contents for all inputs, or for none.")

    given: dict[str, Tensor | str] = {}
    for number, sent in enumerate(request.inputs):
        spec = specs[sent.name]
        spec.check(sent.datatype, sent.shape)
        given[spec.name] = _read(spec, sent, raw[number] if raw else None)
    return given


def _read(spec: Spec, sent: Message, raw: bytes | None) -> Tensor | str:
    """One input, from its bytes or its values."""
    if spec.datatype == TEXT:
        texts = sent.contents.bytes_contents if raw is None else _texts(raw)
        if len(texts) != 1:
            raise Refusal(UNUSABLE, f"The input {spec.name} must be one text.")
        return texts[0].decode(errors="replace")
    if raw is None:
        values = sent.contents.fp32_contents
        if spec.datatype == "UINT8":
            values = sent.contents.uint_contents
        if spec.datatype == "UINT8" and max(values, default=0) > 255:
            raise Refusal(UNUSABLE, f"The input {spec.name} must have numbers from 0 to 255.")
        raw = np.array(values, tensors.TYPES[spec.datatype]).tobytes()
    return spec.from_bytes(sent.shape, raw)


def _texts(raw: bytes) -> list[bytes]:
    """The text of which raw bytes are made, behind its length; none if that is another one."""
    length, text = raw[:PREFIX], raw[PREFIX:]
    return [text] if length == len(text).to_bytes(PREFIX, "little") else []
