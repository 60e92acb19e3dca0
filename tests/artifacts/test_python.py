"""What README and docs/export.md show in Python, with the tiny run in the place of theirs."""

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path
from tests.support.tiny_run import RESOLUTION, SIZE

ROOT = Path(__file__).parents[2]


def shown_in(page: str) -> str:
    """The only block of Python of a page, for whom the tiny run knows."""
    text = (ROOT / page).read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return block.replace("alice", "ada")


@pytest.fixture
def desk(clips, tmp_path, monkeypatch):
    """The folder in which the blocks run."""
    (tmp_path / "bob").mkdir()
    scene = tmp_path / "bob" / "scene.mp4"
    scene.symlink_to(clips / "ben.mp4")
    sidecar_path(scene).symlink_to(sidecar_path(clips / "ben.mp4"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_encoded_decoded_and_trained_further(desk, run):
    (desk / "runs").mkdir()
    (desk / "runs" / "first").symlink_to(run)
    found = {}
    exec(shown_in("README.md"), found)
    assert found["z"].shape == (8, found["model"].parts["face"].stop)
    assert found["images"].shape == (8, RESOLUTION, RESOLUTION, 3)
    before = next(video.read_frames(desk / "bob" / "scene.mp4")).image
    assert found["swapped"].shape == before.shape == (SIZE, SIZE, 3)
    assert (found["swapped"] != before).any()
    assert found["run"].state.step == 9 and np.isfinite(found["metrics"]["loss"])
    assert found["weights"]["own"]


def test_onnx_needs_onnxruntime_alone(desk, artifact):
    (desk / "models").mkdir()
    (desk / "models" / "first").symlink_to(artifact)
    noise = np.random.default_rng(0).integers(0, 256, (RESOLUTION, RESOLUTION, 3), np.uint8)
    PIL.Image.fromarray(noise).save(desk / "face.png")
    block = shown_in("docs/export.md")
    assert len([line for line in block.splitlines() if line]) <= 20
    exec(block, {})
    made = np.asarray(PIL.Image.open(desk / "face_as_ada.png"))
    assert made.shape == noise.shape and made.std() > 0
