"""Clips over HTTP are jobs."""

import threading
import time

import numpy as np
import pytest

from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.serving.limits import Limits
from faceswap_jax.swap import swap_with
from tests.support.generators import KnowsPersonas, PixelGenerator
from tests.support.hdr import write_deep
from tests.support.tiny_run import SIZE


class Held(PixelGenerator):
    """A model that makes nothing until it may."""

    def __post_init__(self):
        super().__post_init__()
        self.asked, self.may = threading.Event(), threading.Event()

    def __call__(self, identity, faces, edit=None):
        self.asked.set()
        assert self.may.wait(30)
        return super().__call__(identity, faces, edit)


@pytest.fixture
def send(clip, landmarks):
    def post(served, model="swaps", **headers):
        files = {"clip": clip, "landmarks": landmarks}
        path = f"/models/{model}/clips"
        return served.client.post(path, files=files, data={"persona": "ada"}, headers=headers)

    return post


def ended(served, place) -> dict:
    """The job when it has ended."""
    for _ in range(3000):
        job = served.client.get(place).json()
        if job["state"] not in ("waiting", "running"):
            return job
        time.sleep(0.01)
    raise TimeoutError


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def test_a_job(serve, send, clip, landmarks, tmp_path):
    now = [0.0]
    served = serve(clock=lambda: now[0])
    answer = send(served)
    assert answer.status_code == 202, answer.text
    place = answer.headers["location"]
    job = ended(served, place)
    assert job["id"] == answer.json()["id"] and place == f"/jobs/{job['id']}"
    assert (job["state"], job["progress"], job["problem"]) == ("done", 1, "")
    assert job["expires_in"] == 3600

    answer = served.client.get(f"{place}/result")
    assert answer.headers["content-type"] == "video/mp4"
    found, source, output = (tmp_path / name for name in ("found.mp4", "ben.mp4", "out.mp4"))
    found.write_bytes(answer.content)
    source.write_bytes(clip)
    sidecar_path(source).write_bytes(landmarks)
    swap_with(lambda: served.service.models["swaps"].generator, "ada", source, output)
    # Two encodings of the same frames differ a little; an inverted face is far from its own.
    change = np.abs(images(found) - images(output))
    assert change.mean() < 1.5 < np.abs(images(found) - images(source)).mean()

    # What was sent is not kept, and the result not for ever.
    assert [path.name for path in served.left() if path.is_file()] == ["result.mp4"]
    now[0] = 3600
    assert served.client.get(place).status_code == 404
    assert served.left() == []


def test_a_job_in_hdr(serve, clips, landmarks, tmp_path):
    images = [frame.image for frame in video.read_frames(clips / "ben.mp4")]
    source = write_deep(tmp_path / "pq.mp4", images)
    files = {"clip": source.read_bytes(), "landmarks": landmarks}
    served = serve()

    def send(served):
        path = "/models/swaps/clips"
        return served.client.post(path, files=files, data={"persona": "ada"})

    place = send(served).headers["location"]
    assert ended(served, place)["state"] == "done"
    found = tmp_path / "found.mp4"
    found.write_bytes(served.client.get(f"{place}/result").content)
    one, two = video.probe(source), video.probe(found)
    assert (two.layout, two.tags, two.mastering) == (one.layout, one.tags, one.mastering)

    # It takes more memory than a clip of 8 bits.
    small = serve(limits=Limits(memory=450 * SIZE**2))
    assert send(small).status_code == 413


def test_cancelling(serve, send):
    held = Held(np.invert, 32)
    served = serve(models={"swaps": held})
    running, waiting = (send(served).headers["location"] for _ in range(2))
    assert held.asked.wait(30)
    client = served.client
    assert client.get(running).json()["state"] == "running"
    assert client.get(f"{running}/result").status_code == 409
    assert client.delete(waiting).status_code == client.delete(running).status_code == 204
    assert client.get(waiting).json()["state"] == "cancelled"
    held.may.set()
    assert ended(served, running)["state"] == "cancelled"
    assert not [path for path in served.left() if path.is_file()]

    # A second time forgets them.
    for place in (running, waiting):
        assert client.delete(place).status_code == 204
        assert client.get(place).status_code == 404
    assert served.left() == []


def test_progress_counts_both_readings(serve, send):
    held = Held(np.invert, 32)
    served = serve(models={"swaps": held})
    place = send(served).headers["location"]
    assert held.asked.wait(30)
    # All faces are found, and no image is made.
    assert served.client.get(place).json()["progress"] == 0.5
    assert served.client.get("/models").status_code == 200
    held.may.set()
    job = ended(served, place)
    assert (job["state"], job["progress"]) == ("done", 1)


def test_a_failed_job_says_why(serve, send, clip):
    served = serve()
    empty = b"frame," + b",".join(f"{a}{i}".encode() for i in range(68) for a in "xy") + b"\n"
    files = {"clip": clip, "landmarks": empty}
    answer = served.client.post("/models/swaps/clips", files=files, data={"persona": "ada"})
    place = answer.headers["location"]
    job = ended(served, place)
    assert job["state"] == "failed" and "shows a face" in job["problem"]
    assert str(served.folder) not in job["problem"]
    answer = served.client.get(f"{place}/result")
    assert answer.status_code == 409 and answer.json()["detail"] == job["problem"]


def test_a_clip_for_a_persona_that_is_not_there_is_refused_at_once(serve, clip, landmarks):
    served = serve(models={"swaps": KnowsPersonas(np.invert, 32)})
    files = {"clip": clip, "landmarks": landmarks}
    for fields, said in (({"persona": "zoe"}, "no persona 'zoe'"), ({}, "Say who is to be shown")):
        answer = served.client.post("/models/swaps/clips", files=files, data=fields)
        assert answer.status_code == 422 and said in answer.json()["detail"]
    assert served.left() == []


def test_more_jobs_than_there_may_be(serve, send):
    held = Held(np.invert, 32)
    served = serve(Limits(jobs=1), models={"swaps": held})
    place = send(served).headers["location"]
    answer = send(served)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    held.may.set()
    ended(served, place)
    assert served.client.delete(place).status_code == 204
    assert send(served).status_code == 202
