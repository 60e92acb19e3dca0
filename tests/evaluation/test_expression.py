"""Aspect ratios, their correlation and pose errors, on drawn faces and on puppets."""

import numpy as np
import pytest

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, sample_persona
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.evaluation.expression import RATIOS, aspect_ratios, correlation, pose_errors
from faceswap_jax.faces.align import transform_points
from tests.support.face_scenes import face_landmarks, similarity
from tests.support.mirroring import mirror_landmarks


def landmarks(persona: int, performances: list[Performance]) -> np.ndarray:
    anatomies = [build(sample_persona(5, persona), performance) for performance in performances]
    return np.stack(
        [Camera(256).project(a.pose.to_world(head_points(a))) for a in anatomies]
    ).astype(np.float32)


def test_ratios_of_a_drawn_face():
    """Eyes 40 wide and 14 high, brows' mean 46.04 above them, inner lips with radii 35 and 6."""
    right, left, right_brow, left_brow, mouth = aspect_ratios(face_landmarks()[None])[0]
    assert (right, left) == pytest.approx((14 / 40, 14 / 40))
    brow = 40 + 10 * np.sin(np.linspace(0, np.pi, 5)).mean()
    assert (right_brow, left_brow) == pytest.approx((brow / 40, brow / 40))
    rims = 2 * 6 * np.sin(np.pi / 4 * np.array([1, 2, 3]))
    assert mouth == pytest.approx(rims.mean() / 70)


def test_place_size_and_tilt_play_no_role():
    faces = landmarks(0, performance_track(5, 0, 0, 5))
    moved = np.stack([transform_points(face, similarity(2.5, 40, 300, -20)) for face in faces])
    np.testing.assert_allclose(aspect_ratios(moved), aspect_ratios(faces), atol=1e-4)
    mirrored = np.stack([mirror_landmarks(face, 256) for face in faces])
    np.testing.assert_allclose(
        aspect_ratios(mirrored), aspect_ratios(faces)[:, [1, 0, 3, 2, 4]], atol=1e-4
    )


@pytest.mark.parametrize(
    ("movement", "moves"),
    [
        (
            {"lid_left": 0.0},
            {"right eye": -1},
        ),  # the eye at the left of the picture is the person's right one
        ({"lid_right": 0.0}, {"left eye": -1}),
        ({"brow_raise": 1.0}, {"right brow": 1, "left brow": 1}),
        ({"mouth_open": 1.0}, {"mouth": 1}),
    ],
)
def test_every_movement_has_its_ratio(movement, moves):
    still, moved = aspect_ratios(landmarks(1, [Performance(), Performance(**movement)]))
    for name, change in zip(RATIOS, moved - still, strict=True):
        assert np.sign(change) == moves[name] if name in moves else abs(change) < 0.01, name
        assert name not in moves or abs(change) > 0.1


def test_correlation_is_pearson_s():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 5))
    b += a * [3, 1, 0.3, 0, -2]
    expected = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(5)]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-6)
    np.testing.assert_allclose(correlation(a, 7 * a + 3), 1, atol=1e-6)
    np.testing.assert_allclose(correlation(a, -a), -1, atol=1e-6)
    a[::3] = np.nan
    expected = [
        np.corrcoef(np.delete(a[:, k], np.s_[::3]), np.delete(b[:, k], np.s_[::3]))[0, 1]
        for k in range(5)
    ]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-6)


def test_a_still_ratio_has_no_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50, 5))
    a[:, 1] = 0.3 + 1e-6 * rng.normal(size=50)
    result = correlation(a.astype(np.float32), b)
    assert np.isnan(result).tolist() == [False, True, False, False, False]
    assert np.isnan(correlation(np.full((9, 5), np.nan), b[:9])).all()


def test_one_performance_on_two_faces():
    """The same track on two puppets correlates; two tracks do not."""
    mine, other = performance_track(5, 0, 0, 200), performance_track(5, 0, 1, 200)
    driving = aspect_ratios(landmarks(0, mine))
    same, different = (aspect_ratios(landmarks(3, track)) for track in (mine, other))
    assert (
        correlation(same, driving) > [0.9, 0.9, 0.7, 0.7, 0.95]
    ).all()  # less than 1, for heads turn
    assert np.abs(correlation(different, driving)).mean() < 0.4


def test_pose_errors():
    reference = landmarks(2, [Performance(), Performance(yaw=10), Performance(roll=-5)])
    turned = landmarks(2, [Performance(yaw=8), Performance(yaw=10), Performance(roll=7)])
    np.testing.assert_allclose(
        pose_errors(turned, reference), [[8, 0, 0], [0, 0, 0], [0, 0, 12]], atol=1.5
    )
    upside_down = transform_points(reference[0], similarity(1, 170, 100, 100))
    over = transform_points(reference[0], similarity(1, -170, 100, 100))
    np.testing.assert_allclose(pose_errors(upside_down[None], over[None]), [[0, 0, 20]], atol=0.1)
    turned[1] = np.nan
    assert np.isnan(pose_errors(turned, reference)).any(1).tolist() == [False, True, False]
