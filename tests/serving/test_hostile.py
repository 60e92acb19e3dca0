"""What must not get in: none of it is decoded, and none leaves anything behind."""

import asyncio
import io
from dataclasses import replace

import PIL.Image
import pytest

from experiments.benchmarks.hostile import bomb, long_clip, packed, still
from faceswap_jax.serving.app import build
from faceswap_jax.serving.limits import Limits

LIMITS = Limits(
    picture_bytes=300_000,
    clip_bytes=400_000,
    pixels=20_000,
    seconds=2,
    patience=60,
    picture_seconds=600,
)


def short(value) -> str | None:
    """For names of tests: files would be names of a megabyte."""
    return f"{len(value)}_bytes" if isinstance(value, bytes) else None


@pytest.fixture
def served(serve):
    return serve(LIMITS)


def refused(served, answer, status: int, said: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"} and said in answer.json()["detail"]
    assert str(served.folder) not in answer.text
    assert served.left() == []


def send_picture(served, content, name="a.png"):
    files = {"picture": (name, content, "image/png")}
    return served.client.post("/models/swaps/pictures", files=files, data={"persona": "ada"})


def send_clip(served, content, name="a.mp4"):
    files = {"clip": (name, content, "video/mp4")}
    return served.client.post("/models/swaps/clips", files=files, data={"persona": "ada"})


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 415, "none of .png"),
        (b"#!/bin/sh\nreboot\n" * 9, 415, "none of .png"),
        (b"<svg><image href='file:///etc/passwd'/></svg>", 415, "none of .png"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 99, 422, "damaged"),
        (b"\xff\xd8\xff" + bytes(99), 422, "damaged"),
        (b"BM" + bytes(99), 422, "damaged"),
        (bomb(1000), 413, "1.0 million pixels"),
        (bomb(40_000), 413, "pixels"),
        (bytes(400_000), 413, "0.286"),
    ],
    ids=short,
)
def test_pictures(served, content, status, said):
    refused(served, send_picture(served, content), status, said)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animated_picture(served, kind):
    file = io.BytesIO()
    frames = [PIL.Image.new("RGB", (16, 16), (90 * k, 0, 0)) for k in range(3)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    refused(served, send_picture(served, file.getvalue()), 422, "animated")


def test_a_picture_that_was_cut_off(served, picture):
    refused(served, send_picture(served, picture[: len(picture) // 2]), 422, "")


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", 415, "none of .mp4"),
        (b"ffconcat version 1.0\nfile secret.mp4\n", 415, "none of .mp4"),
        (b"\x00\x00\x00\x18ftypmp42" + b"#EXTM3U\n" * 9, 422, "damaged"),
        (b"\x1aE\xdf\xa3" + bytes(99), 422, "damaged"),
    ],
    ids=short,
)
def test_clips(served, content, status, said):
    refused(served, send_clip(served, content), status, said)


def test_clips_that_are_longer_or_larger_than_they_may(served, clip):
    refused(served, send_clip(served, long_clip(100)), 413, "longer than 2 s")
    small = served.service.limits.pixels
    assert small > 96 * 96  # of the clip
    object.__setattr__(served.service.limits, "pixels", 96)
    refused(served, send_clip(served, clip), 413, "million pixels")
    object.__setattr__(served.service.limits, "pixels", small)


@pytest.mark.parametrize("left", [0.3, 0.7])
def test_clips_that_were_cut_off(served, left):
    """Those of which a part could still be read, too: nobody would be told that it is a part."""
    for whole in (long_clip(1), packed(".avi", range(9), still())):
        cut = whole[: int(left * len(whole))]
        refused(served, send_clip(served, cut), 422, "cut off")


@pytest.mark.parametrize("name", ["../../x.png", "/etc/passwd", "a\x00b", "C:\\x", "." * 5000])
def test_names_mean_nothing(served, name):
    answer = send_picture(served, b"text", name)
    assert answer.status_code in (400, 415) and served.left() == []


def test_other_bodies(served):
    client, path = served.client, "/models/swaps/pictures"
    refused(served, client.post(path, json={"picture": "file:///etc/passwd"}), 415, "form")
    refused(served, client.post(path, data={"picture": "http://x/"}), 415, "form")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post(path, content=b"--y\r\n\r\n", headers=broken)
    assert answer.status_code in (400, 422) and served.left() == []
    many = [("pictures", b"x") for _ in range(100)]
    assert client.post(path, files=[("picture", b"x"), *many]).status_code == 400


def exchange(app, messages, headers=()) -> list:
    """What the application answers to parts of a body, each after a while."""
    sent = []

    async def run():
        waiting = iter(messages)

        async def receive():
            pause, body, more = next(waiting)
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": body, "more_body": more}

        async def send(message):
            sent.append(message)

        kind = (b"content-type", b"multipart/form-data; boundary=x")
        scope = {"type": "http", "method": "POST", "path": "/models/swaps/pictures"}
        scope |= {"headers": [kind, *headers], "query_string": b"", "http_version": "1.1"}
        await app(scope, receive, send)

    asyncio.run(run())
    return sent


def test_a_slow_sender_is_not_waited_for(serve):
    served = serve(replace(LIMITS, patience=0.5))
    start, body = exchange(build(served.service), [(0, b"--x\r\n", True), (9, b"", False)])
    assert start["status"] == 408 and b"too slowly" in body["body"]
    assert (b"connection", b"close") in start["headers"]
    assert served.service.uploads.taken == 0


def test_a_body_that_is_longer_than_it_says(served):
    head = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    parts = [(0, head, True), *[(0, bytes(200_000), True)] * 9]
    start, _ = exchange(build(served.service), parts)
    assert start["status"] == 413 and (b"connection", b"close") in start["headers"]


def test_a_byte_now_and_then_keeps_no_place(serve):
    served = serve(replace(LIMITS, patience=0.5))
    head = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    parts = [(0.2, bytes([byte]), True) for byte in head[:30]]
    start, _ = exchange(build(served.service), parts)
    assert start["status"] == 408 and served.service.uploads.taken == 0


def test_a_full_server_reads_no_body(served):
    waiting = served.service.waiting
    while waiting.taken < LIMITS.pictures + LIMITS.waiting_pictures:
        waiting.take("")
    start, _ = exchange(build(served.service), [])
    assert start["status"] == 503 and (b"connection", b"close") in start["headers"]
