"""Whole pictures of a toy's own, from the command line on: a playable clip, and what is told."""

import os
import shutil
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from faceswap_jax import cli
from faceswap_jax.editing.control import Control
from faceswap_jax.errors import InputError
from faceswap_jax.faces import mel, mouth, video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Coding, Count, reenact_clip
from faceswap_jax.inference.trained import load
from faceswap_jax.reenact import reenact
from faceswap_jax.swap import swap
from faceswap_jax.train import train
from tests.support import toy_images
from tests.support.generators import PixelGenerator
from tests.support.hdr import write_deep
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
def seeing_run(tmp_path_factory):
    """A toy that sees alone."""
    workdir = tmp_path_factory.mktemp("seeing") / "run"
    assert train(toy_images.config("whole", ("crops",)), workdir)
    return workdir


@pytest.fixture(scope="module")
def spoken(clips, tmp_path_factory):
    """A clip with sound whose first frames lack a face."""
    path = tmp_path_factory.mktemp("spoken") / "ben.mp4"
    return add_speech(clips / "ben.mp4", path, FRAMES, FRAMES / RATE, hidden=(0, 1))


def speech_file(path) -> Path:
    """A second of sound: first silence, then noise."""
    samples = np.random.default_rng(0).normal(scale=3000, size=16000).astype(np.int16)
    samples[:8000] = 0
    return write_sound(path, samples)


def write_sound(path, samples) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


@pytest.fixture
def picture(clips, tmp_path):
    """A picture of ada."""
    path = tmp_path / "ada.png"
    write_picture(path, next(video.read_frames(clips / "ada.mp4")).image)
    face = SidecarLandmarker(sidecar_path(clips / "ada.mp4"))(None, 0)[0]
    write_landmarks(sidecar_path(path), {0: face.landmarks})
    return path


def test_a_clip_from_the_command_line(whole_run, spoken, tmp_path, capfd):
    outputs = [tmp_path / f"{name}.mp4" for name in toy_images.PERSONAS]
    for name, output in zip(toy_images.PERSONAS, outputs, strict=True):
        flags = [f"--workdir={whole_run}", f"--persona={name}", f"--output={output}"]
        assert cli.main(["reenact", f"--drive={spoken}", *flags]) == 0
    assert f"ben.mp4: {FRAMES} frames, 2 without the face" in capfd.readouterr().err
    info = video.probe(outputs[0])
    assert (info.width, info.height, info.frames, float(info.rate)) == (SIDE, SIDE, FRAMES, RATE)
    assert sound_packets(outputs[0]) == sound_packets(spoken)
    times = [[frame.time for frame in video.read_frames(path)] for path in (spoken, outputs[0])]
    np.testing.assert_allclose(*times)
    ada, ben = map(images, outputs)
    assert np.abs(ada - ben).mean() > 3  # of 255
    assert np.abs(np.diff(ada[2:], axis=0)).mean((1, 2, 3)).min() > 0.1  # the face moves


def test_somebody_from_pictures_and_clips(whole_run, clips, picture, tmp_path):
    output = tmp_path / "out.png"
    assert reenact(whole_run, [picture], picture, output) == Count(1, 0)
    assert read_picture(output).shape == (SIDE, SIDE, 3)
    assert reenact(whole_run, [picture, clips / "ben.mp4"], picture, output) == Count(1, 0)


def test_numbered_pictures_drive_and_are_written(whole_run, clips, tmp_path):
    drive = tmp_path / "ben.%04d.png"
    for frame in video.read_frames(clips / "ben.mp4"):
        write_picture(tmp_path / f"ben.{frame.index:04d}.png", frame.image)
    sidecar_path(drive).write_bytes(sidecar_path(clips / "ben.mp4").read_bytes())
    flags = [f"--workdir={whole_run}", "--persona=ada", f"--drive={drive}", "--fps=23.976"]
    for output in ("out.mp4", "out.%02d.exr"):
        assert cli.main(["reenact", *flags, f"--output={tmp_path / output}"]) == 0
    clip, pictures = tmp_path / "out.mp4", tmp_path / "out.%02d.exr"
    assert video.probe(clip).rate == Fraction(24000, 1001)
    assert images(pictures).shape == (FRAMES, SIDE, SIDE, 3)
    assert np.abs(images(pictures) - images(clip)).mean() < 3


