"""Pictures over HTTP are those that the commands write."""

import numpy as np
import pytest

from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.faces.picture import read_picture
from faceswap_jax.inference.clip import reenact_clip
from faceswap_jax.swap import swap_with


def decoded(content: bytes, path) -> np.ndarray:
    path.write_bytes(content)
    return read_picture(path)


@pytest.mark.parametrize("model", ["swaps", "whole"])
def test_a_picture(serve, picture, first_landmarks, model, tmp_path):
    served = serve()
    files = {"picture": ("../../evil.sh", picture), "landmarks": first_landmarks}
    answer = served.client.post(f"/models/{model}/pictures", files=files, data={"persona": "ada"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert served.left() == [] and not list(tmp_path.rglob("evil*"))

    source, output = tmp_path / "source.png", tmp_path / "output.png"
    source.write_bytes(picture)
    sidecar_path(source).write_bytes(first_landmarks)
    generator = served.service.models[model].generator
    if model == "swaps":
        swap_with(lambda: generator, "ada", source, output)
    else:
        reenact_clip(generator, None, source, output)
    found = decoded(answer.content, tmp_path / "found.png")
    np.testing.assert_array_equal(found, read_picture(output))
    assert (found != 0).any()


@pytest.mark.parametrize(
    ("model", "fields", "said"),
    [
        ("swaps", {}, "Say who is to be shown"),
        ("swaps", {"persona": "ada", "blend": "magic"}, "magic"),
        ("swaps", {"persona": "ada", "face": "7"}, "What was sent has no face 7, only face 0."),
        ("swaps", {"persona": "ada", "face": "x"}, "face: "),
        ("swaps", {"persona": "ada", "restore_mouth": "1"}, "leave restore_mouth out"),
        ("swaps", {"persona": "a:b,"}, "write names and weights"),
        ("swaps", {"persona": "a" * 2000}, "1000 characters"),
        ("swaps", {"persona": "ada", "outlin": "hull"}, "There is no field 'outlin'"),
        ("swaps", {"persona": ["ada", "ben"]}, "'persona' comes more than once"),
        ("whole", {"persona": "ada", "face": "0"}, "leave face out"),
    ],
)
def test_choices_that_cannot_be_used(serve, picture, first_landmarks, model, fields, said):
    served = serve()
    files = {"picture": picture, "landmarks": first_landmarks}
    answer = served.client.post(f"/models/{model}/pictures", files=files, data=fields)
    assert answer.status_code == 422
    assert said in answer.json()["detail"] and str(served.folder) not in answer.text
    assert served.left() == []


def test_what_is_served(serve):
    client = serve().client
    swaps, whole = client.get("/models").json()
    assert swaps == {
        "name": "swaps",
        "version": "0123456789abcdef",
        "placement": "blended",
        "resolution": 32,
        "personas": ["ada", "ben"],
    }
    assert whole["placement"] == "whole"
    assert client.get("/live").status_code == client.get("/ready").status_code == 200
    answer = client.post("/models/nobody/pictures", files={"picture": b"x"})
    assert answer.status_code == 404 and "swaps, whole" in answer.json()["detail"]


def test_the_page_names_all_routes_and_loads_nothing(serve):
    client = serve().client
    page = client.get("/docs").text
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"<h2>{method.upper()} {path}</h2>" in page
    assert "Number of the person who is replaced" in page
    assert "http" not in page and "<script" not in page
