"""Measures of expressions against puppets, whose parameters are known."""

import numpy as np
import pytest

from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from faceswap_jax.faces import expression

NAMES = list(expression.MEASURES)


def shown(**performance):
    frame = render(sample_persona(0, 1), Performance(**performance), Scene(), 128)
    return frame.landmarks, frame.irises


def measured(**performance):
    return dict(zip(NAMES, expression.measures(*shown(**performance)), strict=True))


@pytest.mark.parametrize(
    ("parameter", "low", "high", "risen"),
    [
        ("gaze_x", -20, 20, ("right_gaze_x", "left_gaze_x")),
        ("gaze_y", 20, -20, ("right_gaze_y", "left_gaze_y")),
        ("lid_left", 0.2, 0.9, ("right_lids",)),
        ("lid_right", 0.2, 0.9, ("left_lids",)),
        ("brow_raise", 0.9, -0.4, ("right_brow_middle", "left_brow_middle")),
        ("brow_frown", 0, 1, ("right_brow_inner", "left_brow_inner")),
        ("mouth_open", 0, 0.9, ("mouth_open", "lips", "jaw")),
        ("smile", -0.5, 1, ("mouth_width", "mouth_corners")),
        ("pucker", 1, 0, ("mouth_width",)),
    ],
)
def test_each_parameter_moves_the_measures_of_its_name(parameter, low, high, risen):
    before = measured(**{parameter: low})
    after = measured(**{parameter: high})
    for name in risen:
        assert after[name] - before[name] > 0.8 * expression.MEASURES[name]


def test_measures_are_the_same_in_every_size_place_and_roll():
    landmarks, irises = shown(smile=0.5, gaze_x=10.0)
    turn = 3 * np.array([[0.9, -0.4], [0.4, 0.9]])
    moved = expression.measures(landmarks @ turn.T + 7, irises @ turn.T + 7)
    np.testing.assert_allclose(moved, expression.measures(landmarks, irises), atol=1e-5)


def test_gaze_alone_is_unknown_where_irises_are():
    landmarks, _ = shown()
    unknown = np.isnan(expression.measures(landmarks, np.full((2, 2), np.nan)))
    assert [name for name, nan in zip(NAMES, unknown, strict=True) if nan] == [
        name for name in NAMES if "gaze" in name
    ]
