"""Tensors over the Open Inference Protocol."""

import json

import numpy as np
import pytest

SIDE = 32
INFER = "/v2/models/swaps/infer"


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (9, SIDE, SIDE, 3), np.uint8)


def tensor(array, **more) -> dict:
    return {"name": "crops", "datatype": "UINT8", "shape": list(array.shape), **more}


PERSONA = {"name": "persona", "datatype": "BYTES", "shape": [1], "data": ["ada"]}


def test_what_the_server_says_of_itself(serve):
    client = serve().client
    assert client.get("/v2").json()["name"] == "faceswap"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/swaps/ready").json() == {"name": "swaps", "ready": True}
    told = client.get("/v2/models/swaps/versions/0123456789abcdef").json()
    crops = {"name": "crops", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}
    assert told["inputs"] == [crops, {"name": "persona", "datatype": "BYTES", "shape": [1]}]
    assert told["outputs"] == [crops | {"name": "images"}]
    answer = client.get("/v2/models/swaps/versions/older")
    assert answer.status_code == 404 and "version 0123456789abcdef" in answer.json()["error"]


def test_tensors_as_json(serve, crops):
    wanted = {"id": "7", "inputs": [tensor(crops, data=crops.tolist()), PERSONA]}
    told = serve().client.post(INFER, json=wanted).json()
    (images,) = told["outputs"]
    assert (told["id"], told["model_name"], images["datatype"]) == ("7", "swaps", "UINT8")
    np.testing.assert_array_equal(np.reshape(images["data"], images["shape"]), 255 - crops)


def test_tensors_as_bytes(serve, crops):
    content = crops.tobytes()
    inputs = [tensor(crops, parameters={"binary_data_size": len(content)}), PERSONA]
    outputs = [{"name": "images", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    name = "Inference-Header-Content-Length"
    headers = {name: str(len(head)), "Content-Type": "application/octet-stream"}
    answer = serve().client.post(INFER, content=head + content, headers=headers)
    end = int(answer.headers[name])
    (images,) = json.loads(answer.content[:end])["outputs"]
    found = np.frombuffer(answer.content[end:], np.uint8).reshape(images["shape"])
    np.testing.assert_array_equal(found, 255 - crops)


def small(**changes) -> dict:
    return tensor(np.zeros((1, SIDE, SIDE, 3)), data=[0] * SIDE**2 * 3) | changes


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([small()], "must be crops, persona"),
        ([small(), small(), PERSONA], "each once"),
        ([small(shape=[1, 9, 9, 3]), PERSONA], "of shape [-1, 32, 32, 3]"),
        ([small(shape=[0, SIDE, SIDE, 3]), PERSONA], "of shape"),
        ([small(shape=[65, SIDE, SIDE, 3]), PERSONA], "more than 64"),
        ([small(datatype="FP32"), PERSONA], "must be UINT8"),
        ([small(data=[0.5] * SIDE**2 * 3), PERSONA], "whole numbers"),
        ([small(data=[0]), PERSONA], "unlike its shape"),
        ([small(data=[[0], [0, 1]]), PERSONA], "numbers in rows"),
        ([small(data=None), PERSONA], ""),
        ([small(parameters={"binary_data_size": 10**9}), PERSONA], "fewer bytes"),
        ([small(), PERSONA | {"data": [1]}], "one text"),
        ([small(), PERSONA | {"data": ["a:x"]}], "write names and weights"),
        ("x", "inputs: "),
    ],
)
def test_tensors_that_do_not_fit(serve, inputs, said):
    answer = serve().client.post(INFER, json={"inputs": inputs})
    assert answer.status_code in (413, 422)
    assert set(answer.json()) == {"error"} and said in answer.json()["error"]


def test_bodies_that_are_no_requests(serve):
    client = serve().client
    kind = {"Content-Type": "application/json"}
    for body in (b"", b"{", b"[" * 100_000, b"\xff"):
        assert client.post(INFER, content=body, headers=kind).status_code == 422
    wrong = kind | {"Inference-Header-Content-Length": "-1"}
    assert client.post(INFER, content=b"{}", headers=wrong).status_code == 422
    assert client.post(INFER, files={"crops": b"x"}).status_code == 415