def test_a_clip_in_hdr_drives_sdr_images(seeing_run, clips, picture, tmp_path):
    shown = [frame.image for frame in video.read_frames(clips / "ben.mp4")]
    driving = write_deep(tmp_path / "ben.mp4", shown)
    shutil.copy(sidecar_path(clips / "ben.mp4"), sidecar_path(driving))
    plain, output, prores = (tmp_path / name for name in ("plain.mp4", "out.mp4", "out.mov"))
    reenact(seeing_run, [picture], clips / "ben.mp4", plain)
    reenact(seeing_run, [picture], driving, output)
    reenact(seeing_run, [picture], driving, prores, coding=Coding("prores"))
    for path in (output, prores):
        info = video.probe(path)
        assert info.tags == (1, 1, 1) and info.layout.bits == (8 if path == output else 10)
        assert np.abs(images(path) - images(plain)).mean() < 5


def test_an_open_mouth_is_the_performers_inside(whole_run, picture, clips, tmp_path):
    outputs = [tmp_path / f"{name}.png" for name in ("plain", "restored")]
    flags = [f"--workdir={whole_run}", "--persona=ben", f"--drive={picture}"]
    for output, more in zip(outputs, ([], ["--restore_mouth"]), strict=True):
        assert cli.main(["reenact", *flags, *more, f"--output={output}"]) == 0
    plain, restored = map(read_picture, outputs)
    face = SidecarLandmarker(sidecar_path(picture))(None, 0)[0]
    expected = mouth.restore(plain, read_picture(picture), face.landmarks, "stable")
    assert (restored == expected).all() and (restored != plain).any()
    hearing = PixelGenerator(np.copy, SIDE, placement="whole", inputs=("sound",))
    with pytest.raises(InputError, match="only hears the performer; leave --restore_mouth out"):
        reenact_clip(hearing, None, picture, tmp_path / "heard.png", restores_mouth=True)


def test_a_painting_on_the_embedded_face_moves_with_it(whole_run, clips, picture, tmp_path):
    """It serves another identity, too."""
    face, clip = tmp_path / "face.png", clips / "ben.mp4"
    flags = [f"--workdir={whole_run}", f"--write_embedded={face}"]
    assert cli.main(["reenact", str(picture), *flags]) == 0
    embedded = read_picture(face)
    assert embedded.shape == (SIDE, SIDE, 3) and np.ptp(embedded) > 50
    overlay = np.zeros((SIDE, SIDE, 4), np.uint8)
    overlay[:8, :8] = (255, 0, 0, 255)
    painting = tmp_path / "painting.png"
    PIL.Image.fromarray(overlay).save(painting)
    for name, source in (("ada", picture), ("ben", clip)):
        plain, painted = (tmp_path / f"{name}_{kind}.mp4" for kind in ("plain", "painted"))
        reenact(whole_run, [source], clip, plain)
        reenact(whole_run, [source], clip, painted, overlay=painting, embedded=face)
        before, after = images(plain), images(painted)
        red = after[:, :8, :8]
        assert (red[..., 0] > red[..., 1] + 20).mean() > 0.9
        assert np.abs(after - before)[:, 16:, 16:].mean() < 4  # H.264
        assert (read_picture(face)[:8, :8] == (255, 0, 0)).all()


