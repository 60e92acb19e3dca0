"""Tensors over gRPC."""

import asyncio

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from experiments.benchmarks import hostile
from faceswap_jax.serving import inference_pb2 as pb
from faceswap_jax.serving.keys import Keys, _digest
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.rpc import HEADS, NAME, Rpc
from faceswap_jax.serving.service import Service
from tests.support.generators import KnowsPersonas

SIDE = 32
LIMITS = Limits(picture_seconds=600)
KEY = (("authorization", "Bearer " + "k" * 32),)


def asked(tmp_path, *calls, keys=None, limits=LIMITS):
    """What a server answers to calls: replies, or codes and sentences of refusals."""

    async def run():
        models = {"swaps": KnowsPersonas(np.invert, SIDE)}
        service = Service(models, tmp_path, limits, keys)
        rpc = Rpc(service, "127.0.0.1:0")
        await rpc.start()
        answers = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}") as channel:
            for call in calls:
                try:
                    answers.append(await call(channel, rpc))
                except grpc.aio.AioRpcError as error:
                    answers.append((error.code().name, error.details()))
        await rpc.stop(0)
        await asyncio.to_thread(service.close)
        return answers

    return asyncio.run(run())


def method(name, request, metadata=()):
    """A call of the protocol."""
    reads = getattr(pb, f"{name}Response").FromString
    writes = type(request).SerializeToString

    def call(channel, rpc):
        return channel.unary_unary(f"/{NAME}/{name}", writes, reads)(request, metadata=metadata)

    return call


def infer(crops, raw=True, **changes):
    tensor = pb.ModelInferRequest.InferInputTensor
    inputs = [
        tensor(name="crops", datatype="UINT8", shape=crops.shape),
        tensor(name="persona", datatype="BYTES", shape=[1]),
    ]
    fields = {"model_name": "swaps", "id": "7", "inputs": inputs} | changes
    if raw:
        fields["raw_input_contents"] = [crops.tobytes(), b"\x03\x00\x00\x00ada"]
    else:
        inputs[0].contents.uint_contents.extend(crops.ravel().tolist())
        inputs[1].contents.bytes_contents.append(b"ada")
    return pb.ModelInferRequest(**fields)


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


def test_tensors(tmp_path, crops):
    calls = [method("ModelInfer", infer(crops, raw)) for raw in (True, False)]
    for answer in asked(tmp_path, *calls):
        (output,), (content,) = answer.outputs, answer.raw_output_contents
        assert (answer.id, answer.model_version, output.name) == ("7", "0123456789abcdef", "images")
        found = np.frombuffer(content, np.uint8).reshape(output.shape)
        np.testing.assert_array_equal(found, 255 - crops)


def test_what_it_says_of_itself_and_its_health(tmp_path):
    def health(channel, rpc):
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    async def drained(channel, rpc):
        await rpc.drain()
        return await health(channel, rpc)

    metadata = method("ModelMetadata", pb.ModelMetadataRequest(name="swaps"))
    ready = method("ServerReady", pb.ServerReadyRequest())
    told, is_ready, serving, draining = asked(tmp_path, metadata, ready, health, drained)
    assert [(t.name, list(t.shape)) for t in told.inputs] == [
        ("crops", [-1, SIDE, SIDE, 3]),
        ("persona", [1]),
    ]
    assert is_ready.ready
    assert (serving.status, draining.status) == (1, 2)  # SERVING, NOT_SERVING


def test_what_is_refused(tmp_path, crops):
    calls = {
        "INVALID_ARGUMENT": infer(crops[..., :1]),
        "NOT_FOUND": infer(crops, model_name="nobody"),
        "RESOURCE_EXHAUSTED": infer(np.zeros((65, SIDE, SIDE, 3), np.uint8)),
    }
    answers = asked(tmp_path, *(method("ModelInfer", request) for request in calls.values()))
    assert [code for code, _ in answers] == list(calls)
    assert all(sentence.endswith(".") for _, sentence in answers)

    keys = Keys({_digest("k" * 32): "ada"})
    request = infer(crops)
    calls = [method("ModelInfer", request, metadata) for metadata in ((), KEY)]
    refused, answered = asked(tmp_path, *calls, keys=keys)
    assert refused[0] == "UNAUTHENTICATED" and answered.model_name == "swaps"


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_hostile_messages(tmp_path, crops, compression):
    """Each is refused as the client's mistake; what is too much is not even inflated."""
    limits = Limits(picture_bytes=100_000)
    found = hostile.messages(infer(crops[:1]), limits.picture_bytes + HEADS)

    def sent(content):
        def call(channel, rpc):
            return channel.unary_unary(f"/{NAME}/ModelInfer")(content, compression=compression)

        return call

    for kind, contents in found.items():
        calls = [sent(content) for content in contents]
        for answer in asked(tmp_path, *calls, limits=limits):
            assert isinstance(answer, tuple), kind
            code, sentence = answer
            wanted = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}
            assert code in wanted and len(sentence) < 300, (kind, answer)
    # Honest people are answered.
    (answer,) = asked(tmp_path, method("ModelInfer", infer(crops[:1])))
    assert answer.model_name == "swaps"
