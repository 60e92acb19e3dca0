"""Two hundred uploads that must not get in: bombs, lies, halves, tricks. Tests take the same files one by one.

Nothing here is dangerous to keep: each is made when it is wanted, from bytes and one rendered clip.
"""

import io
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
import PIL.Image

from experiments.benchmarks.asking import BINARY, BOUNDARY, FORM, JSON, LENGTH, form, request
from experiments.benchmarks.offers import CLIPS, INFER, PICTURES, Sent
from faceswap_jax.serving import inference_pb2 as pb

CUTS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95)
"""How much of a file is left."""

SIZE = (272, 264)
"""Of the frames of clips that are made here: neither fits into one byte."""

PAUSE = 4.0
"""Seconds between the bytes of slow senders: less than the server's patience."""


class Upload(NamedTuple):
    """What one client sends.

    Attributes:
        kind: of trick.
        parts: seconds to wait before them, and bytes.
    """

    kind: str
    parts: Sequence[tuple[float, bytes]]


def uploads(sent: Sent) -> list[Upload]:
    """All of them, made of what honest clients send."""
    found = []
    for kind, contents in pictures(sent.picture).items():
        found += [Upload(kind, whole(picture_of(sent, each))) for each in contents]
    for kind, contents in moving(sent.clips).items():
        found += [Upload(kind, whole(clip_of(sent, each))) for each in contents]
    found += [Upload("path tricks", whole(each)) for each in paths(sent)]
    found += [Upload("many parts", whole(each)) for each in crowds(sent.picture)]
    found += [Upload("wrong lengths", parts) for parts in lengths(sent)]
    found += [Upload("slow senders", parts) for parts in slow(sent)]
    for kind, bodies in tensors(sent.specs, sent.persona).items():
        found += [Upload(kind, whole(request(INFER, *each[:2], **each[2]))) for each in bodies]
    return found


def whole(content: bytes) -> list[tuple[float, bytes]]:
    """A request that comes at once."""
    return [(0, content)]


def picture_of(sent: Sent, content: bytes, name: str = "a.png", **fields: str) -> bytes:
    """A request for a picture."""
    fields = {"persona": sent.persona} | fields
    return request(PICTURES, form([("picture", name, content)], fields))


def clip_of(sent: Sent, content: bytes) -> bytes:
    """A request for a clip."""
    return request(CLIPS, form([("clip", "a.mp4", content)], {"persona": sent.persona}))


# Pictures


def pictures(picture: bytes) -> dict[str, list[bytes]]:
    """Files that are no pictures to swap, by kind."""
    return {
        "bombs": bombs(),
        "animated pictures": animated(picture),
        "huge dimensions": huge(),
        "cut-off pictures": cut(encoded(picture).values()),
        "wrong types": strangers(),
        "lies of first bytes": lies((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"RIFF")),
    }


