"""The verbs `vector` and `edit` with the tiny network."""

import json
import re
import shutil

import numpy as np
import pytest

from faceswap_jax import cli
from faceswap_jax.edit import edit
from faceswap_jax.editing import keys
from faceswap_jax.editing.vectors import Vector
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Count
from faceswap_jax.swap import swap
from faceswap_jax.vector import vector
from tests.support.performers import show


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
    """Finds open mouths and closed ones."""
    folder = tmp_path_factory.mktemp("pictures")
    found = write_keys(folder / "open", 1), write_keys(folder / "closed", 0)
    return lambda: found


@pytest.fixture(scope="module")
def edited(run, sides, tmp_path_factory):
    """The run with a vector, a hundred times as strong as it was made: the network has hardly been trained."""
    workdir = shutil.copytree(run, tmp_path_factory.mktemp("edited") / "run")
    vector(workdir, "mouth_open", sides)
    path = workdir / "vectors" / "mouth_open.json"
    content = json.loads(path.read_text())
    content["values"] = [100 * value for value in content["values"]]
    content["reach"] = [-9, 9]
    path.write_text(json.dumps(content))
    return workdir


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def test_a_vector_says_where_it_comes_from_and_shows_itself(run, sides, tmp_path, capfd):
    workdir = shutil.copytree(run, tmp_path / "run")
    made = vector(workdir, "mouth_open", sides, method="pca")
    assert made == Vector.load(workdir, "mouth_open")
    assert re.fullmatch(r".*/open against .*/closed", made.trait)
    assert (made.parts, made.method, made.step) == (["face"], "pca", 8)
    assert [key.name for key in made.positive] == ["0.png", "1.png"]
    picture = workdir / "vectors" / "mouth_open.png"
    assert read_picture(picture).shape[1] > 5 * 128
    assert f"2 positive and 2 negative faces; {picture} shows it" in " ".join(
        capfd.readouterr().err.split()
    )


