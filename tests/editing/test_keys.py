"""Key pictures, from folders and from data sets."""

import hashlib

import ml_collections
import numpy as np
import pytest

from data_pipelines.puppets.dataset import write_records
from faceswap_jax.editing import keys
from faceswap_jax.editing.expressions import find, read_query
from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import write_picture
from tests.support.performers import show


@pytest.fixture
def pictures(tmp_path):
    """Two puppets, with their landmarks, and a note."""
    folder = tmp_path / "open"
    folder.mkdir()
    for persona in range(2):
        frame = show(persona, 1)
        path = folder / f"{persona}.png"
        write_picture(path, frame.image)
        write_landmarks(sidecar_path(path), {0: frame.landmarks})
    (folder / "notes.txt").write_text("mouths")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys") / "data"
    write_records(folder, 0, range(2), range(2), 6, 5.0, 32)
    return ml_collections.ConfigDict({"kind": "tracks", "path": str(folder), "split": "train"})


def test_every_picture_of_a_folder_is_a_key(pictures):
    found = keys.from_pictures(pictures)
    assert [key.name for key in found.keys] == ["0.png", "1.png"]
    for key in found.keys:
        assert key.sha256 == hashlib.sha256((pictures / key.name).read_bytes()).hexdigest()
    faces = [face.landmarks for face in found.performance.faces]
    np.testing.assert_allclose(faces, [show(p, 1).landmarks for p in range(2)], atol=1e-3)
    assert found.trait == "open" and len(set(found.groups)) == 1


def test_one_picture_is_a_key(pictures):
    assert len(keys.from_pictures(pictures / "0.png").keys) == 1


def test_pictures_that_are_no_keys_are_told(pictures, tmp_path):
    faceless = pictures / "2.png"
    write_picture(faceless, np.zeros((64, 64, 3), np.uint8))
    write_landmarks(sidecar_path(faceless), {})
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, message in (
        (pictures, f"{faceless} shows no face; leave it out"),
        (empty, f"{empty} holds no picture"),
        (pictures / "notes.txt", "is no folder of pictures"),
        (tmp_path / "nowhere", "is no folder of pictures"),
    ):
        with pytest.raises(InputError, match=message):
            keys.from_pictures(folder)


def test_faces_of_a_data_set_are_keys_of_their_personas(data):
    from data_pipelines import datasets

    query, against = "mouth_open>0.3", "mouth_open<-0.3"
    sides = keys.from_data(data, query, against)
    for side, condition in zip(sides, (query, against), strict=True):
        found = find(datasets.open_data(data), read_query(condition))
        assert side.trait == condition
        assert side.groups == [one.place.persona for one in found]
        assert [frame.time for frame in side.performance.frames] == [f.place.time for f in found]
    assert len({key.sha256 for side in sides for key in side.keys}) == sum(
        len(side.keys) for side in sides
    )


def test_without_the_other_side_it_is_all_other_faces(data):
    positive, negative = keys.from_data(data, "mouth_open>0.3")
    assert len(positive.keys) + len(negative.keys) == 24
    assert negative.trait == "the others"


def test_many_faces_are_thinned_out_evenly(data, monkeypatch):
    monkeypatch.setattr(keys, "MOST", 5)
    _, negative = keys.from_data(data, "mouth_open>0.3")
    assert len(negative.keys) == 5 and len(set(negative.groups)) == 2


def test_queries_that_leave_a_side_empty_are_told(data):
    with pytest.raises(InputError, match=r"No face fulfils mouth_open>99"):
        keys.from_data(data, "mouth_open>99")
    with pytest.raises(InputError, match="All faces of the data fulfil yaw>-180"):
        keys.from_data(data, "yaw>-180")
    with pytest.raises(InputError, match="no signal 'grin'"):
        keys.from_data(data, "yaw>-180", "grin>1")
