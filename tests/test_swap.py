"""Swaps with the tiny network: what changes, what does not, and what is told."""

import numpy as np
import pytest

from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Count
from faceswap_jax.people import people
from faceswap_jax.swap import swap
from tests.support.outlines import outside_faces
from tests.support.speech import add_speech, sound_packets
from tests.support.tiny_run import FRAMES, RATE, SIZE


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def write_faceless_picture(path):
    write_picture(path, np.zeros((SIZE, SIZE, 3), np.uint8))
    write_landmarks(sidecar_path(path), {})
    return path


def test_a_clip(run, clips, tmp_path, capfd):
    hidden = (3, 4)
    spoken = add_speech(clips / "ben.mp4", tmp_path / "ben.mp4", FRAMES, FRAMES / RATE, hidden)
    output = tmp_path / "out.mp4"
    assert swap(run, "ada", spoken, output) == Count(FRAMES, 2)
    assert f"out.mp4: {FRAMES} frames, 2 without the face" in capfd.readouterr().err
    info = video.probe(output)
    assert (info.width, info.height, info.frames, float(info.rate)) == (SIZE, SIZE, FRAMES, RATE)
    assert sound_packets(output) == sound_packets(spoken)
    times = [[frame.time for frame in video.read_frames(path)] for path in (spoken, output)]
    np.testing.assert_allclose(*times)

    change = np.abs(images(output) - images(spoken))
    codec = change[list(hidden)].mean()
    assert codec < 1.5
    # 2 x 2 pixels share a colour, and the codec's filters reach a little further.
    assert change[outside_faces(spoken, margin=4)].mean() < 1.5
    assert change[~outside_faces(spoken)].mean() > 5 * codec
    assert {path.name for path in tmp_path.iterdir()} == {
        "ben.mp4",
        sidecar_path(spoken).name,
        "out.mp4",
    }


@pytest.mark.parametrize("method", ["multiband", "poisson", "none"])
def test_a_picture_changes_inside_the_face_only(run, clips, tmp_path, method):
    frame = next(video.read_frames(clips / "ben.mp4"))
    source, output = tmp_path / "ben.png", tmp_path / "out.PNG"
    write_picture(source, frame.image)
    landmarks = SidecarLandmarker(sidecar_path(clips / "ben.mp4"))(None, 0)[0].landmarks
    write_landmarks(sidecar_path(source), {0: landmarks})
    assert swap(run, "ada", source, output, method) == Count(1, 0)
    before, after = read_picture(source), read_picture(output)
    assert after.shape == before.shape
    changed = (before != after).any(axis=-1)
    polygon = align.polygon_mask(align.face_polygon(landmarks), SIZE, SIZE) > 0
    assert not changed[~polygon].any()
    assert changed[polygon].mean() > 0.5


def test_wrong_inputs_are_told(run, clips, tmp_path):
    clip, output = clips / "ben.mp4", tmp_path / "out.mp4"
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    missing = tmp_path / "no" / "out.mp4"
    picture = write_faceless_picture(tmp_path / "picture.png")
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        ((run, "eve", clip, output), "'eve'.* ada, ben"),
        ((run, None, clip, output), "a --persona, or pictures of somebody"),
        ((clips, "ada", clip, output), f"{clips}.* holds neither a run nor an artifact"),
        ((run, "ada", clip, output, "paste"), "'paste'.* multiband, none, poisson"),
        ((run, "ada", clip, tmp_path / "out.gif"), "out.gif.* .mp4, .mov, .mkv"),
        ((run, "ada", picture, output), "out.mp4.* .*png"),
        ((run, "ada", clip, missing), f"{missing.parent}.* does not exist"),
        ((run, "ada", clip, folder), f"{folder}.* is a folder"),
        ((run, "ada", clip, clip), f"{clip}.* is the input itself.*--output"),
        ((run, "ada", tmp_path / "nowhere.mp4", output), "nowhere.mp4 does not exist"),
        ((run, "ada", picture, tmp_path / "out.png"), "picture.png shows no face"),
        ((run, None, clip, output, "none", None, [picture]), f"{picture} shows no face"),
    ):
        with pytest.raises(InputError, match=message):
            swap(*arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_faces_that_cannot_be_chosen_are_told(run, clips, tmp_path):
    clip, output = clips / "ben.mp4", tmp_path / "out.mp4"
    picture = write_faceless_picture(tmp_path / "picture.png")
    before = sorted(tmp_path.rglob("*"))
    for persona, choice, message in (
        ("ada", {"face": 1}, f"{clip} has no face 1, only face 0; 'faceswap people"),
        (None, {"personas": {0: "ada", 3: "ben"}}, f"{clip} has no face 3, only face 0"),
        (None, {"personas": {0: "eve"}}, "'eve'.* ada, ben"),
        ("ada", {"personas": {0: "ben"}}, "--personas says .* leave --persona"),
        ("ada", {"reference": picture}, f"{picture} shows no face; give another"),
        ("ada", {"reference": tmp_path / "nobody.png"}, "nobody.png does not exist"),
        ("ada", {"face": 0, "reference": picture}, "in one way: with --face, --reference"),
        ("ada", {"outline": "outer"}, "'outer'.* hull, inner"),
    ):
        with pytest.raises(InputError, match=message):
            swap(run, persona, clip, output, **choice)
    assert sorted(tmp_path.rglob("*")) == before


def test_two_people_in_one_pass(run, tmp_path, capfd):
    """Each keeps to the own half of the picture; who was not chosen stays."""
    halves = [render_frame(3, persona, 0, 0, 192).image for persona in (1, 4)]
    source = tmp_path / "two.png"
    write_picture(source, np.concatenate(halves, 1))
    before = read_picture(source).astype(int)

    changes = []
    for choice in (
        {"personas": {0: "ada", 1: "ben"}},
        {"persona": "ada", "face": 0},
        {"persona": "ben", "face": 1},
        {"persona": "ada"},
    ):
        output = tmp_path / "out.png"
        persona = choice.pop("persona", None)
        assert swap(run, persona, source, output, "none", **choice) == Count(1, 0)
        changes.append(read_picture(output) - before)

    both, first, second, largest = changes
    np.testing.assert_array_equal(both, first + second)
    np.testing.assert_array_equal(largest, first)
    assert first.any() and second.any()
    assert first[:, :192].any() != first[:, 192:].any()
    assert capfd.readouterr().err.count("shows 2 people; face 0") == 1


def test_the_people_of_a_picture_are_shown(tmp_path, capfd):
    halves = [render_frame(3, persona, 0, 0, 192).image for persona in (1, 4)]
    source, output = tmp_path / "two.png", tmp_path / "people.png"
    write_picture(source, np.concatenate(halves, 1))
    assert len(people(source, output)) == 2
    told = capfd.readouterr().err
    assert "face 0: 1 frames" in told and "face 1: 1 frames" in told
    assert read_picture(output).shape[0] >= 2 * 128
    with pytest.raises(InputError, match=r"people\.mp4.*png"):
        people(source, tmp_path / "people.mp4")


def test_a_clip_without_a_face_leaves_no_file(run, clips, tmp_path):
    clip = add_speech(clips / "ben.mp4", tmp_path / "ben.mp4", FRAMES, 0.1, range(FRAMES))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=f"{FRAMES} frames shows a face"):
        swap(run, "ada", clip, tmp_path / "out.mp4")
    assert sorted(tmp_path.iterdir()) == before
