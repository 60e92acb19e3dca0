"""Servers without sockets, of models without networks."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import HEADER, sidecar_path
from faceswap_jax.serving.app import build
from faceswap_jax.serving.keys import Keys
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.service import Service
from tests.support.generators import PixelGenerator


@dataclass
class Served:
    """A server and a client of it."""

    service: Service
    client: TestClient
    folder: Path

    def left(self) -> list[Path]:
        """Files of requests that there are."""
        return sorted(self.folder.rglob("*"))


@pytest.fixture
def serve(tmp_path):
    """Starts servers of the models `swaps` and `whole`."""
    started = []

    def start(limits=None, keys=None, models=None, **more) -> Served:
        models = models or {
            "swaps": PixelGenerator(np.invert, 32),
            "whole": PixelGenerator(np.invert, 32, placement="whole"),
        }
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        service = Service(
            models, folder, limits or Limits(picture_seconds=600), keys or Keys({}), **more
        )
        client = TestClient(build(service))
        client.__enter__()
        started.append(client)
        return Served(service, client, folder)

    yield start
    for client in started:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def clip(clips) -> bytes:
    return (clips / "ben.mp4").read_bytes()


@pytest.fixture(scope="session")
def landmarks(clips) -> bytes:
    """Of the clip, whose first frame is the picture."""
    return sidecar_path(clips / "ben.mp4").read_bytes()


@pytest.fixture(scope="session")
def first_landmarks(landmarks) -> bytes:
    """Of the picture."""
    header, first, *_ = landmarks.decode().splitlines()
    assert header.split(",") == HEADER
    return f"{header}\n{first}\n".encode()


@pytest.fixture(scope="session")
def picture(clips) -> bytes:
    frame = next(video.read_frames(clips / "ben.mp4"))
    return cv2.imencode(".png", frame.image[..., ::-1])[1].tobytes()