def test_the_sides_exchanged_give_the_opposite(run, sides, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    there = vector(workdir, "a", sides)
    back = vector(workdir, "b", lambda: sides()[::-1])
    np.testing.assert_allclose(there.values, np.negative(back.values), atol=1e-6)
    assert np.abs(there.values).max() > 0


def unused():
    pytest.fail("faces are looked for before the rest is known to be right")


def test_what_makes_no_vector_is_told_and_leaves_nothing(run, sides):
    for arguments, message in (
        (("a/b", unused), "cannot be the name"),
        (("smile", unused, ["mouth"]), "no part 'mouth'; choose of face"),
        (("smile", unused, [], "median"), "no method 'median'; choose one of mean, pca"),
        (("smile", unused, [], "mean", 7), "no checkpoint of step 7"),
        (("smile", lambda: (sides()[0], sides()[0])), "0.png is on both sides"),
    ):
        with pytest.raises(InputError, match=message):
            vector(run, *arguments)
    assert not (run / "vectors").exists()


def test_a_vector_whose_picture_cannot_be_written_is_not_left(run, sides, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    (workdir / "vectors" / "smile.png").mkdir(parents=True)
    with pytest.raises(InputError, match=r"smile\.png"):
        vector(workdir, "smile", sides)
    assert [path.name for path in (workdir / "vectors").iterdir()] == ["smile.png"]


def test_only_the_frames_that_are_edited_change(edited, clips, tmp_path):
    source, plain, output = clips / "ben.mp4", tmp_path / "plain.mp4", tmp_path / "out.mp4"
    path = tmp_path / "edit.json"
    keys = [{"frame": 5, "weight": 0}, {"frame": 6, "weight": 1}]
    path.write_text(json.dumps({"version": 1, "edits": [{"vector": "mouth_open", "keys": keys}]}))
    swap(edited, "ada", source, plain, "none")
    edit(edited, "ada", source, output, path, method="none")
    change = np.abs(images(plain) - images(output)).mean((1, 2, 3))
    # The codec spreads a little of it over the frames before.
    assert change[6:].min() > 2 * change[:3].max()


def test_a_picture_is_edited(edited, tmp_path):
    frame = show(3, 2)
    source, plain = tmp_path / "face.png", tmp_path / "plain.png"
    write_picture(source, frame.image)
    write_landmarks(sidecar_path(source), {0: frame.landmarks})
    swap(edited, "ada", source, plain)
    results = []
    for weight in (-1.0, 0.0, 1.0):
        output = tmp_path / "out.png"
        assert edit(edited, "ada", source, output, {"mouth_open": weight}) == Count(1, 0)
        results.append(read_picture(output).astype(int))
    low, middle, high = results
    # A weight of nothing is the swap; two compiled programs round differently.
    np.testing.assert_allclose(middle, read_picture(plain), atol=1)
    assert np.abs(low - middle).max() > 10 and np.abs(high - middle).max() > 10


def test_numbered_pictures_are_edited(edited, clips, tmp_path):
    """At 2 frames a second the last of four is at 1.5 s; its key is its own."""
    source, keys = tmp_path / "ben.%d.png", tmp_path / "keys.json"
    for frame in video.read_frames(clips / "ben.mp4"):
        write_picture(tmp_path / f"ben.{frame.index + 1}.png", frame.image)
    sidecar_path(source).write_bytes(sidecar_path(clips / "ben.mp4").read_bytes())
    frames = [{"time": 1.0, "weight": 0}, {"time": 1.5, "weight": 1}]
    edits = [{"vector": "mouth_open", "keys": frames}]
    keys.write_text(json.dumps({"version": 1, "edits": edits}))

    outputs = [tmp_path / f"{name}.%d.png" for name in ("plain", "edited")]
    flags = [f"--workdir={edited}", "--persona=ada", "--fps=2", f"{source}#1-4"]
    assert cli.main(["swap", *flags, f"--output={outputs[0]}"]) == 0
    assert cli.main(["edit", *flags, f"--keyframes={keys}", f"--output={outputs[1]}"]) == 0
    plain, changed = map(images, outputs)
    change = np.abs(plain - changed).max((1, 2, 3))
    assert change[:3].max() <= 1 and change[3] > 10


def test_only_what_an_edit_changes_may_be_put_into_the_frame(edited, tmp_path):
    frame = show(3, 2)
    source, output = tmp_path / "face.png", tmp_path / "out.png"
    write_picture(source, frame.image)
    write_landmarks(sidecar_path(source), {0: frame.landmarks})

    def change(weight: float, **options) -> np.ndarray:
        edit(edited, "ada", source, output, {"mouth_open": weight}, **options)
        return np.abs(read_picture(output).astype(int) - read_picture(source)).sum()

    assert change(0.0) > 0 == change(0.0, only_changes=True)
    assert 0 < change(1.0, only_changes=True) < change(1.0)


def test_weights_beyond_one_are_used_with_a_warning(edited, clips, tmp_path, capfd):
    output = tmp_path / "out.mp4"
    edit(edited, "ada", clips / "ben.mp4", output, {"mouth_open": -1.5})
    assert "largest weight is 1.5" in capfd.readouterr().err and output.exists()


def test_wrong_edits_are_told_and_leave_nothing(run, edited, clips, tmp_path):
    source, output = clips / "ben.mp4", tmp_path / "out.mp4"
    keys = tmp_path / "keys.json"
    edits = [{"vector": "mouth_open", "face": 2, "keys": [{"frame": 0, "weight": 1}]}]
    keys.write_text(json.dumps({"version": 1, "edits": edits}))
    smile = {"mouth_open": 1.0}
    for workdir, changes, options, message in (
        (edited, {"grin": 1.0}, {}, "no vector 'grin', there are mouth_open"),
        (run, smile, {}, "no vector 'mouth_open', there is none"),
        (tmp_path, smile, {}, "holds no run"),
        (edited, smile, {"step": 6}, "weights of step 8, which are others than those of step 6"),
        (edited, keys, {}, "is to edit face 2"),
        (edited, {"mouth_open": 2.1}, {}, "weight 2.1; give numbers from -2 to 2"),
    ):
        with pytest.raises(InputError, match=message):
            edit(workdir, "ada", source, output, changes, **options)
    assert list(tmp_path.iterdir()) == [keys]
