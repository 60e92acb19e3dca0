"""The verbs `vector` and `edit` with the tiny network."""

import json
import shutil

import numpy as np
import pytest

from faceswap_jax.edit import edit
from faceswap_jax.editing import keyframes, keys
from faceswap_jax.editing.vectors import Vector
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Count
from faceswap_jax.swap import swap
from faceswap_jax.vector import vector
from tests.support.performers import show
from tests.support.tiny_run import FRAMES


def write_keys(folder, performance: int):
    """Two puppets that do the same."""
    folder.mkdir()
    for persona in range(2):
        frame = show(persona, performance)
        path = folder / f"{persona}.png"
        write_picture(path, frame.image)
        write_landmarks(sidecar_path(path), {0: frame.landmarks})
    return keys.from_pictures(folder)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Open mouths and closed ones."""
    folder = tmp_path_factory.mktemp("pictures")
    return write_keys(folder / "open", 1), write_keys(folder / "closed", 0)


@pytest.fixture(scope="module")
def edited(run, sides, tmp_path_factory):
    """The run with a vector, five times as strong as it was made: the network has hardly been trained."""
    workdir = shutil.copytree(run, tmp_path_factory.mktemp("edited") / "run")
    vector(workdir, "mouth_open", *sides)
    path = workdir / "vectors" / "mouth_open.json"
    content = json.loads(path.read_text())
    content["values"] = [100 * value for value in content["values"]]
    path.write_text(json.dumps(content))
    return workdir


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def test_a_vector_says_where_it_comes_from_and_shows_itself(run, sides, tmp_path, capfd):
    workdir = shutil.copytree(run, tmp_path / "run")
    made = vector(workdir, "mouth_open", *sides, method="pca")
    assert made == Vector.load(workdir, "mouth_open")
    assert (made.trait, made.parts, made.method) == ("open against closed", ["face"], "pca")
    assert [key.name for key in made.positive] == ["0.png", "1.png"]
    picture = workdir / "vectors" / "mouth_open.png"
    assert read_picture(picture).shape[1] > 5 * 128
    assert f"2 positive and 2 negative faces; {picture} shows it" in " ".join(
        capfd.readouterr().err.split()
    )


def test_the_sides_exchanged_give_the_opposite(run, sides, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    there, back = vector(workdir, "a", *sides), vector(workdir, "b", *sides[::-1])
    np.testing.assert_allclose(there.values, np.negative(back.values), atol=1e-6)
    assert np.abs(there.values).max() > 0


def test_what_makes_no_vector_is_told_and_leaves_nothing(run, sides):
    for arguments, message in (
        (("a/b", *sides), "cannot be the name"),
        (("smile", *sides, ["mouth"]), "no part 'mouth'; choose of face"),
        (("smile", *sides, [], "median"), "no method 'median'; choose one of mean, pca"),
        (("smile", *sides, [], "mean", 7), "no checkpoint of step 7"),
    ):
        with pytest.raises(InputError, match=message):
            vector(run, *arguments)
    assert not (run / "vectors").exists()


def test_a_weight_of_nothing_is_the_swap_itself(edited, clips, tmp_path):
    plain, unchanged = tmp_path / "plain.mp4", tmp_path / "unchanged.mp4"
    swap(edited, "ada", clips / "ben.mp4", plain)
    curves = keyframes.constant({"mouth_open": 0.0})
    assert edit(edited, "ada", clips / "ben.mp4", unchanged, curves) == Count(FRAMES, 0)
    np.testing.assert_array_equal(images(plain), images(unchanged))


def test_only_the_frames_that_are_edited_change(edited, clips, tmp_path):
    source, plain, output = clips / "ben.mp4", tmp_path / "plain.mp4", tmp_path / "out.mp4"
    path = tmp_path / "edit.json"
    keys = [{"frame": 5, "weight": 0}, {"frame": 6, "weight": 1}]
    path.write_text(json.dumps({"version": 1, "edits": [{"vector": "mouth_open", "keys": keys}]}))
    swap(edited, "ada", source, plain, "none")
    edit(edited, "ada", source, output, keyframes.read(path, source), method="none")
    change = np.abs(images(plain) - images(output)).mean((1, 2, 3))
    # The codec spreads a little of it over the frames before.
    assert change[6:].min() > 3 * change[:4].max()


def test_a_picture_is_edited(edited, clips, tmp_path):
    frame = show(3, 2)
    source = tmp_path / "face.png"
    write_picture(source, frame.image)
    write_landmarks(sidecar_path(source), {0: frame.landmarks})
    results = []
    for weight in (-1.0, 0.0, 1.0):
        output = tmp_path / "out.png"
        edit(edited, "ada", source, output, keyframes.constant({"mouth_open": weight}))
        results.append(read_picture(output).astype(int))
    low, middle, high = results
    assert (low != middle).any() and (middle != high).any()


def test_weights_beyond_one_are_used_with_a_warning(edited, clips, tmp_path, capfd):
    output = tmp_path / "out.mp4"
    edit(edited, "ada", clips / "ben.mp4", output, keyframes.constant({"mouth_open": -1.5}))
    assert "largest weight is 1.5" in capfd.readouterr().err and output.exists()


def test_wrong_edits_are_told_and_leave_nothing(run, edited, clips, tmp_path):
    source, output = clips / "ben.mp4", tmp_path / "out.mp4"
    for workdir, curves, options, message in (
        (edited, keyframes.constant({"grin": 1.0}), {}, "no vector 'grin', there are mouth_open"),
        (run, keyframes.constant({"mouth_open": 1.0}), {}, "no vector 'mouth_open', there is none"),
        (edited, keyframes.constant({"mouth_open": 1.0}), {"step": 6}, "other weights than .* 6"),
        (edited, [keyframes.Curve("mouth_open", 2, [0], [1])], {}, "is to edit face 2"),
    ):
        with pytest.raises(InputError, match=message):
            edit(workdir, "ada", source, output, curves, **options)
    with pytest.raises(InputError, match=r"weight 2\.1; give numbers from -2 to 2"):
        keyframes.constant({"mouth_open": 2.1})
    assert not any(tmp_path.iterdir())