def chunk(name: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    sum_ = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + sum_


def bomb(side: int, bits: int = 1, between: bytes = b"") -> bytes:
    """A small PNG of very many pixels.

    Args:
        side: pixels.
        bits: of each pixel.
        between: chunks before the pixels.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0))
    rows = zlib.compress(bytes((side * bits // 8 + 1) * side), 9)
    body = header + between + chunk(b"IDAT", rows)
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def bombs() -> list[bytes]:
    """Pictures that grow a thousand times; and a small one with text and profiles that do."""
    zeros = zlib.compress(bytes(100 << 20), 9)
    text = chunk(b"zTXt", b"x\0\0" + zeros)
    profile = chunk(b"iCCP", b"x\0\0" + zeros)
    dark = io.BytesIO()
    PIL.Image.new("L", (9000, 9000)).save(dark, "JPEG")
    webp = cv2.imencode(
        ".webp", np.zeros((5000, 5000, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101]
    )
    return [
        bomb(8000),
        bomb(20_000),
        bomb(40_000),
        bomb(8000, 8),
        bomb(64, between=text),
        bomb(64, between=profile),
        bomb(64, between=text * 9),
        dark.getvalue(),
        webp[1].tobytes(),
    ]


def animated(picture: bytes) -> list[bytes]:
    """Pictures of several frames, of which the first one shows a face."""
    first = PIL.Image.open(io.BytesIO(picture)).convert("RGB")
    others = [PIL.Image.new("RGB", first.size, (k, 0, 0)) for k in range(99)]
    found = []
    for kind, count in (("PNG", 99), ("WEBP", 99), ("WEBP", 1), ("GIF", 9)):
        file = io.BytesIO()
        first.save(file, kind, save_all=True, append_images=others[:count])
        found.append(file.getvalue())
    large = PIL.Image.new("RGB", (4200, 4200))
    file = io.BytesIO()
    large.save(file, "WEBP", save_all=True, append_images=[large], lossless=True, method=0)
    return [*found, file.getvalue()]


def huge() -> list[bytes]:
    """A few bytes that claim millions of pixels."""
    jpeg = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    size = jpeg.index(b"\xff\xc0") + 5
    bmp = bytearray(cv2.imencode(".bmp", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    found = []
    for width, height in ((65_000, 65_000), (65_535, 300), (20_000, 20_000)):
        found.append(jpeg[:size] + struct.pack(">HH", height, width) + jpeg[size + 4 :])
        bmp[18:26] = struct.pack("<ii", width, height)
        found.append(bytes(bmp))
        png = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        found.append(b"\x89PNG\r\n\x1a\n" + png + chunk(b"IDAT", zlib.compress(b"")))
    # Lossless WebP has 14 bits for a side.
    bits = (16_383 | 16_383 << 14).to_bytes(4, "little")
    body = b"WEBPVP8L" + struct.pack("<I", 5) + b"\x2f" + bits
    return [*found, b"RIFF" + struct.pack("<I", len(body)) + body]


def encoded(picture: bytes) -> dict[str, bytes]:
    """A picture in all formats that are taken."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    suffixes = (".png", ".jpg", ".webp", ".bmp")
    return {suffix: cv2.imencode(suffix, image)[1].tobytes() for suffix in suffixes}


def cut(files) -> list[bytes]:
    """Beginnings of files."""
    return [file[: int(len(file) * left)] for file in files for left in CUTS]


def strangers() -> list[bytes]:
    """Files of other types."""
    return [
        b"",
        b"\0" * 1000,
        b"#!/bin/sh\nreboot\n" * 9,
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><svg>&e;</svg>",
        b"PK\x03\x04" + bytes(200),
        b"\x1f\x8b\x08" + bytes(200),
        b"%PDF-1.7\n" + bytes(200),
        b"\x7fELF" + bytes(200),
        b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b";",
        b"II*\0" + bytes(200),
        b"push graphic-context\nimage over 0,0 0,0 'https://x/'\npop graphic-context\n",
        b"%!PS\n(/etc/passwd) (r) file\n",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(200),
        b"v/1\x01" + bytes(200),
    ]


def lies(heads: Sequence[bytes]) -> list[bytes]:
    """First bytes of one kind, the rest of another."""
    tails = (b"#!/bin/sh\nreboot\n" * 9, b"#EXTM3U\nfile:///etc/passwd\n" * 9, bytes(1000))
    return [head + tail for head in heads for tail in tails]


# Clips


def moving(clips: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    """Files that are no clips to swap, by kind."""
    return {
        "clips too long or too large": outsized(),
        "cut-off clips": cut(clips.values()),
        "playlists and subtitles": references(),
        "a clip that names another file": [elsewhere(clips[".mp4"], b"/etc/passwd")],
        "lies of first bytes": lies((b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI ")),
    }


def packed(suffix: str, times: Iterable[int], content: bytes) -> bytes:
    """A clip of SIZE whose frames nobody has encoded.

    Args:
        suffix: of its container.
        times: of the frames, tenths of seconds.
        content: of each.
    """
    file = io.BytesIO()
    with av.open(file, "w", format={".mkv": "matroska", ".avi": "avi"}[suffix]) as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        for time in times:
            packet = av.Packet(content)
            packet.stream = stream
            packet.pts = packet.dts = time
            packet.time_base = Fraction(1, 10)
            container.mux(packet)
    return file.getvalue()


def outsized() -> list[bytes]:
    """Clips that last days, have a million frames, or frames of a billion pixels."""
    return [
        long_clip(700),
        long_clip(1e8),
        packed(".mkv", range(0, 20_000, 10), still()),
        packed(".avi", range(40_000), b"x"),
        *(_claiming(width, height) for width, height in ((65_000, 65_000), (4100, 4100))),
        packed(".avi", [0, 1], still()).replace(
            struct.pack("<ii", *SIZE), struct.pack("<ii", 30_000, 30_000)
        ),
    ]


def _claiming(width: int, height: int) -> bytes:
    """A Matroska clip whose head tells another size."""
    clip = packed(".mkv", [0, 1], still())
    for element, true, false in zip(b"\xb0\xba", SIZE, (width, height), strict=True):
        head = bytes([element, 0x82])
        clip = clip.replace(head + true.to_bytes(2), head + false.to_bytes(2))
    return clip


def long_clip(seconds: float) -> bytes:
    """Two frames of which the second comes late."""
    return packed(".mkv", [0, round(10 * seconds)], still())


def still() -> bytes:
    """A frame of a clip."""
    width, height = SIZE
    return cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()


def references() -> list[bytes]:
    """Texts that name other files."""
    return [
        b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:9,\nconcat:http://127.0.0.1/|file:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
        b"1\n00:00:00,000 --> 00:00:09,000\n<img src='file:///etc/passwd'>\n",
        b"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:09.00,,,,,,,{\\p1}\n",
        b"# VobSub index file, v7\nid: en, index: 0\nfile: /etc/passwd\n",
        b"WEBVTT\n\n00:00.000 --> 00:09.000\nx\n",
        b"\0\0\0\x18ftypmp42" + b"#EXTM3U\nfile:///etc/passwd\n" * 9,
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ]


def elsewhere(mp4: bytes, path: bytes) -> bytes:
    """A clip whose index says that the frames lie in another file, as QuickTime's aliases can."""
    alias = bytearray(150)
    alias[10:13] = b"\x03vol"
    alias[50:54] = b"\x03abc"
    # The path is entry 2, and the last one is -1.
    entry = struct.pack(">HH", 2, len(path)) + path + b"\0" * (len(path) % 2)
    content = b"alis" + bytes(4) + bytes(alias) + entry + b"\xff\xff\0\0"
    place = mp4.index(b"url \0\0\0\x01") - 4
    changed = bytearray(mp4)
    changed[place : place + 12] = struct.pack(">I", len(content) + 4) + content
    # The index lies behind the frames, whose places stay. What it is nested in grows.
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = mp4.rindex(box, 0, place) - 4
        (size,) = struct.unpack_from(">I", mp4, start)
        struct.pack_into(">I", changed, start, size + len(content) - 8)
    return bytes(changed)


# Requests


def paths(sent: Sent) -> list[bytes]:
    """Names and addresses that would lead elsewhere."""
    names = (
        "../../x.png",
        "/etc/passwd",
        "..\\..\\x.png",
        "C:\\x.png",
        "." * 4000,
        "a%00b.png",
        "~/x",
    )
    found = [picture_of(sent, b"text", name) for name in names]
    body = form([("picture", "a.png", sent.picture)], {"persona": sent.persona})
    wanted = ("../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc", "..%5c..", "x%00", "a" * 4000, ";reboot")
    found += [request(f"/models/{name}/pictures", body) for name in wanted]
    for persona in ("../../etc/passwd", "file:///etc/passwd", "\0", "a" * 3000):
        found.append(picture_of(sent, sent.picture, persona=persona))
    found.append(request(PICTURES, form(fields={"picture": "/etc/passwd"})))
    found.append(request(PICTURES, b'{"picture": "/etc/passwd"}', JSON))
    found.append(request("/jobs/../../etc/passwd/result", method="GET"))
    found.append(request("/jobs/..%2f..%2fetc%2fpasswd/result", method="GET"))
    return found


def crowds(picture: bytes) -> list[bytes]:
    """Forms of very many or very large parts."""
    line = b"--" + BOUNDARY + b"\r\n"
    head = b'Content-Disposition: form-data; name="picture"; filename="a"\r\n'
    bodies = [
        form([("picture", "a", picture)] * 2000),
        form([("picture", "a", picture), *[("pictures", "a", b"x")] * 100]),
        form([("picture", "a", picture)], {f"field{k}": "x" for k in range(10_000)}),
        form([("picture", "a", picture)], {"persona": "x" * (1 << 20)}),
        line + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n",
        line + head * 20_000 + b"\r\n",
        line * 100_000,
    ]
    nested = FORM.replace("form-data", "mixed")
    return [*(request(PICTURES, body) for body in bodies), request(PICTURES, bodies[1], nested)]


def lengths(sent: Sent) -> Iterator[Sequence[tuple[float, bytes]]]:
    """Requests that say something else than they are."""
    honest = picture_of(sent, sent.picture)
    head, _, body = honest.partition(b"\r\n\r\n")
    said = f"Content-Length: {len(body)}".encode()
    lines = (
        b"Content-Length: 99999999999",
        b"Content-Length: -1",
        b"Content-Length: one",
        b"Content-Length: 9" + b"9" * 5000,
        said + b"\r\nContent-Length: 5",
        said + b"\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Content-Length: 10",
    )
    for line in lines:
        yield whole(head.replace(said, line) + b"\r\n\r\n" + body)
    chunked = head.replace(said, b"Transfer-Encoding: chunked") + b"\r\n\r\n"
    yield whole(chunked + b"ffffffffffffffffffff\r\n" + body)
    yield whole(chunked + b"zz\r\n" + body)
    # More than the server takes, without saying so before
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    yield [(0, chunked), *[(0, piece)] * 40]
    # A boundary that never comes
    yield whole(request(PICTURES, body, FORM + "x"))


def slow(sent: Sent) -> Iterator[Sequence[tuple[float, bytes]]]:
    """Requests whose heads or bodies hardly come."""
    for name in (b"/pictures", b"/clips"):
        honest = picture_of(sent, sent.picture).replace(b"/pictures", name)
        head = honest[: honest.index(b"\r\n\r\n") + 4]
        yield [(0, b"")]
        yield [(0, head[:20])]
        yield [(0, head)]
        yield [(0, honest[:-100])]
        yield [(PAUSE, head[k : k + 1]) for k in range(60)]
        yield [(0, head), *[(PAUSE, honest[k : k + 1]) for k in range(len(head), len(head) + 60)]]


# Tensors


def tensors(
    specs: Sequence[Mapping], persona: str
) -> dict[str, list[tuple[bytes, str, dict[str, str]]]]:
    """Body, type and headers of requests of the Open Inference Protocol, by kind.

    Args:
        specs: as the model tells of its inputs; the first ones are crops.
        persona: whom it knows.
    """
    good = [_filled(spec, persona) for spec in specs]
    first = good[0]
    shapes = ([], [1], [0, *first["shape"][1:]], [-1, *first["shape"][1:]], [2**62] * 4, [1] * 8)
    shapes = [*shapes, [1, 1, 1, 1], [10**6, *first["shape"][1:]], first["shape"] * 100]
    wrong = [[first | {"shape": list(shape)}, *good[1:]] for shape in shapes]
    wrong += [[first | {"datatype": "FP64"}, *good[1:]], good[:1], good * 2, good * 1000]
    wrong += [[first | {"data": [[1, 2], [3]]}, *good[1:]], [first | {"data": ["x"]}, *good[1:]]]
    wrong += [[first | {"data": [256] * len(first["data"])}, *good[1:]]]
    return {
        "wrong shapes": [_asked(each) for each in wrong],
        "NaN and infinity": [_asked(each) for each in _not_finite(good)],
        "deep or broken JSON": [(body, JSON, {}) for body in _broken(good)],
        "wrong sizes of bytes": _sizes(good),
    }


def _filled(spec: Mapping, persona: str) -> dict:
    """An input of one face, as JSON."""
    shape = [1, *spec["shape"][1:]]
    data = [persona] if spec["datatype"] == "BYTES" else [0] * int(np.prod(shape))
    return {"name": spec["name"], "datatype": spec["datatype"], "shape": shape, "data": data}


def _asked(inputs: Sequence[Mapping]) -> tuple[bytes, str, dict[str, str]]:
    return json.dumps({"inputs": inputs}).encode(), JSON, {}


def _not_finite(good: Sequence[dict]) -> Iterator[list[dict]]:
    """Numbers that are none, in each input."""
    for number, tensor in enumerate(good):
        if tensor["datatype"] == "BYTES":
            continue
        for value in (float("nan"), float("inf"), -float("inf"), 1e300):
            changed = [value, *tensor["data"][1:]]
            yield [*good[:number], tensor | {"data": changed}, *good[number + 1 :]]


def _broken(good: Sequence[dict]) -> list[bytes]:
    """Texts that are hard to read."""
    body = json.dumps({"inputs": good}).encode()
    deep = b"[" * 100_000
    return [
        deep,
        deep + b"]" * 100_000,
        b'{"inputs": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_001,
        body.replace(b'"data": [', b'"data": ' + b"[" * 5000, 1),
        b'{"inputs": [{"name": "x", "datatype": "UINT8", "shape": [' + b"9" * 5000 + b"]}]}",
        b'{"inputs": 1e999999999}',
        body[:-10],
        b"\xff\xfe" + body,
        b'{"inputs": "' + b"x" * (1 << 20) + b'"}',
        b'{"a": 1, ' * 1000,
        b"",
        b"null",
    ]


def _sizes(good: Sequence[dict]) -> list[tuple[bytes, str, dict[str, str]]]:
    """Bytes behind the JSON that are more or fewer than it says."""
    found = []
    for size, rest in (
        (10**9, b""),
        (-1, b""),
        (10, bytes(9)),
        (10, bytes(11)),
        ("x", b""),
        (True, b"x"),
    ):
        first = {name: good[0][name] for name in ("name", "datatype", "shape")}
        first["parameters"] = {"binary_data_size": size}
        head, _, _ = _asked([first, *good[1:]])
        found.append((head + rest, BINARY, {LENGTH: str(len(head))}))
    head, _, _ = _asked(good)
    for said in ("-1", "x", str(10**30), "9" * 5000):
        found.append((head, BINARY, {LENGTH: said}))
    return found


# gRPC


def messages(good: pb.ModelInferRequest, most: int) -> dict[str, list[bytes]]:
    """Messages to ModelInfer, by kind.

    Args:
        good: one that is answered, whose tensors are bytes, faces first and the persona last.
        most: bytes that the server takes.
    """
    content = good.SerializeToString()
    face = good.raw_input_contents[0]
    inputs, raws = list(good.inputs), list(good.raw_input_contents)
    rest = list(inputs[0].shape[1:])

    def changed(**fields: object) -> bytes:
        given = {"model_name": good.model_name, "inputs": inputs, "raw_input_contents": raws}
        return pb.ModelInferRequest(**given | fields).SerializeToString()

    def with_first(**fields: object) -> bytes:
        given = {"name": inputs[0].name, "datatype": inputs[0].datatype, "shape": inputs[0].shape}
        first = pb.ModelInferRequest.InferInputTensor(**given | fields)
        # Values in the place of bytes, where there are some
        more = {"raw_input_contents": []} if "contents" in fields else {}
        return changed(inputs=[first, *inputs[1:]], **more)

    def with_persona(text: bytes) -> bytes:
        return changed(raw_input_contents=[*raws[:-1], text])

    many = {"inputs": inputs * 5000, "raw_input_contents": [b""] * 5000 * len(raws)}
    shapes = ([], [0, *rest], [-1, *rest], [2**62] * 4, [1] * 100_000, [65, *rest])
    faces = (b"", face[:-1], face + b"x")
    numbers = pb.InferTensorContents(uint_contents=[2**32 - 1] * len(face))
    return {
        "gRPC: no messages": [
            b"\xff" * 99,
            b"GET / HTTP/1.1\r\n\r\n",
            content[:-9],
            # A text that is no UTF-8, and groups in groups of a field that the protocol lacks
            b"\x0a\x02\xff\xfe" + content,
            b"\xa3\x06" * 100_000,
        ],
        "gRPC: wrong shapes": [
            *(with_first(shape=shape) for shape in shapes),
            with_first(datatype="x" * 10_000),
            changed(inputs=inputs[:-1], raw_input_contents=raws[:-1]),
            changed(**many),
        ],
        "gRPC: wrong bytes": [
            *(changed(raw_input_contents=[content, *raws[1:]]) for content in faces),
            changed(raw_input_contents=raws[:-1]),
            with_first(contents=numbers),
            with_persona(b""),
            with_persona(b"\xff\xff\xff\xff"),
            with_persona(b"\x01\0\0\0" + b"\xff" * 3000),
            with_persona(b"\x10\0\0\0../../etc/passwd"),
        ],
        "gRPC: too much": [
            bytes(2 * most),
            changed(raw_input_contents=[*raws, bytes(most)]),
            # In a field that the protocol lacks
            content + b"\xa2\x06\xff\xff\xff\x7f" + bytes(most),
        ],
        "gRPC: names": [
            changed(model_name="../../etc/passwd"),
            changed(model_name="x" * 60_000),
            changed(model_version="../../etc/passwd"),
        ],
    }
