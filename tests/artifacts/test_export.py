"""A run as an artifact: every format makes the run's images, and what is damaged or lacking is refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from faceswap_jax import config as configs
from faceswap_jax.artifacts import models, parity, runtime
from faceswap_jax.artifacts.export import export
from faceswap_jax.artifacts.manifest import (
    FORMATS,
    ONNX,
    SAFETENSORS,
    STABLEHLO,
    VERSION,
    Artifact,
    digests_of,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference import trained
from faceswap_jax.inference.generator import Edit, Faces, Who
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.service import Service
from tests.support import toy
from tests.support.artifacts import mean_artifact
from tests.support.frozen import write_transfer
from tests.support.online import online
from tests.support.tiny_run import RESOLUTION

pytest.importorskip("jax2onnx")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, RESOLUTION, RESOLUTION, 3), np.uint8)


@pytest.fixture(scope="module")
def made(run, crops):
    """The run's images of ben, plain and shifted, and its latents."""
    generator = trained.load(run)
    ben, faces = generator.identity(Who({"ben": 1.0})), Faces(crops=crops)
    z = generator.latents(faces)
    return generator(ben, faces), generator(ben, faces, Edit(0.5 * z)), z


def test_an_export_tells_what_it_wrote_and_how_near_it_is(artifact):
    manifest = Artifact.load(artifact)
    assert list(manifest.formats) == list(FORMATS) == list(manifest.parity)
    assert all(found < 1e-4 for kind in manifest.parity.values() for found in kind.values())
    assert manifest.formats[STABLEHLO]["platforms"] == ["cpu", "cuda", "tpu"]
    card = (artifact / "README.md").read_text()
    assert "lent by others" not in card
    assert "ada, ben" in card and "| ONNX | " in card and "`weights` float32 [2]" in card
    names = {path.relative_to(artifact).as_posix() for path in artifact.rglob("*.*")}
    assert names == {*manifest.files, "artifact.json"}
    # Whoever may read the folder may read all of it.
    assert len({path.stat().st_mode for path in artifact.iterdir() if path.is_file()}) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_makes_the_images_of_the_run(artifact, run, crops, made, kind):
    generator = runtime.load(artifact, kind)
    assert generator.digest == trained.load(run).digest and generator.step == 8
    ben, faces = generator.identity(Who({"ben": 1.0})), Faces(crops=crops)
    *wanted, z = made
    np.testing.assert_allclose(generator.latents(faces), z, atol=1e-4)
    images = generator(ben, faces), generator(ben, faces, Edit(0.5 * z))
    np.testing.assert_allclose(np.array(images, int), wanted, atol=1)


def test_one_persona_alone_in_half_precision(run, crops, made, tmp_path):
    """The artifact knows nobody else, and holds nobody else's weights."""
    export(run, tmp_path / "ben", formats=[ONNX], precision="bfloat16", persona="ben")
    for kind in (ONNX, SAFETENSORS):
        generator = runtime.load(tmp_path / "ben", kind)
        images = generator(generator.identity(Who({"ben": 1.0})), Faces(crops=crops))
        np.testing.assert_allclose(images.astype(int), made[0], atol=8)
    with pytest.raises(InputError, match="no persona 'ada'; it knows ben"):
        generator.identity(Who({"ada": 1.0}))
    assert generator.variables["own"]["to_rgb_2"]["kernel"].shape[0] == 1


def test_onnx_runs_without_jax(artifact, made, crops, tmp_path):
    np.save(tmp_path / "crops.npy", crops)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from faceswap_jax.artifacts.models import load
