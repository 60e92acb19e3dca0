"""Which faces of a data set answer best, on puppets, and the choice of a few of them."""

import numpy as np
import pytest

from faceswap_jax.editing.expressions import Found, Place, read_query
from faceswap_jax.editing.ranking import (
    choose,
    most_extreme,
    nearest_by_aspect_ratios,
    nearest_by_blendshapes,
    nearest_by_measures,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Face
from tests.support.performers import OPEN, performers, record, show, source


@pytest.fixture(scope="module")
def sources():
    return performers(3)


def face_of(persona, index, size=64):
    frame = show(persona, index, size)
    return frame.image, Face(frame.landmarks, 1.0, frame.irises)


def places(ranked):
    return [(item.place.persona, item.place.number) for item in ranked]


@pytest.mark.parametrize("nearest", [nearest_by_measures, nearest_by_aspect_ratios])
@pytest.mark.parametrize("region", ["all", "eyes", "brows", "mouth"])
def test_the_nearest_to_a_face_is_that_face(sources, nearest, region):
    ranked = nearest(sources, face_of(1, 3)[1], region)
    assert len(ranked) == 12 and places(ranked)[0] == ("puppet1", 3)
    assert ranked[0].values["distance"] < 1e-6 < ranked[1].values["distance"]


def test_the_nearest_of_other_people_does_about_the_same(sources):
    """However large its mouth is, and whether or not the picture tells the irises."""
    others = {name: sources[name] for name in ("puppet0", "puppet2")}
    for index in range(len(OPEN)):
        _, face = face_of(1, index)
        for seen in (face, Face(face.landmarks, 1.0)):
            ranked = nearest_by_measures(others, seen, "mouth")
            openings = [OPEN[item.place.number] for item in ranked]
            assert np.abs(np.array(openings[:2]) - OPEN[index]).max() < 0.35


def test_distance_is_the_mean_square_of_what_both_tell(sources):
    _, face = face_of(0, 0)
    blind = Face(face.landmarks, 1.0)
    one = {"puppet0": sources["puppet0"].part(1, 2)}
    (seen,) = nearest_by_measures(one, face, "eyes")
    (unseen,) = nearest_by_measures(one, blind, "eyes")
    assert seen.values["distance"] > unseen.values["distance"] > 0


def test_landmarks_of_files_are_not_compared_with_those_of_mediapipe():
    _, face = face_of(0, 0)
    from_file = record(0, 1, irises=np.full((2, 2), np.nan, np.float32))
    blind = {"puppet0": source(0, [from_file])}
    with pytest.raises(
        InputError, match=r"come from files, those of the picture .* --by blendshapes"
    ):
        nearest_by_measures(blind, face, "eyes")
    assert len(nearest_by_measures(blind, Face(face.landmarks, 1.0), "eyes")) == 1


def test_blendshapes_find_the_same_expression():
    few = {"puppet0": source(0, [record(0, i, 128) for i in (0, 1)])}
    for index, expected in ((0, [0, 1]), (1, [1, 0])):
        ranked = nearest_by_blendshapes(few, *face_of(2, index, 128), "mouth")
        assert [item.place.number for item in ranked] == expected


def test_a_picture_in_which_no_blendshapes_are_read_is_refused(sources):
    image, face = face_of(0, 0)
    with pytest.raises(InputError, match="no blendshapes"):
        nearest_by_blendshapes(sources, np.zeros_like(image), face, "all")


def test_a_query_puts_those_first_that_lie_farthest_beyond_its_first_condition(sources):
    for query, sign in (("mouth_open<1", 1), ("mouth_open>-1,yaw<9", -1)):
        ranked = most_extreme(sources, read_query(query))
        values = [sign * item.values["mouth_open"] for item in ranked]
        assert values == sorted(values) and len(values) > 4


def ranked(*faces):
    """Faces of (persona, track, time)."""
    return [
        Found(Place(persona, i, "clip", track, i, time), {})
        for i, (persona, track, time) in enumerate(faces)
    ]


def chosen(faces, count, serves=lambda place: True):
    return [item.place.number for item in choose(faces, count, serves)]


def test_neighbours_of_a_track_are_chosen_once():
    faces = ranked(("a", 0, 1.0), ("a", 0, 1.4), ("a", 1, 1.4), ("a", 0, 0.5), ("a", 0, 0.9))
    assert chosen(faces, 5) == [0, 2, 3]


def test_one_persona_gives_half_unless_others_have_too_few():
    faces = ranked(*(("a", i, 0.0) for i in range(6)), *(("b", i, 0.0) for i in range(6)))
    assert chosen(faces, 4) == [0, 1, 6, 7]
    assert chosen(faces, 5) == [0, 1, 2, 6, 7]
    assert chosen(faces[:8], 6) == [0, 1, 2, 3, 6, 7]
    assert chosen(faces, 20) == list(range(12))


def test_what_does_not_serve_hides_its_neighbours_and_is_asked_once():
    faces = ranked(("a", 0, 0.0), ("a", 0, 0.2), ("a", 0, 0.6), ("b", 0, 0.0))
    asked = []

    def serves(place):
        asked.append(place.number)
        return place.number != 0

    assert chosen(faces, 3, serves) == [2, 3]
    assert asked == [0, 2, 3]
