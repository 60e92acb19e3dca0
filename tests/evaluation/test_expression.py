"""How a clip follows the motion of another, and errors of pose."""

import numpy as np
import pytest

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, sample_persona
from faceswap_jax.evaluation.expression import (
    aspects_follow,
    following,
    mean_correlation,
    pose_errors,
    signals,
)
from faceswap_jax.faces.align import transform_points
from faceswap_jax.faces.blendshapes import NAMES
from tests.support.face_scenes import similarity


def landmarks(persona: int, performances: list[Performance]) -> np.ndarray:
    anatomies = [build(sample_persona(5, persona), performance) for performance in performances]
    return np.stack(
        [Camera(256).project(a.pose.to_world(head_points(a))) for a in anatomies]
    ).astype(np.float32)


def test_one_signal_follows_as_pearson_says():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 1))
    for slope in (3, 1, 0.3, 0, -2):
        mixed = b + slope * a
        told = following(mixed, a)
        assert told.correlation == pytest.approx(np.corrcoef(mixed[:, 0], a[:, 0])[0, 1])
        assert told.amplitude == pytest.approx(mixed.std() / a.std())
    assert following(7 * a + 3, a) == pytest.approx((1, 7))
    assert following(-a, a) == pytest.approx((-1, 1))


def test_a_mean_correlation_counts_every_signal_that_moves_alike():
    rng = np.random.default_rng(0)
    driving = rng.normal(size=(400, 4)) * [1, 0.1, 20, 0]
    clip = driving * [3, -0.5, 0, 1]
    assert mean_correlation(clip, driving) == pytest.approx((1 - 1 + 0) / 3)
    assert np.isnan(mean_correlation(clip, 0 * driving))
    assert np.isnan(mean_correlation(np.full((9, 4), np.nan), driving[:9]))


def test_aspect_ratios_follow_the_expression_and_not_the_place_of_a_face():
    rng = np.random.default_rng(0)
    acted = [
        Performance(lid_left=a, lid_right=b, brow_raise=c, mouth_open=d)
        for a, b, c, d in rng.uniform(0.2, 0.9, (12, 4))
    ]
    own = landmarks(1, acted)
    elsewhere = transform_points(own.reshape(-1, 2), similarity(1.7, 20, 3, 4))
    assert aspects_follow(elsewhere.reshape(own.shape), own) == pytest.approx(1, abs=1e-3)
    assert aspects_follow(landmarks(2, acted), own) > 0.9
    assert abs(aspects_follow(landmarks(2, acted[::-1]), own)) < 0.7
    # Of somebody who does nothing, nothing follows.
    assert aspects_follow(np.stack([own[0]] * 12), own) == 0


def test_signals_count_as_much_as_they_move():
    rng = np.random.default_rng(0)
    driving = rng.normal(size=(500, 2)) * [1, 0.01]
    told = following(driving * [0.5, 9], driving)
    assert told == pytest.approx((1, 0.5), abs=0.02)


def test_frames_without_a_face_are_left_out():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 60, 3))
    expected = following(a[20:], b[20:])
    a[:10] = np.nan
    b[10:20] = np.nan
    assert following(a, b) == pytest.approx(expected)
    assert np.isnan(following(np.full((9, 3), np.nan), b[:9])).all()


def test_what_is_still_is_not_compared():
    rng = np.random.default_rng(0)
    moving = rng.normal(size=(50, 2))
    still = 0.3 + 1e-5 * moving
    assert np.isnan(following(moving, still)).all()
    # The mean expression
    told = following(still, moving)
    assert told.correlation == 0 and told.amplitude < 1e-4


def test_signals_of_a_group():
    scores = np.zeros((2, 52))
    for name, value in (("eyeLookInLeft", 0.7), ("eyeLookOutRight", 0.4), ("jawOpen", 0.5)):
        scores[1, NAMES.index(name)] = value
    gaze = signals(scores, "gaze")
    np.testing.assert_allclose(gaze, [[0, 0, 0, 0], [0.7, -0.4, 0, 0]])
    np.testing.assert_allclose(signals(scores, "jaw"), [[0], [0.5]])
    assert signals(scores, "blink").shape == (2, 2) and signals(scores, "brows").shape == (2, 5)
    assert signals(scores, "mouth").max() == 0.5


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
