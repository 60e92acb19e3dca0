"""People of a clip: tracks joined where a face was lost for a moment, and over shots by identity."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.errors import InputError
from faceswap_jax.faces import people
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.people import Person, find_people, recognise, reunite
from faceswap_jax.faces.tracking import Track
from tests.support.face_scenes import face_landmarks, smooth_picture, write_clip

SIZE = 128


def face(x: float = 0.0, size: float = 1.0) -> Face:
    return Face(face_landmarks() * size + np.float32([x, 0]), 1.0)


def track(first: int, length: int, x: float = 0.0, size: float = 1.0) -> Track:
    return Track(list(range(first, first + length)), [face(x, size)] * length)


def frames(found: list[Person]) -> list[list[int]]:
    return [list(person.faces) for person in found]


# --- faces lost for a moment


def test_a_face_that_is_lost_and_found_is_one_person():
    tracks = [track(0, 4), track(1, 3, x=400), track(6, 2)]
    assert frames(reunite(tracks, [], 5)) == [[0, 1, 2, 3, 6, 7], [1, 2, 3]]


@pytest.mark.parametrize(
    ("again", "cuts", "longest_gap"),
    [
        (track(6, 2, x=400), [], 5),  # elsewhere
        (track(6, 2), [5], 5),  # another shot
        (track(6, 2), [6], 5),
        (track(6, 2), [], 1),  # long ago
        (track(3, 2), [], 5),  # at the same time
    ],
)
def test_others_stay_apart(again, cuts, longest_gap):
    assert len(reunite([track(0, 4), again], cuts, longest_gap)) == 2


def test_the_nearest_goes_on():
    tracks = [track(0, 4), track(0, 4, x=60), track(5, 2, x=50)]
    assert frames(reunite(tracks, [], 5)) == [[0, 1, 2, 3], [0, 1, 2, 3, 5, 6]]


# --- identities


def identities(*angles: float) -> np.ndarray:
    """Directions in a plane."""
    result = np.zeros((len(angles), 128), np.float32)
    result[:, 0], result[:, 1] = np.cos(angles), np.sin(angles)
    return result


def person(first: int, length: int, size: float = 1.0) -> Person:
    return Person({number: face(size=size) for number in range(first, first + length)})


def test_who_looks_the_same_is_one_person_over_shots():
    found = recognise([person(0, 4), person(4, 4), person(8, 4)], identities(0, 1, 0.1))
    assert frames(found) == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7]]


def test_twins_in_one_frame_are_two():
    assert len(recognise([person(0, 4), person(3, 4)], identities(0, 0))) == 2


def test_the_likest_of_several_is_chosen():
    found = recognise([person(0, 9), person(0, 8), person(9, 2)], identities(0, 0.2, 0.15))
    assert frames(found) == [list(range(9)), [*range(8), 9, 10]]


# --- clips


def puppet(persona: int, number: int) -> np.ndarray:
    return render_frame(3, persona, 0, number, SIZE).image


@pytest.fixture(scope="module")
def interview(tmp_path_factory) -> Path:
    """Two puppets side by side, then one after the other, each in four frames."""
    a, b = ([puppet(persona, number) for number in range(0, 24, 2)] for persona in (1, 4))
    blank = np.zeros_like(a[0])
    shots = [[a[i], b[i]] for i in range(4)]
    shots += [[blank, a[i]] for i in range(4, 8)]
    shots += [[b[i], blank] for i in range(8, 12)]
    path = tmp_path_factory.mktemp("interview") / "two.mp4"
    return write_clip(path, [np.concatenate(shot, 1) for shot in shots])


@pytest.fixture(scope="module")
def landmarker():
    mediapipe = pytest.importorskip("faceswap_jax.faces.mediapipe")
    return mediapipe.MediaPipeLandmarker(0)


@pytest.fixture(scope="module")
def found(interview, landmarker) -> list[Person]:
    return find_people(interview, landmarker)


def test_two_people_over_three_shots(found):
    assert sorted(frames(found)) == [[*range(4), *range(4, 8)], [*range(4), *range(8, 12)]]
    assert found[0].area > found[1].area


@pytest.mark.parametrize(("persona", "shown"), [(1, 4), (4, 8)])
def test_a_reference_picture_finds_its_person(
    interview, landmarker, found, persona, shown, tmp_path
):
    picture = write_clip(tmp_path / "reference.mp4", [puppet(persona, 40)])
    wanted = find_people(picture, landmarker)[:1]
    (identity,) = people.identities_of(picture, wanted)
    number = people.nearest(interview, found, identity)
    assert shown in found[number].faces


def test_a_file_of_landmarks_describes_one_person(interview):
    points = face_landmarks() / 4 + 60
    write_landmarks(sidecar_path(interview), {0: points, 7: points + 100})
    (one,) = find_people(interview, SidecarLandmarker(sidecar_path(interview)))
    sidecar_path(interview).unlink()
    assert list(one.faces) == [0, 7]


def test_a_clip_without_a_face_is_refused(interview):
    with pytest.raises(InputError, match=r"None of the 12 frames shows a face in .*two.mp4"):
        find_people(interview, lambda image, index: [])


def test_frames_that_change_their_size_are_refused_before_any_image_is_made(tmp_path):
    parts = []
    for height, width in ((48, 64), (64, 96)):
        images = [smooth_picture(height, width, index / 5) for index in range(4)]
        parts.append(write_clip(tmp_path / f"{width}.ts", images).read_bytes())
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match=r"From frame 4 on .*both\.ts has 96 x 64 .* 64 x 48"):
        find_people(path, lambda image, index: [face()])
