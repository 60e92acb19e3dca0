"""What README and docs/export.md show in Python, with the tiny run in the place of theirs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path
from tests.support.artifacts import mean_artifact
from tests.support.tiny_run import RESOLUTION, SIZE

ROOT = Path(__file__).parents[2]


def shown_in(page: str) -> list[str]:
    """The blocks of Python of a page, for whom the tiny run knows."""
    text = (ROOT / page).read_text().replace("alice", "ada")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


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
    (block,) = shown_in("README.md")
    exec(block, found)
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
    picture = next(video.read_frames(desk / "bob" / "scene.mp4")).image
    PIL.Image.fromarray(picture).save(desk / "bob.png")
    rows = sidecar_path(desk / "bob" / "scene.mp4").read_text().splitlines()
    sidecar_path(desk / "bob.png").write_text("\n".join(rows[:2]))
    prepare, block = shown_in("docs/export.md")
    exec(prepare, {})
    assert len([line for line in block.splitlines() if line]) <= 20
    exec(block, {})
    made = np.asarray(PIL.Image.open(desk / "face_as_ada.png"))
    assert made.shape == (RESOLUTION, RESOLUTION, 3) and made.std() > 0


def test_onnxruntime_tells_nobody(tmp_path):
    """It would keep what it has to tell in the user's cache, and a file beside other temporary ones."""
    mean_artifact(tmp_path / "model")
    homes = {name: str(tmp_path / name) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
    for home in homes.values():
        Path(home).mkdir()
    script = f"from faceswap_jax import load; load({str(tmp_path / 'model')!r})"
    environment = os.environ | homes
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert [path for home in homes.values() for path in Path(home).rglob("*")] == []
