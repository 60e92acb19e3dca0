"""Every named alignment follows the face, and each keeps the promise that it is named for."""

import numpy as np
import pytest

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, sample_persona
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import LEFT_EYE, RIGHT_EYE
from tests.support.face_scenes import face_landmarks, similarity
from tests.support.mirroring import mirror_landmarks

POSES = [(1.0, 0, 300, 200), (0.31, 37, 51.5, 80.2), (4.7, -115, 900, 700), (2.0, 180, 10, -40)]
FOLLOWING = [
    name for name in align.ALIGNMENTS if name != "box"
]  # a box stays as upright as its frame

all_alignments = pytest.mark.parametrize("alignment", align.ALIGNMENTS)


def in_crop(landmarks: np.ndarray, alignment: str, resolution: int = 256) -> np.ndarray:
    """The landmarks in pixels of their crop."""
    transform = align.alignment_transform(landmarks, resolution, alignment)
    return align.transform_points(landmarks, transform)


def puppet(**performance: float) -> np.ndarray:
    """Exact landmarks of a puppet."""
    anatomy = build(sample_persona(7, 0), Performance(**performance))
    return Camera(256).project(anatomy.pose.to_world(head_points(anatomy)))


def eye_centres(landmarks: np.ndarray) -> np.ndarray:
    return np.stack([landmarks[eye].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)])


def enlargement(alignment: str, landmarks: np.ndarray) -> float:
    return align.transform_scale(align.alignment_transform(landmarks, 256, alignment))


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("alignment", FOLLOWING)
def test_crop_does_not_depend_on_where_how_large_and_how_tilted_the_face_is(alignment, pose):
    moved = align.transform_points(face_landmarks(), similarity(*pose))
    expected = in_crop(face_landmarks(), alignment)
    np.testing.assert_allclose(in_crop(moved, alignment), expected, atol=2e-3)


def test_box_follows_place_and_size_and_keeps_the_tilt():
    expected = in_crop(face_landmarks(), "box")
    moved = align.transform_points(face_landmarks(), similarity(0.4, 0, 80, 30))
    np.testing.assert_allclose(in_crop(moved, "box"), expected, atol=2e-3)

    tilted = align.transform_points(face_landmarks(), similarity(1, 20, 0, 0))
    right, left = eye_centres(in_crop(tilted, "box"))
    assert np.rad2deg(np.arctan2(*(left - right)[::-1])) == pytest.approx(20, abs=0.01)


@all_alignments
def test_alignment_scales_with_the_resolution(alignment):
    small, large = (align.alignment_transform(puppet(yaw=25), s, alignment) for s in (256, 1024))
    np.testing.assert_allclose(align.scale_transform(small, 4), large, rtol=1e-6)
    np.testing.assert_allclose(align.scale_transform(large, 0.25), small, rtol=1e-6)


@all_alignments
def test_only_neutral_is_no_similarity(alignment):
    linear = align.alignment_transform(puppet(yaw=25, mouth_open=1), 256, alignment)[:, :2]
    squared = np.linalg.det(linear)
    assert squared > 0
    assert np.allclose(linear @ linear.T, squared * np.eye(2)) == (alignment != "neutral")


@all_alignments
def test_mirrored_face_gives_the_mirrored_crop(alignment):
    landmarks = puppet(yaw=30, pitch=-10, roll=8, smile=1)
    mirrored = in_crop(mirror_landmarks(landmarks, 256), alignment)
    expected = mirror_landmarks(in_crop(landmarks, alignment), 256)
    np.testing.assert_allclose(mirrored, expected, atol=2e-3)


@all_alignments
def test_whole_face_lies_in_the_crop(alignment):
    points = in_crop(puppet(yaw=20, pitch=10), alignment)
    assert points.min() > 0 and points.max() < 256


@pytest.mark.parametrize("resolution", [64, 1024])
def test_eyes_puts_the_eyes_at_their_place(resolution):
    right, left = eye_centres(in_crop(puppet(yaw=30, roll=15), "eyes", resolution))
    np.testing.assert_allclose(left - right, [0.26 * resolution, 0], atol=2e-3)
    middle = (left + right) / 2 + 0.5
    np.testing.assert_allclose(middle, [0.5 * resolution, 0.42 * resolution], atol=2e-3)


def test_stable_keeps_its_size_when_the_head_turns_and_eyes_does_not():
    still, turned = puppet(), puppet(yaw=40)
    assert enlargement("stable", turned) / enlargement("stable", still) == pytest.approx(
        1, abs=0.07
    )
    assert enlargement("eyes", turned) / enlargement("eyes", still) > 1.3


def test_stable_is_not_moved_by_mouth_and_lids():
    still = align.alignment_transform(puppet(), 256, "stable")
    for act in ({"mouth_open": 1}, {"smile": 1}, {"lid_left": 0, "lid_right": 0}):
        moved = align.alignment_transform(puppet(**act), 256, "stable")
        np.testing.assert_allclose(moved, still, atol=2)


def test_neutral_brings_an_affinely_distorted_neutral_face_back():
    crop = in_crop(align.NEUTRAL_FACE, "neutral")
    distorted = align.NEUTRAL_FACE @ np.array([[30.0, 8.0], [-5.0, 42.0]]) + [90, 70]
    np.testing.assert_allclose(in_crop(distorted, "neutral"), crop, atol=1e-3)


def test_ffhq_frames_a_face_as_the_published_script_does():
    landmarks = face_landmarks()  # eyes 100 apart about the origin, mouth's corners at y = 110
    corners = align.transform_points(
        np.float32([[-0.5, -0.5], [255.5, 255.5]]),
        align.invert(align.alignment_transform(landmarks, 256, "ffhq")),
    )
    mouth = (landmarks[48, 1] + landmarks[54, 1]) / 2
    half = max(200.0, 1.8 * mouth)
    expected = [[-half, 0.1 * mouth - half], [half, 0.1 * mouth + half]]
    np.testing.assert_allclose(corners, expected, atol=0.01)


@all_alignments
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_landmarks_at_one_point_are_refused(alignment, value):
    with pytest.raises(ValueError, match=alignment):
        align.alignment_transform(np.full((68, 2), value, np.float32), 256, alignment)


def test_coinciding_eyes_define_no_eyes_and_a_line_no_neutral():
    landmarks = face_landmarks()
    landmarks[LEFT_EYE] = landmarks[RIGHT_EYE]
    with pytest.raises(ValueError, match="coincide"):
        align.alignment_transform(landmarks, 256, "eyes")
    with pytest.raises(ValueError, match="coincide"):
        align.alignment_transform(face_landmarks() * [1, 0], 256, "neutral")


def test_unknown_alignment_is_refused_with_the_choices():
    with pytest.raises(InputError, match=r"'nose'.*eyes.*stable.*neutral.*ffhq.*box"):
        align.alignment_transform(face_landmarks(), 256, "nose")
