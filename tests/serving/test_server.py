"""A server with a socket: how it starts, who it waits for, how it ends."""

import signal
import socket
import threading
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest

from faceswap_jax.artifacts.models import load
from faceswap_jax.errors import InputError
from faceswap_jax.serving import server
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.models import Models
from faceswap_jax.serving.service import Service
from tests.support.artifacts import mean_artifact
from tests.support.generators import PixelGenerator
from tests.support.online import online


@pytest.fixture
def running(tmp_path):
    """A server in a thread, and its address."""
    service = Service(
        {"swaps": PixelGenerator(np.invert, 32)}, tmp_path, Limits(picture_seconds=600)
    )
    with online(service) as (started, address):
        yield started, service, address


def test_draining_finishes_what_is_on_its_way(running, clip, landmarks):
    started, service, address = running
    may = threading.Event()
    model = service.models["swaps"].generator
    model.pixels = lambda crops: crops if may.wait(60) else None

    files = {"clip": clip, "landmarks": landmarks}
    send = {"url": f"{address}/models/swaps/clips", "files": files, "data": {"persona": "ada"}}
    with httpx.Client(timeout=60) as client:
        place = client.post(**send).headers["location"]
        assert client.get(f"{address}/ready").status_code == 200
        started.handle_exit(signal.SIGTERM, None)
        assert client.get(f"{address}/ready").status_code == 503
        answer = client.post(**send)
        assert answer.status_code == 503 and "about to stop" in answer.json()["detail"]

        # The client comes for its result.
        may.set()
        while client.get(f"{address}{place}").json()["state"] != "done":
            time.sleep(0.05)
        assert client.get(f"{address}{place}/result").content[4:8] == b"ftyp"
    for _ in range(600):
        if started.should_exit or not started.started or not service.jobs.settled:
            break
        try:
            httpx.get(f"{address}/live")
        except httpx.TransportError:
            return
        time.sleep(0.1)
    raise AssertionError("It does not end.")


def test_a_connection_that_asks_nothing_is_closed(running, monkeypatch):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    _, _, address = running
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"POST /models/swaps/pictures HTTP/1.1\r\nHost:")
        assert connection.recv(1) == b""


def test_a_port_in_use_is_told(tmp_path):
    with server.listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 cannot be used .*in use"):
            server.serve([f"x={tmp_path}"], "127.0.0.1", port)


def test_answers_are_sent_at_once():
    """Connections do not hold short packets back until the client has acknowledged others."""
    with (
        server.listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_others_may_reach_it_with_keys_only(tmp_path):
    with pytest.raises(InputError, match="give a file of --keys"):
        server.serve([f"x={tmp_path}"], "0.0.0.0", 0)


@pytest.mark.parametrize(
    ("artifacts", "said"),
    [(["a/b", "c/b"], "Two models are named 'b'"), (["a b"], "cannot stand in an address")],
)
def test_names_that_cannot_be_used(artifacts, said):
    with pytest.raises(InputError, match=said):
        server.named(artifacts)
    assert list(server.named(["x=a/b", "c/b"])) == ["x", "b"]


def test_new_versions_are_told_by_all_that_makes_them_new(tmp_path, capfd):
    """The same weights of other personas are another version; what cannot be loaded changes nothing."""
    folders = {"swaps": tmp_path / "swaps"}
    first = mean_artifact(tmp_path / "swaps")
    served = Models({"swaps": load(tmp_path / "swaps")}, lambda *_: None)
    server.reload(served, folders)
    assert f"swaps is unchanged, version {first.version}." in capfd.readouterr().err

    new = replace(first, description=replace(first.description, personas=["ada", "zoe"]))
    new.save(tmp_path / "swaps")
    server.reload(served, folders)
    assert f"swaps is version {new.version} now." in capfd.readouterr().err
    assert served["swaps"].generator.personas == ("ada", "zoe")

    (tmp_path / "swaps" / "artifact.json").write_text("{}")
    server.reload(served, folders)
    assert "swaps stays as it was" in capfd.readouterr().err
    assert served["swaps"].generator.version == new.version
    served.close()
