"""Measures of expressions against puppets, whose parameters are known; and what is read from latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from faceswap_jax.losses import expression

NAMES = list(expression.MEASURES)


def shown(**performance):
    frame = render(sample_persona(0, 1), Performance(**performance), Scene(), 128)
    return jnp.array(frame.landmarks), jnp.array(frame.irises)


def measured(**performance):
    return dict(zip(NAMES, np.array(expression.measures(*shown(**performance))), strict=True))


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
    turn = 3 * jnp.array([[0.9, -0.4], [0.4, 0.9]])
    moved = expression.measures(landmarks @ turn.T + 7, irises @ turn.T + 7)
    np.testing.assert_allclose(moved, expression.measures(landmarks, irises), atol=1e-5)


def test_gaze_alone_is_unknown_where_irises_are():
    landmarks, _ = shown()
    unknown = np.isnan(expression.measures(landmarks, jnp.full((2, 2), jnp.nan)))
    assert [name for name, nan in zip(NAMES, unknown, strict=True) if nan] == [
        name for name in NAMES if "gaze" in name
    ]


@pytest.fixture
def told():
    """Latents that tell all measures of some images, and the kernel that reads them."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 30)).astype(np.float32)
    kernel = rng.normal(size=(30, len(NAMES))).astype(np.float32)
    spread = np.array(list(expression.MEASURES.values()))
    return jnp.array(z), jnp.array(kernel), jnp.array((z @ kernel + 5) * spread, jnp.float32)


def test_nothing_is_unread_that_latents_tell_but_for_what_a_persona_always_has(told):
    z, kernel, wanted = told
    assert expression.unread(z, kernel, wanted) < 1e-6
    assert expression.unread(z, kernel, wanted + jnp.arange(len(NAMES))) < 1e-5


def test_unread_is_the_variance_of_the_error_and_skips_what_is_unknown(told):
    z, kernel, wanted = told
    spread = np.array(list(expression.MEASURES.values()))
    noise = np.random.default_rng(1).normal(size=wanted.shape)
    noise[2, 4] = noise[1:, 7] = np.nan
    expected = np.nan_to_num((noise - np.nanmean(noise, 0)) ** 2).mean()

    def loss(z):
        return expression.unread(z, kernel, wanted + noise * spread)

    value, gradient = jax.value_and_grad(loss)(z)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
