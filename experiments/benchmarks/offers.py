"""What the benchmark of the server sends: one face, by every way in."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import grpc
import numpy as np

from data_pipelines.puppets.clips import write_clip
from experiments.benchmarks.asking import BINARY, JSON, LENGTH, Answer, Line, form, request, told
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.serving import inference_pb2 as pb
from faceswap_jax.serving.rpc import NAME as SERVICE

SIZE, FRAMES = 160, 10
"""Of the clip that is sent."""

MODEL = "demo"
"""Name of the model."""

PICTURES, CLIPS = f"/models/{MODEL}/pictures", f"/models/{MODEL}/clips"
INFER = f"/v2/models/{MODEL}/infer"

Ask = Callable[[], Awaitable[Answer]]


class Sent(NamedTuple):
    """What clients send.

    Attributes:
        persona: whom they want to see.
        picture: PNG of a performer.
        landmarks: of it, as CSV.
        clips: of the performer, by suffix.
        inputs: tensors of a face by name, of the model's shapes.
        specs: what the model says of its tensors.
    """

    persona: str
    picture: bytes
    landmarks: bytes
    clips: Mapping[str, bytes]
    inputs: Mapping[str, np.ndarray]
    specs: Sequence[Mapping]


def sent_to(port: int, scratch: Path) -> Sent:
    """Requests that fit the model."""
    source = scratch / "ben.mp4"
    write_clip(source, 0, 1, 0, FRAMES, SIZE, 12.5)
    frames = [frame.image for frame in video.read_frames(source)]
    picture = cv2.imencode(".png", frames[0][..., ::-1])[1].tobytes()
    rows = sidecar_path(source).read_text().splitlines()
    clips = {suffix: _encoded(frames, suffix) for suffix in (".mov", ".mkv", ".avi")}

    described = asyncio.run(told(port, f"/v2/models/{MODEL}"))
    (model,) = asyncio.run(told(port, "/models"))
    side = model["resolution"]
    face = cv2.resize(frames[0], (side, side), interpolation=cv2.INTER_AREA)
    points = np.array(rows[1].split(",")[-136:], np.float32).reshape(68, 2)
    known = {"crops": face, "landmarks": points * np.float32(side / SIZE), "pose": np.zeros(3)}
    return Sent(
        model["personas"][0],
        picture,
        "\n".join(rows[:2]).encode(),
        {".mp4": source.read_bytes(), **clips},
        {spec["name"]: known[spec["name"]] for spec in described["inputs"][:-1]},
        described["inputs"],
    )


def _encoded(frames: Sequence[np.ndarray], suffix: str) -> bytes:
    file = io.BytesIO()
    kind = {".mov": "mov", ".mkv": "matroska", ".avi": "avi"}[suffix]
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width = stream.height = SIZE
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return file.getvalue()


# How clients ask


def as_json(sent: Sent) -> bytes:
    """Tensors as JSON."""
    inputs = []
    for spec in sent.specs:
        array = sent.inputs.get(spec["name"])
        data = [sent.persona] if array is None else array.ravel().tolist()
        shape = [1] if array is None else [1, *array.shape]
        inputs.append({**spec, "shape": shape, "data": data})
    return request(INFER, _text({"inputs": inputs}), JSON)


def as_bytes(sent: Sent) -> bytes:
    """Tensors as bytes behind the JSON."""
    inputs, content = [], b""
    for spec in sent.specs:
        array = sent.inputs.get(spec["name"])
        if array is None:
            inputs.append({**spec, "data": [sent.persona]})
            continue
        raw = _raw(spec, array)
        parameters = {"binary_data_size": len(raw)}
        inputs.append({**spec, "shape": [1, *array.shape], "parameters": parameters})
        content += raw
    head = _text({"inputs": inputs, "parameters": {"binary_data_output": True}})
    more = {LENGTH: str(len(head))}
    return request(INFER, head + content, BINARY, **more)


def as_picture(sent: Sent) -> bytes:
    """A picture in which the server finds the face."""
    body = form([("picture", "a.png", sent.picture)], {"persona": sent.persona})
    return request(PICTURES, body)


def as_tracked_picture(sent: Sent) -> bytes:
    """A picture with landmarks."""
    files = [("picture", "a.png", sent.picture), ("landmarks", "a.csv", sent.landmarks)]
    return request(PICTURES, form(files, {"persona": sent.persona}))


def as_message(sent: Sent) -> pb.ModelInferRequest:
    """Tensors for gRPC."""
    message = pb.ModelInferRequest(model_name=MODEL)
    for spec in sent.specs:
        array = sent.inputs.get(spec["name"])
        shape = [1] if array is None else [1, *array.shape]
        message.inputs.add(name=spec["name"], datatype=spec["datatype"], shape=shape)
        if array is None:
            text = sent.persona.encode()
            message.raw_input_contents.append(len(text).to_bytes(4, "little") + text)
        else:
            message.raw_input_contents.append(_raw(spec, array))
    return message


WAYS = {
    "tensors, JSON": as_json,
    "tensors, bytes": as_bytes,
    "tensors, gRPC": as_message,
    "picture": as_picture,
    "picture, landmarks": as_tracked_picture,
}


@asynccontextmanager
async def clients(
    way: str, sent: Sent, port: int, rpc_port: int, count: int
) -> AsyncIterator[list[Ask]]:
    """So many who ask again and again, each on a connection of its own."""
    content = WAYS[way](sent)
    async with AsyncExitStack() as stack:
        asks = []
        for _ in range(count):
            if isinstance(content, bytes):
                line = Line(port)
                stack.callback(line.close)
                asks.append(partial(line.ask, content))
            else:
                # Channels of the same options would share a connection.
                options = [("grpc.use_local_subchannel_pool", 1)]
                channel = grpc.aio.insecure_channel(f"127.0.0.1:{rpc_port}", options)
                asks.append(partial(_call, await stack.enter_async_context(channel), content))
        yield asks


async def _call(channel: grpc.aio.Channel, content: pb.ModelInferRequest) -> Answer:
    writes, reads = pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", writes, reads)
    began = time.perf_counter()
    try:
        status, body = 200, (await call(content)).raw_output_contents[0]
    except grpc.aio.AioRpcError as error:
        status, body = 503, str(error.details()).encode()
    return Answer(status, {}, body, time.perf_counter() - began)


def _raw(spec: Mapping, array: np.ndarray) -> bytes:
    return array.astype("<u1" if spec["datatype"] == "UINT8" else "<f4").tobytes()


def _text(content: Mapping) -> bytes:
    return json.dumps(content).encode()
