"""Key pictures, from folders and from data sets."""

import hashlib

import numpy as np
import pytest

from data_pipelines.puppets.dataset import write_records
from faceswap_jax.editing import keys
from faceswap_jax.editing.expressions import find, open_all, read_query
from faceswap_jax.editing.vectors import Key
from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.inference.batching import Performance
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
    return open_all(folder)


def test_every_picture_of_a_folder_is_a_key(pictures):
    found = keys.from_pictures(pictures)
    assert [key.name for key in found.keys] == ["0.png", "1.png"]
    for key in found.keys:
        assert key.sha256 == hashlib.sha256((pictures / key.name).read_bytes()).hexdigest()
    faces = [face.landmarks for face in found.performance.faces]
    np.testing.assert_allclose(faces, [show(p, 1).landmarks for p in range(2)], atol=1e-3)
    assert found.trait == str(pictures) and len(set(found.groups)) == 1


def test_one_picture_is_a_key(pictures):
    assert len(keys.from_pictures(pictures / "0.png").keys) == 1


def test_pictures_that_are_no_keys_are_told(pictures, tmp_path):
    faceless = pictures / "2.png"
    write_picture(faceless, np.zeros((64, 64, 3), np.uint8))
    write_landmarks(sidecar_path(faceless), {})
    empty = tmp_path / "empty"
    empty.mkdir()
    searched = tmp_path / "searched"
    searched.mkdir()
    (searched / "found.csv").touch()
    for folder, message in (
        (searched, f"key pictures lie in {searched / 'faces'}; name that"),
        (pictures, f"{faceless} shows no face; give another"),
        (empty, f"{empty} holds no picture"),
        (pictures / "notes.txt", "is no folder of pictures"),
        (tmp_path / "nowhere", "is no folder of pictures"),
    ):
        with pytest.raises(InputError, match=message):
            keys.from_pictures(folder)


def test_faces_of_a_data_set_are_keys_of_their_personas(data):
    query, against = "mouth_open>0.3", "mouth_open<-0.3"
    sides = keys.from_data(data, query, against)
    hashes = []
    for one, condition in zip(sides, (query, against), strict=True):
        found = find(data, read_query(condition))
        assert one.trait == condition
        assert one.groups == [face.place.persona for face in found]
        assert [frame.time for frame in one.performance.frames] == [f.place.time for f in found]
        hashes += [key.sha256 for key in one.keys]
    assert len(hashes) == len(set(hashes))


def test_without_the_other_side_it_is_the_opposite_of_the_first_condition_under_the_same_bounds(
    data,
):
    positive, negative = keys.from_data(data, "mouth_open>0.3,yaw<5")
    assert (positive.trait, negative.trait) == ("mouth_open>0.3,yaw<5", "mouth_open<0.3,yaw<5")
    expected = find(data, read_query("mouth_open<0.3,yaw<5"))
    assert negative.groups == [one.place.persona for one in expected]


def test_many_faces_are_thinned_out_evenly(data, monkeypatch):
    monkeypatch.setattr(keys, "MOST", 5)
    _, negative = keys.from_data(data, "mouth_open>0.3")
    assert len(negative.keys) == 5 and len(set(negative.groups)) == 2


def test_queries_that_leave_a_side_empty_are_told(data):
    with pytest.raises(InputError, match=r"No face fulfils mouth_open>99"):
        keys.from_data(data, "mouth_open>99")
    with pytest.raises(InputError, match=r"No face fulfils yaw<-180"):
        keys.from_data(data, "yaw>-180")
    with pytest.raises(InputError, match="no signal 'grin'"):
        keys.from_data(data, "yaw>-180", "grin>1")


def side(*groups: str, start: int = 0) -> keys.Keys:
    """Keys of these groups, whose frames and faces are numbers."""
    numbers = list(range(start, start + len(groups)))
    found = [Key(f"face {n}", str(n)) for n in numbers]
    return keys.Keys("trait", found, Performance(numbers, numbers), list(groups))


def test_only_those_count_who_are_on_both_sides():
    a, b = keys.shared(side("ada", "ben", "ada"), side("cleo", "ada", start=3))
    assert (a.groups, a.performance.frames) == (["ada", "ada"], [0, 2])
    assert ([key.name for key in b.keys], b.performance.faces) == (["face 4"], [4])


def test_sides_that_have_nothing_or_a_picture_in_common_are_told():
    with pytest.raises(InputError, match=r"Nobody has faces on both sides: .* ada, .* of ben"):
        keys.shared(side("ada"), side("ben", start=1))
    with pytest.raises(InputError, match="face 0 is on both sides"):
        keys.shared(side(""), side(""))