def test_a_head_is_turned_by_a_table(seeing_run, data, picture, tmp_path, capfd):
    """Of the fitted control's latents, yaw is made the brightness, so that it can be seen."""
    assert cli.main(["fit-control", f"--workdir={seeing_run}", f"--data={data}"]) == 0
    assert f"control.json: from {2 * (FRAMES - 1)} faces; mean errors" in capfd.readouterr().err
    fitted = Control.load(seeing_run)
    fitted.check(load(seeing_run))
    bright = [[0.01] * 16, [0.0] * 16, [0.0] * 16]
    control = replace(fitted, to_latents=bright, reach=[(-90, 90)] * 3)
    control.save(seeing_run)
    table = tmp_path / "poses.csv"
    table.write_text("time,yaw,pitch,roll\n0,-40,0,0\n1,40,0,0\n")
    output = tmp_path / "turned.mp4"
    flags = [f"--workdir={seeing_run}", f"--drive={table}", f"--output={output}"]
    assert cli.main(["reenact", str(picture), *flags]) == 0
    info = video.probe(output)
    assert (info.frames, info.rate, info.has_audio) == (26, 25, False)
    brightness = images(output).mean((1, 2, 3))
    assert (np.diff(brightness) > -0.5).all() and brightness[-1] > brightness[0] + 30

    # By sound, of which this control has none
    sound = speech_file(tmp_path / "speech.wav")
    spoken = [f"--workdir={seeing_run}", f"--drive={sound}", f"--output={tmp_path / 'spoken.mkv'}"]
    replace(control, by_sound=[]).save(seeing_run)
    assert cli.main(["reenact", str(picture), *spoken]) == 2
    assert "too little sound" in capfd.readouterr().err
    loud = np.full((mel.STEPS * mel.BANDS, 16), 0.001)
    replace(control, by_sound=loud.tolist()).save(seeing_run)
    assert cli.main(["reenact", str(picture), *spoken]) == 0
    info = video.probe(tmp_path / "spoken.mkv")
    assert (info.frames, info.rate, info.has_audio) == (25, 25, True)
    assert sound_packets(tmp_path / "spoken.mkv")
    brightness = images(tmp_path / "spoken.mkv").mean((1, 2, 3))
    assert brightness[15:22].min() > brightness[3:10].max() + 5
    control.save(seeing_run)

    # As far as faces are known
    table.write_text("time,yaw,pitch,roll\n0,0,0,0\n1,0,100,0\n")
    with pytest.raises(InputError, match=f"{table}.* pitch from 0 to 100.* -90.0 to 90.0"):
        reenact(seeing_run, [picture], table, output)
    replace(control, digest="0" * 16).save(seeing_run)
    with pytest.raises(InputError, match="weights of step 2"):
        reenact(seeing_run, [picture], table, output)


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ((), {"driving": "ben.mp4", "output": "out.mp4"}, "who is to be shown"),
        (["ada.png"], {"persona": "ada", "embedded": "face.png"}, "who is to be shown"),
        (["ada.png"], {}, "--drive and --output, or --write_embedded"),
        (["ada.png"], {"driving": "ben.mp4"}, "belong together"),
        (["ada.png"], {"output": "out.mp4"}, "what to do"),
        (["ada.png"], {"embedded": "face.mp4"}, r"face\.mp4.* \.png"),
        (
            ["ada.png"],
            {"driving": "poses.csv", "output": "out.mp4", "restores_mouth": True},
            "--restore_mouth takes the mouth of a performer.* picture or clip",
        ),
        (["ada.png"], {"driving": "poses.csv", "output": "out.png"}, r"out\.png.* \.mp4"),
        ((), {"persona": "ada", "driving": "poses.csv", "output": "out.mp4"}, "give a picture"),
        (["ada.png"], {"driving": "poses.csv", "output": "out.mp4"}, "poses.csv does not exist"),
        (["ada.png"], {"driving": "mute.wav", "output": "out.mp4"}, "mute.wav has no sound"),
    ],
)
def test_what_makes_no_sense_is_told_before_a_run_is_read(
    clips, tmp_path, monkeypatch, sources, options, message
):
    monkeypatch.chdir(tmp_path)
    os.symlink(clips / "ben.mp4", "ben.mp4")
    write_sound(Path("mute.wav"), np.zeros(0, np.int16))
    files = ("driving", "output", "embedded")
    paths = {name: Path(value) if name in files else value for name, value in options.items()}
    with pytest.raises(InputError, match=message):
        reenact(tmp_path / "nowhere", [Path(source) for source in sources], **paths)


def test_what_the_run_cannot_do_is_told(whole_run, picture, tmp_path):
    table, face = tmp_path / "poses.csv", tmp_path / "face.png"
    table.write_text("time,yaw,pitch,roll\n0,0,0,0\n")
    with pytest.raises(InputError, match=f"{whole_run}' has no control.*fit-control"):
        reenact(whole_run, [picture], table, tmp_path / "out.mp4")
    small = tmp_path / "small.png"
    PIL.Image.new("RGBA", (8, 4)).save(small)
    with pytest.raises(InputError, match=rf"{small} has 8 x 4 px.* {SIDE} x {SIDE}"):
        reenact(whole_run, [picture], embedded=face, overlay=small)
    PIL.Image.new("RGB", (SIDE, SIDE)).save(small)
    with pytest.raises(InputError, match=f"{small} has no transparency"):
        reenact(whole_run, [picture], embedded=face, overlay=small)
    grey = tmp_path / "grey.png"
    write_picture(grey, np.full((64, 64, 3), 128, np.uint8))
    with pytest.raises(InputError, match=f"{grey} shows no face"):
        reenact(whole_run, [grey], embedded=face)
    assert not face.exists()


def test_each_verb_refuses_the_other_placement(run, whole_run, clips, tmp_path):
    clip, output = clips / "ben.mp4", tmp_path / "out.mp4"
    with pytest.raises(InputError, match=f"{whole_run}.*faceswap reenact"):
        swap(whole_run, "ada", clip, output)
    with pytest.raises(InputError, match=f"{run}.*faceswap swap"):
        reenact(run, (), clip, output, persona="ada")
    assert not list(tmp_path.iterdir())


def test_a_wrong_output_is_told_before_a_run_is_read(clips, tmp_path):
    with pytest.raises(InputError, match=r"out\.gif"):
        reenact(tmp_path / "nowhere", (), clips / "ben.mp4", tmp_path / "out.gif", persona="ada")
