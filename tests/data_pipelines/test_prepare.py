"""Tests of `prepare` on small puppet clips with their landmarks beside them."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from data_pipelines import prepare as module
from data_pipelines.prepare import prepare
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import MANIFEST, Clip, Manifest, decode, open_source
from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.video import write_picture

FRAMES, SIZE = 6, 64


@pytest.fixture(scope="module")
def puppet(tmp_path_factory) -> Path:
    """A clip of six frames, all with a face."""
    path = tmp_path_factory.mktemp("clips") / "ann.mp4"
    write_clip(path, world_seed=0, persona=0, track=0, frames=FRAMES, size=SIZE)
    return path


def copy_clip(clip: Path, to: Path) -> Path:
    shutil.copy(clip, to)
    shutil.copy(sidecar_path(clip), sidecar_path(to))
    return to


def faces(frames=range(FRAMES)) -> dict[int, np.ndarray]:
    return {frame: render_frame(0, 0, 0, frame, SIZE).landmarks for frame in frames}


def write_face_picture(path: Path) -> None:
    frame = render_frame(0, 0, 0, 0, SIZE)
    write_picture(path, frame.image)
    write_landmarks(sidecar_path(path), {0: frame.landmarks})


def stored(directory: Path, persona: str) -> list:
    source = open_source(directory, persona)
    return [decode(source[i]) for i in range(len(source))]


def test_a_file_and_a_folder(puppet, tmp_path, capsys):
    folder = tmp_path / "bob [1]"  # square brackets must not be taken for markup
    folder.mkdir()
    clip = copy_clip(puppet, folder / "a.mp4")
    landmarks = faces([0, 1, 3, 4, 5])
    landmarks[4] = landmarks[4] + [SIZE / 2, 0]
    write_landmarks(sidecar_path(clip), landmarks)
    write_face_picture(folder / "b.PNG")
    (folder / "notes.txt").write_text("not a clip")
    (folder / "._a.mp4").write_text("what another system keeps about a.mp4")

    output = tmp_path / "new" / "data"
    manifest = prepare([puppet, folder], output, resolution=32)

    assert Manifest.load(output) == manifest
    assert manifest.resolution == 32
    assert manifest.personas["ann"].clips == [Clip("ann.mp4", FRAMES, FRAMES, {})]
    assert manifest.personas["bob [1]"].clips == [
        Clip("a.mp4", FRAMES, 4, {"no face": 1, "face leaves the frame": 1}),
        Clip("b.PNG", 1, 1, {}),
    ]
    assert [record.frame for record in stored(output, "ann")] == list(range(FRAMES))
    bob = stored(output, "bob [1]")
    where = [(record.persona, record.clip, record.track, record.frame) for record in bob]
    assert where == [
        ("bob [1]", *rest)
        for rest in (("a.mp4", 0, 0), ("a.mp4", 0, 1), ("a.mp4", 1, 3), ("a.mp4", 2, 5), ("b.PNG", 0, 0))
    ]
    assert all(record.image.shape == (32, 32, 3) and record.image.std() > 10 for record in bob)
    np.testing.assert_allclose(bob[4].landmarks, bob[0].landmarks, atol=0.05)
    assert np.abs(bob[4].image.astype(int) - bob[0].image).mean() < 8  # the picture and the clip's first frame

    text = capsys.readouterr().err
    assert "skipped notes.txt" in text and "._a" not in text and "landmarks.csv" not in text
    assert "bob [1]" in text.splitlines()[-2] and "1 no face, 1 face leaves the frame" in text.splitlines()[-2]
    assert [path.name for path in output.parent.iterdir()] == ["data"]
    assert sorted(path.name for path in output.iterdir()) == ["ann.arrayrecord", "bob [1].arrayrecord", MANIFEST]


def test_the_current_folder_has_a_name(puppet, tmp_path, monkeypatch):
    folder = tmp_path / "eve"
    folder.mkdir()
    write_face_picture(folder / "a.png")
    monkeypatch.chdir(folder)
    assert list(prepare([Path(".")], tmp_path / "data", 16).personas) == ["eve"]


def test_progress_on_a_terminal(puppet, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    prepare([puppet], tmp_path / "data", 16)
    assert f"{FRAMES}/{FRAMES}" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_visible_before_the_end(puppet, tmp_path, monkeypatch, failure):
    original = module.face_tracks

    def interrupted(*args):
        for count, outcome in enumerate(original(*args)):
            if count == 3:
                assert not (tmp_path / "data").exists()
                raise failure
            yield outcome

    monkeypatch.setattr(module, "face_tracks", interrupted)
    with pytest.raises(failure):
        prepare([puppet], tmp_path / "data", 16)
    assert not list(tmp_path.iterdir())


def test_an_empty_output_folder_is_used(puppet, tmp_path):
    prepare([puppet], tmp_path, 16)
    assert (tmp_path / MANIFEST).exists()


def test_an_occupied_output_is_left_alone(puppet, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        prepare([puppet], tmp_path, 16)
    with pytest.raises(InputError, match=r"mine\.txt exists and is not an empty folder"):
        prepare([puppet], tmp_path / "mine.txt", 16)
    with pytest.raises(InputError, match="cannot be written"):
        prepare([puppet], tmp_path / "mine.txt" / "data", 16)
    prepare([puppet], tmp_path / "data", 16)
    before = (tmp_path / "data" / MANIFEST).read_bytes()
    with pytest.raises(InputError, match="already holds a finished data set"):
        prepare([puppet], tmp_path / "data", 32)
    assert (tmp_path / "data" / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("resolution", [0, -16, 8, 100, 2048])
def test_bad_resolution(puppet, tmp_path, resolution):
    with pytest.raises(InputError, match=f"Resolution {resolution} is not a power of two between 16 and 1024"):
        prepare([puppet], tmp_path / "data", resolution)


def test_bad_inputs(puppet, tmp_path):
    """Each is told in one sentence, and none leaves anything behind."""
    sound = tmp_path / "sound.mp4"
    with av.open(sound, "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    (tmp_path / "ann").mkdir()
    write_face_picture(tmp_path / "ann" / "a.png")
    faceless = copy_clip(puppet, tmp_path / "faceless.mp4")
    write_landmarks(sidecar_path(faceless), {})
    inputs = tmp_path, sorted(tmp_path.rglob("*"))

    for names, problem in {
        (): "There is no input",
        ("gone.mp4",): r"gone\.mp4 does not exist",
        ("text.mp4",): r"text\.mp4 is damaged or not a video",
        ("sound.mp4",): r"sound\.mp4 has no video",
        ("empty",): "empty holds no clip or picture",
        ("texts",): "texts holds no clip or picture",
        ("ann", str(puppet)): "second input for persona ann",
        ("faceless.mp4",): "None of the 6 frames of persona faceless",
        (str(puppet), "faceless.mp4"): "None of the 6 frames of persona faceless",
    }.items():
        with pytest.raises(InputError, match=problem) as error:
            prepare([tmp_path / name for name in names], tmp_path / "data", 16)
        assert "\n" not in str(error.value)
    assert inputs == (tmp_path, sorted(tmp_path.rglob("*")))
