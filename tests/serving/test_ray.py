"""The server on Ray, in Ray's local mode: a front and a worker in this process, by Ray's own handles."""

import pickle
import sys
import tempfile
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import yaml
from fastapi.testclient import TestClient
from ray import serve
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.schema import ServeDeploySchema

from faceswap_jax.artifacts.models import load
from faceswap_jax.commands.serving import workers
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.serving import ray_application
from faceswap_jax.serving.app import build
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.ray_application import Arguments, application
from faceswap_jax.serving.refusal import Refusal
from faceswap_jax.serving.service import Service
from tests.support.artifacts import SIDE, mean_artifact
from tests.support.tiny_run import FRAMES

ROOT = Path(__file__).parents[2]
LIMITS = Limits(picture_seconds=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For temporary files."""
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def cluster(folder):
    """Ray's handle of the front, and a client of what the front has built."""
    mean_artifact(folder / "swaps")
    built = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setattr(
            ray_application, "build", lambda service: built.append(build(service)) or built[-1]
        )
        wanted = Arguments(
            models=[str(folder / "swaps")], anybody=True, workers=(1, 2), limits=LIMITS
        )
        front = serve.run(application(wanted), _local_testing_mode=True)
        with TestClient(built[0]) as client:
            yield front, client


@pytest.fixture(scope="module")
def alone(folder, cluster):
    """A client of a server of one process, with the same model."""
    (folder / "alone").mkdir()
    service = Service({"swaps": load(folder / "swaps")}, folder / "alone", LIMITS)
    with TestClient(build(service)) as client:
        yield client


def picture_of(client, picture, landmarks, persona="ada") -> httpx.Response:
    files = {"picture": picture, "landmarks": landmarks}
    return client.post("/models/swaps/pictures", files=files, data={"persona": persona})


def clip_of(client, clip, landmarks) -> bytes:
    files = {"clip": clip, "landmarks": landmarks}
    answer = client.post("/models/swaps/clips", files=files, data={"persona": "ben"})
    place = answer.headers["location"]
    while (told := client.get(place).json())["state"] in ("waiting", "running"):
        time.sleep(0.05)
    assert told["state"] == "done" and told["progress"] == 1, told
    result = client.get(f"{place}/result").content
    assert client.delete(place).status_code == 204
    return result


def tensors_of(client, crops) -> dict:
    inputs = [
        {"name": "crops", "datatype": "UINT8", "shape": crops.shape, "data": crops.tolist()},
        {"name": "persona", "datatype": "BYTES", "shape": [1], "data": ["ada"]},
    ]
    answer = client.post("/v2/models/swaps/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.json()
    return answer.json()


def test_workers_answer_as_one_process_does(cluster, alone, picture, first_landmarks):
    _, client = cluster
    pictures = [picture_of(c, picture, first_landmarks).content for c in (client, alone)]
    assert pictures[0] == pictures[1]
    decoded, sent = (
        cv2.imdecode(np.frombuffer(b, np.uint8), cv2.IMREAD_COLOR) for b in (pictures[0], picture)
    )
    assert (decoded != sent).any()

    crops = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    tensors = [tensors_of(c, crops) for c in (client, alone)]
    assert tensors[0] == tensors[1]
    told = [c.get("/v2/models/swaps").json() for c in (client, alone)]
    assert told[0] == told[1]


def test_a_worker_makes_clips(cluster, clip, landmarks, tmp_path):
    _, client = cluster
    (tmp_path / "result.mp4").write_bytes(clip_of(client, clip, landmarks))
    (tmp_path / "sent.mp4").write_bytes(clip)
    made, sent = (list(video.read_frames(tmp_path / f"{n}.mp4")) for n in ("result", "sent"))
    assert len(made) == len(sent) == FRAMES
    assert (made[0].image != sent[0].image).any()


def test_what_a_worker_refuses_reaches_the_client(cluster, picture, first_landmarks):
    _, client = cluster
    answer = picture_of(client, picture, first_landmarks, persona="zoe")
    assert answer.status_code == 422 and "no persona 'zoe'" in answer.json()["detail"]


def test_a_worker_that_is_lost_and_what_it_raised_are_told_apart():
    lost = ActorDiedError()
    with pytest.raises(Refusal, match="503: A worker was lost"), ray_application._as_raised():
        raise lost

    refusal = pickle.loads(pickle.dumps(Refusal(503, "It is full.", retry_after=7)))
    raised = RayTaskError("f", "", refusal).as_instanceof_cause()
    with pytest.raises(Refusal, match="503: It is full") as told, ray_application._as_raised():
        raise raised
    assert told.value.headers == {"Retry-After": "7"}


def test_nothing_is_left_of_what_was_sent(cluster, folder, picture, first_landmarks):
    _, client = cluster
    assert picture_of(client, picture, first_landmarks).status_code == 200
    spaces = list(next(folder.glob("faceswap-serve-*")).iterdir())
    assert len(spaces) == 2  # a front's and a worker's
    assert [path for space in spaces for path in space.iterdir()] == []


def test_a_new_version_is_told_by_the_front_and_used_by_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mean_artifact(tmp_path / "swaps")
    folders = {"swaps": tmp_path / "swaps"}
    worker = serve.run(
        ray_application.Worker.bind(folders, Limits()), name="worker", _local_testing_mode=True
    )
    front = ray_application.SpreadService(worker, folders, ray_application.Keys({}), Limits())
    given = {"crops": np.full((1, SIDE, SIDE, 3), 100, np.uint8), "persona": "ada"}
    assert front.infer(front.models["swaps"], given, None).max() == 100

    (tmp_path / "swaps").rename(tmp_path / "old")
    new = mean_artifact(tmp_path / "swaps", brightness=2.0).version
    worker.reconfigure.remote({"swaps": new}).result()
    assert front.infer(front.models["swaps"], given, None).max() == 200
    ray_application.tell(front.models, folders, {"swaps": new})
    assert front.models["swaps"].generator.version == new
    front.close()


def test_draining_says_when_all_is_done(cluster):
    front, client = cluster
    assert client.get("/ready").status_code == 200
    assert front.drain.remote().result() is True
    assert client.get("/ready").status_code == 503


def test_the_file_for_deploying_says_what_ray_and_the_application_take(tmp_path):
    text = yaml.safe_load((ROOT / "launch/ray/serve.yaml").read_text())
    (wanted,) = ServeDeploySchema.model_validate(text).applications
    module, _, name = wanted.import_path.partition(":")
    assert getattr(sys.modules[module], name) is application
    assert set(wanted.args) <= set(Arguments.model_fields)
    arguments = Arguments(**wanted.args)

    # Others reach it: it has keys.
    assert text["http_options"]["host"] == "0.0.0.0" and arguments.keys and not arguments.anybody
    arguments.keys = None
    with pytest.raises(InputError, match="Give a file of keys"):
        application(arguments)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ray_workers=0"], "cannot be 0 to 0 workers"),
        (["--ray_workers=4:2"], "cannot be 4 to 2 workers"),
        (["--ray_workers=many"], "--ray_workers is 'many'"),
        (["--ray_workers=1", "--grpc_port=8001"], "there is no gRPC"),
        (["--ray_workers=1", "--host=0.0.0.0"], "give a file of --keys"),
        (["--ray_workers=1"], "holds no artifact"),
    ],
)
def test_what_cannot_be_served_on_ray_is_refused_before_a_cluster_starts(
    faceswap, tmp_path, flags, said
):
    code, _, err = faceswap("serve", tmp_path, "--port=0", *flags)
    assert code == 2 and said in err, err


def test_without_ray_its_extra_is_named(faceswap, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "faceswap_jax.serving.ray_application")
    code, _, err = faceswap("serve", tmp_path, "--ray_workers=1")
    assert code == 2 and "extra 'ray'" in err


def test_numbers_of_workers_are_read():
    assert workers("3") == (3, 3) and workers("1:4") == (1, 4)
