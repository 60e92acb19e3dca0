"""People of a clip: tracks joined where a face was lost for a moment, and over shots by identity."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.errors import InputError
from faceswap_jax.faces import people
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.people import STRETCH, Look, Person, find_people, recognise, reunite, split
from faceswap_jax.faces.tracking import Track
from tests.support.face_scenes import face_landmarks, smooth_picture, write_clip
from tests.support.hdr import write_deep

SIZE = 128

SLIGHTLY, OTHER = 0.5, 2.0
"""Angles between identities: of one person, and of two."""


def face(x: float = 0.0, size: float = 1.0) -> Face:
    return Face(face_landmarks() * size + np.float32([x, 0]), 1.0)


def identity(angle: float) -> np.ndarray:
    """A direction in a plane."""
    result = np.zeros(128, np.float32)
    result[:2] = np.cos(angle), np.sin(angle)
    return result


def look(frame: int, angle: float, turned: float = 0.0) -> Look:
    """What `embedding` would be computed from is not there."""
    made = Look(frame, turned, np.zeros((112, 112, 3), np.uint8))
    vars(made)["embedding"] = identity(angle)
    return made


def person(
    first: int, length: int, x: float = 0.0, size: float = 1.0, angle: float | None = None
) -> Person:
    """One track, and a look at its middle."""
    track = Track(list(range(first, first + length)), [face(x, size)] * length)
    return Person([track], [] if angle is None else [look(first + length // 2, angle)])


def frames(found: list[Person]) -> list[list[int]]:
    return [list(person.faces) for person in found]


# --- faces lost for a moment


def test_a_face_that_is_lost_and_found_is_one_person():
    parts = [person(0, 4), person(1, 3, x=400), person(6, 2)]
    assert frames(reunite(parts, [], 5)) == [[0, 1, 2, 3, 6, 7], [1, 2, 3]]


@pytest.mark.parametrize(
    ("again", "cuts", "longest_gap"),
    [
        (person(6, 2, x=400), [], 5),  # elsewhere
        (person(6, 2), [5], 5),  # another shot
        (person(6, 2), [6], 5),
        (person(6, 2), [], 1),  # long ago
        (person(3, 2), [], 5),  # at the same time
        (person(6, 2, angle=OTHER), [], 5),  # another face
    ],
)
def test_others_stay_apart(again, cuts, longest_gap):
    assert len(reunite([person(0, 4, angle=0), again], cuts, longest_gap)) == 2


def test_the_nearest_goes_on():
    parts = [person(0, 4), person(0, 4, x=60), person(5, 2, x=50)]
    assert frames(reunite(parts, [], 5)) == [[0, 1, 2, 3], [0, 1, 2, 3, 5, 6]]


# --- identities


def test_who_looks_the_same_is_one_person_over_shots():
    found = recognise(
        [person(0, 4, angle=0), person(4, 4, angle=OTHER), person(8, 4, angle=SLIGHTLY)]
    )
    assert frames(found) == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7]]


def test_twins_in_one_frame_are_two():
    assert len(recognise([person(0, 4, angle=0), person(3, 4, angle=0)])) == 2


def test_who_is_too_small_to_be_known_is_nobody_else():
    assert len(recognise([person(0, 4, angle=0), person(4, 4), person(8, 4)])) == 3


def test_the_likest_of_several_is_chosen():
    found = recognise(
        [person(0, 9, angle=0), person(0, 8, angle=SLIGHTLY), person(9, 2, angle=0.7 * SLIGHTLY)]
    )
    assert frames(found) == [[*range(8), 9, 10], list(range(9))]


def test_who_fills_most_comes_first():
    found = recognise([person(0, 9, angle=0), person(9, 4, size=3, angle=OTHER)])
    assert frames(found) == [[9, 10, 11, 12], list(range(9))]


# --- looks


def turned(squeezed: float) -> Face:
    """A face whose left half is squeezed, as if seen from the side."""
    points = face_landmarks()
    points[points[:, 0] > 0, 0] *= squeezed
    return Face(points + 200, 1.0)


def test_of_each_stretch_of_a_track_the_face_most_to_the_front_is_looked_at():
    watcher = people.Watcher(stretch=3)
    image = np.zeros((400, 400, 3), np.uint8)
    squeezed = [0.5, 0.9, 0.7, 0.6, 0.5, 0.8, 0.4]
    watcher(image, [], cut=False)
    for factor in squeezed:
        watcher(image, [turned(factor)], cut=False)
    # Of the frames from 0, 3 and 6 on
    assert [look.frame for look in watcher.looks] == [2, 3, 6]
    assert watcher.looks[0].turned < watcher.looks[2].turned < watcher.looks[1].turned


@pytest.mark.parametrize("middle", range(1, 9))
def test_who_goes_on_in_another_watcher_is_looked_at_as_in_one(middle):
    """Of a stretch that both share, the face most to the front is kept, and a cut between both is one."""
    image = np.zeros((400, 400, 3), np.uint8)
    squeezed = [0.5, 0.9, 0.7, 0.6, 0.5, 0.8, 0.4, 0.9, 0.6]
    whole = people.Watcher(stretch=3)
    halves = [people.Watcher(stretch=3), people.Watcher(stretch=3, first=middle)]
    for number, factor in enumerate(squeezed):
        for watcher in (whole, halves[number >= middle]):
            watcher(image, [turned(factor)], cut=number == 4)
    first, second = halves
    first.append(second)

    assert [track.frames for track in first.tracks] == [[*range(4)], [*range(4, 9)]]
    assert [(look.frame, look.turned) for look in first.looks] == [
        (look.frame, look.turned) for look in whole.looks
    ]
    assert first._cuts == whole._cuts == [4] and first.frames == whole.frames


def test_a_look_that_is_moved_is_not_embedded_again():
    known = look(3, angle=SLIGHTLY)
    assert known.moved(5).frame == 8 and known.moved(5).embedding is known.embedding


# --- one after the other in one place


def jumping(count: int, at: int) -> Track:
    """A face that moves a little, and further at one frame."""
    places = [n + 20 * (n >= at) for n in range(count)]
    return Track(list(range(5, 5 + count)), [face(x) for x in places])


def test_a_track_is_split_where_its_identity_changes():
    parts = split(jumping(20, 9), [look(7, 0), look(12, SLIGHTLY), look(20, OTHER)])
    assert frames(parts) == [list(range(5, 14)), list(range(14, 25))]
    assert [len(part.looks) for part in parts] == [2, 1]


def test_who_passes_is_split_off_at_both_ends():
    parts = split(jumping(20, 9), [look(7, 0), look(14, OTHER), look(20, 0)])
    assert len(parts) == 3 and frames(recognise(parts))[0][0] == 5


def test_a_face_seen_from_the_side_splits_nothing():
    assert len(split(jumping(20, 9), [look(7, 0), look(14, OTHER, turned=70), look(20, 0)])) == 1


# --- clips


def puppet(persona: int, number: int) -> np.ndarray:
    return render_frame(0, persona, 0, number, SIZE).image


@pytest.fixture(scope="module")
def interview(tmp_path_factory) -> Path:
    """Two puppets side by side, then one after the other, each in four frames."""
    a, b = ([puppet(persona, number) for number in range(0, 24, 2)] for persona in (0, 2))
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


@pytest.mark.parametrize(("persona", "shown"), [(0, 4), (2, 8)])
def test_a_reference_picture_finds_its_person(
    interview, landmarker, found, persona, shown, tmp_path
):
    picture = write_clip(tmp_path / "reference.mp4", [puppet(persona, 40)])
    identity = people.identity_of(picture, landmarker)
    number = people.nearest(found, identity)
    assert shown in found[number].faces


def test_a_passer_by_who_takes_over_in_place_is_somebody_else(landmarker):
    """One track, for landmarks and for shot changes: only the identity tells."""
    a, b = (puppet(persona, 36) for persona in (0, 2))
    images = [a] * (STRETCH + 6) + [b] * STRETCH
    faces = [landmarker(image, 0)[0] for image in (a, b)]
    watcher = people.Watcher()
    for image in images:
        watcher(image, [faces[image is b]], cut=False)
    assert len(watcher.tracks) == 1
    first, second = watcher.people(longest_gap=25)
    assert list(first.faces) == list(range(STRETCH + 6))
    assert list(second.faces) == list(range(STRETCH + 6, len(images)))


def test_a_face_too_small_to_be_known(landmarker):
    watcher = people.Watcher()
    image = puppet(0, 0)
    (found,) = landmarker(image, 0)
    watcher(image, [Face(found.landmarks / 8, 1.0)], cut=False)
    (person,) = watcher.people(0)
    assert person.identity is None and people.nearest([person], identity(0)) == 0


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


def test_frames_that_change_their_colours_are_refused_before_any_image_is_made(tmp_path):
    """Their planes are kept, and a result has tags for one kind."""
    images = [smooth_picture(64, 64, index / 5) for index in range(4)]
    hdr = write_deep(tmp_path / "hdr.ts", images)
    sdr = write_deep(tmp_path / "sdr.ts", images, 1, 1, mastering=False)
    path = tmp_path / "both.ts"
    path.write_bytes(hdr.read_bytes() + sdr.read_bytes())
    with pytest.raises(InputError, match=r"From frame 4 on .*both\.ts has another depth or other"):
        find_people(path, lambda image, index: [face()])
