"""Whole pictures of a toy's own, from the command line on: a playable clip, and what is told."""

import numpy as np
import pytest

from faceswap_jax import cli
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Count
from faceswap_jax.reenact import reenact
from faceswap_jax.swap import swap
from faceswap_jax.train import train
from tests.support import toy_images
from tests.support.speech import add_speech, sound_packets
from tests.support.tiny_run import FRAMES, RATE

SIDE = toy_images.RESOLUTION


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A toy that sees, turns its head, and hears."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert train(toy_images.config("whole", ("crops", "pose", "sound")), workdir)
    return workdir


@pytest.fixture(scope="module")
def spoken(clips, tmp_path_factory):
    """A clip with sound whose first frames lack a face."""
    path = tmp_path_factory.mktemp("spoken") / "ben.mp4"
    return add_speech(clips / "ben.mp4", path, FRAMES, FRAMES / RATE, hidden=(0, 1))


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def test_a_clip_from_the_command_line(whole_run, spoken, tmp_path, capfd):
    outputs = [tmp_path / f"{name}.mp4" for name in toy_images.PERSONAS]
    for name, output in zip(toy_images.PERSONAS, outputs, strict=True):
        flags = [f"--workdir={whole_run}", f"--persona={name}", f"--output={output}"]
        assert cli.main(["reenact", str(spoken), *flags]) == 0
    assert f"ben.mp4: {FRAMES} frames, 2 without the face" in capfd.readouterr().err
    info = video.probe(outputs[0])
    assert (info.width, info.height, info.frames, float(info.rate)) == (SIDE, SIDE, FRAMES, RATE)
    assert sound_packets(outputs[0]) == sound_packets(spoken)
    times = [[frame.time for frame in video.read_frames(path)] for path in (spoken, outputs[0])]
    np.testing.assert_allclose(*times)
    ada, ben = map(images, outputs)
    assert np.abs(ada - ben).mean() > 3  # of 255
    assert np.abs(np.diff(ada[2:], axis=0)).mean((1, 2, 3)).min() > 0.1  # the face moves


def test_somebody_from_a_picture(whole_run, clips, spoken, tmp_path):
    source = tmp_path / "ada.png"
    write_picture(source, next(video.read_frames(clips / "ada.mp4")).image)
    face = SidecarLandmarker(sidecar_path(clips / "ada.mp4"))(None, 0)[0]
    write_landmarks(sidecar_path(source), {0: face.landmarks})
    output = tmp_path / "out.png"
    assert reenact(whole_run, None, source, output, pictures=[source]) == Count(1, 0)
    assert read_picture(output).shape == (SIDE, SIDE, 3)
    assert reenact(whole_run, None, source, output, pictures=[clips / "ben.mp4"]) == Count(1, 0)


def test_each_verb_refuses_the_other_placement(run, whole_run, clips, tmp_path):
    clip, output = clips / "ben.mp4", tmp_path / "out.mp4"
    with pytest.raises(InputError, match=f"{whole_run}.*faceswap reenact"):
        swap(whole_run, "ada", clip, output)
    with pytest.raises(InputError, match=f"{run}.*faceswap swap"):
        reenact(run, "ada", clip, output)
    assert not list(tmp_path.iterdir())


def test_a_wrong_output_is_told_before_a_run_is_read(clips, tmp_path):
    with pytest.raises(InputError, match=r"out\.gif"):
        reenact(tmp_path / "nowhere", "ada", clips / "ben.mp4", tmp_path / "out.gif")
