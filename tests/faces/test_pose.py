"""The head's pose against that of rendered heads, and what must not change it."""

import time

import numpy as np
import pytest

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.faces.align import transform_points
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.pose import head_pose
from tests.support.face_scenes import similarity
from tests.support.mirroring import mirror_landmarks

SIZE = 256


def landmarks(persona: int, performance: Performance) -> np.ndarray:
    anatomy = build(sample_persona(7, persona), performance)
    return Camera(SIZE).project(anatomy.pose.to_world(head_points(anatomy))).astype(np.float32)


def angles(performance: Performance) -> list[float]:
    return [performance.yaw, performance.pitch, performance.roll]


@pytest.fixture(scope="module")
def acted():
    """Landmarks of 16 puppets in performances of all kinds, and their angles."""
    performances = [(p, act) for p in range(16) for act in performance_track(7, p, 0, 250)[::25]]
    points = np.array([landmarks(p, act) for p, act in performances])
    return points, np.array([angles(act) for _, act in performances])


def test_pose_of_puppets(acted):
    """The mean head was made from other puppets: below two degrees in every angle."""
    points, truth = acted
    errors = np.array([head_pose(face) for face in points]) - truth
    near = errors[np.abs(truth[:, 0]) <= 30]
    assert len(near) > 80
    print("mean absolute error of yaw, pitch, roll:", np.abs(near).mean(0).round(2))
    assert (np.abs(near).mean(0) < [1.5, 2.0, 0.5]).all()
    assert (np.abs(near.mean(0)) < [0.7, 1.0, 0.4]).all()
    assert np.abs(errors).max() < 10


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll"])
def test_signs_and_order(name):
    """One angle at a time moves, by what it should, and the others stay."""
    column = ["yaw", "pitch", "roll"].index(name)
    for value in (-18.0, 18.0):
        change = head_pose(landmarks(0, Performance(**{name: value}))) - head_pose(
            landmarks(0, Performance())
        )
        assert change.dtype == np.float32
        np.testing.assert_allclose(change, value * np.eye(3)[column], atol=2)


def test_the_nose_points_where_the_pose_says():
    def nose(points):
        return points[30] - points[[0, 16]].mean(0)

    ahead = nose(landmarks(0, Performance()))
    for yaw in (-25, 25):
        points = landmarks(0, Performance(yaw=yaw))
        assert np.sign(nose(points) - ahead)[0] == np.sign(
            head_pose(points)[0]
        )  # positive: to the right
    for pitch in (-20, 20):
        points = landmarks(0, Performance(pitch=pitch))
        assert np.sign(ahead - nose(points))[1] == np.sign(head_pose(points)[1])  # positive: up


def test_place_size_and_tilt(acted):
    for points in acted[0][::10]:
        pose = head_pose(points)
        moved = transform_points(points, similarity(6.5, 0, 1500, -200))
        np.testing.assert_allclose(head_pose(moved), pose, atol=0.01)
        tilted = transform_points(points, similarity(0.8, 25, 3, 40))
        np.testing.assert_allclose(head_pose(tilted), pose + np.array([0, 0, 25]), atol=0.01)


def test_mirroring_negates_yaw_and_roll(acted):
    for points in acted[0][::5]:
        np.testing.assert_allclose(
            head_pose(mirror_landmarks(points, SIZE)), head_pose(points) * [-1, 1, -1], atol=0.01
        )


@pytest.mark.parametrize(
    "expression",
    [
        {"mouth_open": 1.0},
        {"smile": 1.0},
        {"pucker": 1.0},
        {"brow_raise": 1.0},
        {"brow_frown": 1.0},
        {"lid_left": 0.0, "lid_right": 0.0},
    ],
)
def test_expressions_leave_the_pose_alone(expression):
    for persona in range(4):
        turned = Performance(yaw=15, pitch=-8)
        acting = Performance(yaw=15, pitch=-8, **expression)
        np.testing.assert_allclose(
            head_pose(landmarks(persona, acting)), head_pose(landmarks(persona, turned)), atol=1.5
        )


def test_pose_from_the_landmarks_of_mediapipe():
    """Differences of pose within a persona, for the network has its own idea of each puppet's proportions."""
    landmarker = MediaPipeLandmarker(0)
    for persona in (3, 4):
        acts = [
            Performance(yaw=yaw, pitch=pitch)
            for yaw, pitch in ((0, 0), (20, 0), (-20, 0), (0, 12), (0, -12))
        ]
        images = [
            render(sample_persona(0, persona), act, Scene(light_azimuth=0), 320).image
            for act in acts
        ]
        ahead, *turned = (head_pose(landmarker(image, 0)[0].landmarks) for image in images)
        assert np.abs(ahead).max() < 10
        for act, pose in zip(acts[1:], turned, strict=True):
            np.testing.assert_allclose(pose - ahead, angles(act), atol=7)
    landmarker.close()


@pytest.mark.parametrize("value", [0.0, 1e6, np.nan, np.inf])
def test_no_face_at_all(value):
    with pytest.raises(ValueError, match="define no head pose"):
        head_pose(np.full((68, 2), value, np.float32))


def test_never_fails_on_odd_landmarks():
    line = np.arange(68, dtype=np.float32)
    assert np.isfinite(head_pose(np.column_stack([line, line]))).all()
    assert np.isfinite(head_pose(np.column_stack([line, 0 * line]))).all()
    rng = np.random.default_rng(0)
    for _ in range(100):
        assert np.isfinite(head_pose(rng.normal(size=(68, 2)))).all()


def test_takes_far_less_than_a_millisecond(acted):
    seconds = []
    for points in acted[0][:50]:
        start = time.perf_counter()
        head_pose(points)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 5e-4
