"""Two pictures or clips of puppets, compared."""

import dataclasses
import json

import numpy as np
import pytest

from data_pipelines.puppets.parameters import Performance, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.compare import compare
from faceswap_jax.evaluation.expression import GROUPS
from faceswap_jax.evaluation.likeness import SCORES, mean_of
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from tests.support.bench import SEEN

REST = Performance()
LAUGH = dataclasses.replace(REST, smile=0.9, mouth_open=0.6, yaw=8.0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ada at rest, Ada laughing, Ben at rest; exact landmarks beside them."""
    folder = tmp_path_factory.mktemp("pictures")
    scene = sample_scene(0, 0, 0)
    shown = {"ada": (0, REST), "laughing": (0, LAUGH), "ben": (1, REST)}
    for name, (puppet, performance) in shown.items():
        frame = render(sample_persona(0, puppet), performance, scene, 192)
        path = folder / f"{name}.png"
        write_picture(path, frame.image)
        write_landmarks(sidecar_path(path), {0: frame.landmarks})
    return folder


def means(likeness):
    return {name: mean_of(values) for name, values in likeness.values.items()}


@pytest.fixture(scope="module")
def likenesses(pictures):
    """Ada at rest against each of these pictures."""
    names = ("ada", "laughing", "ben")
    return {name: compare(pictures / "ada.png", pictures / f"{name}.png") for name in names}


def test_a_picture_is_like_itself(likenesses):
    likeness = likenesses["ada"]
    assert likeness.values.keys() == SCORES.keys()
    values = means(likeness)
    for judge in ("SFace", "dlib"):
        assert values[f"cosine by {judge}"] == pytest.approx(1, abs=1e-5)
    for name in ("distance by dlib", "yaw", "pitch", "roll", *(f"{g} difference" for g in GROUPS)):
        assert values[name] == 0
    for place in ("face", "frame"):
        assert values[f"{place} psnr"] == 100
        for name in ("ssim", "ms_ssim", "sharpness"):
            assert values[f"{place} {name}"] == pytest.approx(1, abs=1e-5)
    assert all(verdict.same for verdict in likeness.verdicts)
    assert all(signal.difference == 0 for signal in likeness.signals.values())

    # A picture has no motion, and nothing that it does differs.
    (heads, lines), (_, deeds) = likeness.tables()
    assert heads == ["score", "better", "value"]
    assert not [line for line in lines if "correlation" in line[0] or "amplitude" in line[0]]
    assert [deed[0] for deed in deeds] == ["yaw (deg)", "pitch (deg)", "roll (deg)"]


def test_another_expression_is_told_from_another_person(likenesses):
    laughing, ben = (means(likenesses[name]) for name in ("laughing", "ben"))
    for judge in ("SFace", "dlib"):
        assert ben[f"cosine by {judge}"] < laughing[f"cosine by {judge}"] < 1
    assert 0 < laughing["distance by dlib"] < ben["distance by dlib"]
    assert laughing["yaw"] == pytest.approx(8, abs=2) and ben["yaw"] < 2
    assert laughing["mouth difference"] > 0.03
    assert laughing["face ssim"] < 0.8 and laughing["face psnr"] < laughing["frame psnr"]

    signals = likenesses["laughing"].signals
    smile = signals["mouthSmileLeft"]
    assert smile.b > smile.a + 0.1
    assert smile.difference == pytest.approx(smile.b - smile.a)
    told = [deed[0] for deed in likenesses["laughing"].tables()[1][1]]
    assert any(name.startswith("mouthSmile") for name in told)


def test_what_is_written(pictures, tmp_path, capfd):
    output = tmp_path / "compared"
    likeness = compare(pictures / "ada.png", pictures / "ben.png", output)
    assert sorted(path.name for path in output.iterdir()) == [
        "difference.png",
        "scores.json",
        "scores.md",
    ]
    content = json.loads((output / "scores.json").read_text())
    assert content["a"].endswith("ada.png") and content["pairs"] == 1
    assert content["scores"].keys() == SCORES.keys()
    assert content["scores"]["face ssim"]["mean"] == means(likeness)["face ssim"]
    assert content["scores"]["jaw correlation"]["mean"] is None
    assert content["same_person"].keys() == {"SFace", "dlib"}
    assert "| SSIM of the face | higher |" in (output / "scores.md").read_text()
    # Two faces and two maps, under their heads and above the legend
    height, width, _ = read_picture(output / "difference.png").shape
    assert width > 4 * 256 and height > 256
    said = capfd.readouterr().err
    assert "cosine by SFace" in said and "difference.png: " in said

    with pytest.raises(InputError, match="is there already"):
        compare(pictures / "ada.png", pictures / "ben.png", output)


def test_clips_are_compared_by_time(large, tmp_path, capfd):
    folder, perfect = large
    target = folder / "ben.mp4"
    itself = means(compare(target, target))
    assert itself["mouth correlation"] == pytest.approx(1)
    assert itself["mouth amplitude"] == pytest.approx(1)
    assert itself["yaw"] == itself["jaw difference"] == 0 and itself["frame psnr"] == 100
    assert capfd.readouterr().err.count(" left out") == 0

    # Ada's face on Ben's performance; every other frame of it, as numbered pictures
    swapped = means(compare(target, perfect))
    assert 0.4 < swapped["mouth correlation"] < 1 and swapped["yaw"] < 8
    assert swapped["cosine by SFace"] < itself["cosine by SFace"]
    assert swapped["face ssim"] < swapped["frame ssim"] < 1
    pictures = tmp_path / "shot"
    pictures.mkdir()
    for frame in video.read_frames(perfect):
        if frame.index % 2 == 0 and frame.index < 8:
            write_picture(pictures / f"s.{frame.index // 2:04d}.png", frame.image)
    rate = video.probe(target).rate / 2
    output = tmp_path / "compared"
    likeness = compare(target, pictures / f"s.%04d.png@{float(rate):g}", output)
    assert [(pair.a, pair.b) for pair in likeness.pairs] == [(0, 0), (2, 1), (4, 2), (6, 3)]
    assert likeness.values["face ssim"].shape == (4,)
    assert "left out" in capfd.readouterr().err
    assert likeness.tables()[0][0] == ["score", "better", "mean", "least", "most"]
    # A line for the moments most and least alike, and one between
    assert 3 * 256 < len(read_picture(output / "difference.png")) < 4 * 256


def with_faces(clip, path, numbers):
    """The same clip with a face in these frames alone."""
    path.symlink_to(clip)
    landmarker = SidecarLandmarker(sidecar_path(clip))
    faces = {number: landmarker(None, number)[0].landmarks for number in numbers}
    write_landmarks(sidecar_path(path), faces)
    return path


def test_frames_without_a_face_are_not_compared(large, pictures, tmp_path, capfd):
    folder, _ = large
    beginning = with_faces(folder / "ada.mp4", tmp_path / "beginning.mp4", range(3))
    likeness = compare(pictures / "ada.png", beginning)
    assert [(pair.a, pair.b) for pair in likeness.pairs] == [(0, 0), (0, 1), (0, 2)]
    assert np.isfinite(likeness.values["yaw"]).all()
    assert f"3 of {SEEN} pairs of frames" in capfd.readouterr().err

    # Faces that were found upside down are told.
    turned = tmp_path / "turned.mp4"
    turned.symlink_to(folder / "ada.mp4")
    landmarker = SidecarLandmarker(sidecar_path(beginning))
    faces = {number: landmarker(None, number)[0].landmarks for number in range(3)}
    faces[1] = 2 * faces[1].mean(0) - faces[1]
    write_landmarks(sidecar_path(turned), faces)
    compare(pictures / "ada.png", turned)
    assert "In 1 of 3 pairs one face stands on its head" in capfd.readouterr().err

    end = with_faces(folder / "ada.mp4", tmp_path / "end.mp4", [SEEN - 1])
    with pytest.raises(InputError, match=r"At no time do .*beginning.mp4 and .*end.mp4 both show"):
        compare(beginning, end)
