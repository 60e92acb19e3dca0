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


@pytest.mark.parametrize(
    ("parameter", "low", "high", "risen"),
    [
        ("lid_left", 0.2, 0.9, ("right_eye",)),
        ("lid_right", 0.2, 0.9, ("left_eye",)),
        ("brow_raise", -0.4, 0.9, ("right_brow", "left_brow")),
        ("mouth_open", 0, 0.9, ("mouth",)),
        ("pucker", 0, 1, ("mouth",)),
    ],
)
def test_each_parameter_moves_its_aspect_ratio_and_no_other(parameter, low, high, risen):
    before, after = (
        expression.aspect_ratios(shown(**{parameter: value})[0]) for value in (low, high)
    )
    moved = dict(zip(expression.ASPECT_RATIOS, after - before, strict=True))
    for name, change in moved.items():
        assert change > 0.05 if name in risen else abs(change) < 0.02, (name, change)


def test_aspect_ratios_are_heights_over_widths():
    """Of a face drawn by hand: eyes 2 wide and 1 high, brows 1.5 above them, a mouth 4 wide and 2 high."""
    points = np.zeros((68, 2))
    for eye, brow, x in ((36, 17, -3), (42, 22, 1)):
        points[eye : eye + 6] = np.add(
            [(0, 0), (0.5, -0.5), (1.5, -0.5), (2, 0), (1.5, 0.5), (0.5, 0.5)], (x, 0)
        )
        points[brow : brow + 5] = np.stack([np.linspace(x, x + 2, 5), np.full(5, -1.5)], 1)
    points[[48, 54]] = (-2, 5), (2, 5)
    for above, below, x in ((50, 58, -1), (51, 57, 0), (52, 56, 1)):
        points[above], points[below] = (x, 4), (x, 6)
    several = np.stack([points, 3 * points + 7])
    expected = [[0.5, 0.5, 0.75, 0.75, 0.5]] * 2
    np.testing.assert_allclose(expression.aspect_ratios(several), expected, atol=1e-6)


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