from faceswap_jax.inference.generator import Faces, Who
generator = load(Path({str(artifact)!r}))
identity = generator.identity(Who({{"ben": 1.0}}))
np.save("images.npy", generator(identity, Faces(crops=np.load("crops.npy"))))
assert "jax" not in sys.modules
"""
    environment = {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    np.testing.assert_allclose(np.load(tmp_path / "images.npy").astype(int), made[0], atol=1)


def test_swaps_of_an_artifact_and_of_its_server_are_those_of_the_run(
    faceswap, artifact, run, clips, tmp_path
):
    picture = tmp_path / "ada.png"
    write_picture(picture, next(video.read_frames(clips / "ada.mp4")).image)
    face = SidecarLandmarker(sidecar_path(clips / "ada.mp4"))(None, 0)[0]
    write_landmarks(sidecar_path(picture), {0: face.landmarks})

    results = []
    for number, flag in enumerate((f"--model={artifact}", f"--workdir={run}")):
        output = tmp_path / f"{number}.png"
        code, _, err = faceswap("swap", picture, "--persona=ben", f"--output={output}", flag)
        assert code == 0, err
        results.append(read_picture(output).astype(int))
    results.append(served(artifact, picture, tmp_path).astype(int))
    np.testing.assert_allclose(results[:2], results[1:], atol=1)
    assert (results[0] != read_picture(picture)).any()


def served(artifact: Path, picture: Path, tmp_path: Path) -> np.ndarray:
    """What a client gets for a picture."""
    folder = tmp_path / "server"
    folder.mkdir()
    service = Service({"tiny": models.load(artifact)}, folder, Limits(picture_seconds=600))
    with online(service) as (_, address):
        files = {"picture": picture.read_bytes(), "landmarks": sidecar_path(picture).read_bytes()}
        place = f"{address}/models/tiny/pictures"
        answer = httpx.post(place, files=files, data={"persona": "ben"}, timeout=600)
    assert answer.status_code == 200, answer.text
    (tmp_path / "served.png").write_bytes(answer.content)
    return read_picture(tmp_path / "served.png")


def test_a_format_that_differs_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.LIMITS, "float32", -1.0)
    with pytest.raises(InputError, match=r"'encode' of safetensors differs .* nothing was written"):
        export(run, tmp_path / "model", formats=[])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(run, artifact, tmp_path):
    configs.save(toy.config(), tmp_path / "config.json")
    with pytest.raises(InputError, match="makes no images"):
        export(tmp_path, tmp_path / "model")
    with pytest.raises(InputError, match="is there already"):
        export(run, artifact)
    with pytest.raises(InputError, match="is an artifact already"):
        export(artifact, tmp_path / "model")
    with pytest.raises(InputError, match="File name too long"):
        export(run, tmp_path / ("x" * 300))
    with pytest.raises(InputError, match="no persona 'zoe'; it knows ada, ben"):
        export(run, tmp_path / "model", persona="zoe")
    with pytest.raises(InputError, match="mixes no personas"):
        export(run, tmp_path / "model", persona="ada:0.5,ben:0.5")


def test_damaged_and_newer_artifacts_are_refused(artifact, tmp_path):
    folder = shutil.copytree(artifact, tmp_path / "copy")
    with pytest.raises(InputError, match="has one step"):
        models.load(folder, 4)

    with (folder / "decode.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"decode\.onnx is not the file that was exported"):
        models.load(folder)
    (folder / "decode.onnx").unlink()
    with pytest.raises(InputError, match=r"lacks decode\.onnx"):
        models.load(folder)

    manifest = folder / "artifact.json"
    known = Artifact.load(folder)
    others = {name: facts for name, facts in known.formats.items() if name != ONNX}
    replace(known, formats=others).save(folder)
    with pytest.raises(InputError, match="has no onnx, only safetensors, stablehlo"):
        runtime.load(folder, ONNX)
    content = json.loads(manifest.read_text())
    content["description"]["resolution"] = 65
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"artifact\.json is damaged .*changed after the export"):
        models.load(folder)
    manifest.write_text(json.dumps(content | {"version": VERSION + 1}))
    with pytest.raises(InputError, match=f"version {VERSION + 1}, newer than {VERSION}"):
        models.load(folder)
    manifest.write_text("{}")
    with pytest.raises(InputError, match=r"artifact\.json is damaged"):
        models.load(folder)


def test_what_was_exported_before_there_were_roles_is_read_and_keeps_its_version(tmp_path):
    mean_artifact(tmp_path / "model")
    manifest = tmp_path / "model" / "artifact.json"
    content = json.loads(manifest.read_text())
    del content["description"]["roles"], content["version"], content["sha256"]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text(json.dumps({"version": 1, "sha256": digest} | content))
    assert Artifact.load(tmp_path / "model").version == digest[:16]
    generator = models.load(tmp_path / "model")
    assert generator.version == digest[:16] and generator.roles == ()


def test_vectors_that_were_changed_are_refused(tmp_path, faceswap):
    folder = tmp_path / "model"
    made = mean_artifact(folder)
    (folder / "vectors").mkdir()
    (folder / "vectors" / "smile.json").write_text("{}")
    replace(made, files=digests_of(folder)).save(folder)
    (folder / "vectors" / "smile.json").write_text("[]")
    edit = ["edit", "a.mp4", "--model", folder, "--persona=ada", "--output=b.mp4"]
    code, _, error = faceswap(*edit, "--weights=smile=1")
    assert code == 2 and "smile.json is not the file that was exported" in error


def test_an_artifact_is_not_written_into(tmp_path, faceswap):
    mean_artifact(tmp_path / "model")
    code, _, error = faceswap("evaluate", "--model", tmp_path / "model", "--data", tmp_path)
    assert code == 2 and "name a folder by --output" in error


def test_names_of_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1" / "a").mkdir(parents=True)
    assert models.named(["lr=0.1/a"]) == {"a": Path("lr=0.1/a")}
    assert models.named(["x=lr=0.1/a", "b/c"]) == {"x": Path("lr=0.1/a"), "c": Path("b/c")}
    for text in ("a b=c", "..=c"):
        with pytest.raises(InputError, match="cannot stand in an address"):
            models.named([text])
    with pytest.raises(InputError, match="Two models are named 'c'"):
        models.named(["b/c", "c=d"])
    with pytest.raises(InputError, match="neither a run nor an artifact"):
        models.load(tmp_path)


@pytest.mark.slow
def test_a_seed_is_the_same_person_in_every_format(tmp_path):
    run, artifact = tmp_path / "run", tmp_path / "artifact"
    write_transfer(run)
    export(run, artifact)
    expected = trained.load(run).sampled(3)
    for kind in FORMATS:
        generator = runtime.load(artifact, kind)
        assert generator.samples
        np.testing.assert_allclose(generator.sampled(3).astype(int), expected, atol=1)
