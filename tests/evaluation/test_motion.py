"""Flicker of clips whose motion and brightness are known."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from faceswap_jax.evaluation.motion import flicker

SIDE, FRAMES = 128, 6


def moving(step: float, brightness: np.ndarray | float = 0.0) -> np.ndarray:
    """A picture of waves that moves by (step, step / 2) pixels a frame, sampled exactly [n, h, w, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    time = np.arange(FRAMES)[:, None, None]
    clip = np.zeros((FRAMES, SIDE, SIDE, 3))
    for _ in range(40):
        fx, fy = rng.uniform(-0.45, 0.45, 2)
        phase, colour = rng.uniform(0, 2 * np.pi), rng.uniform(2, 10, 3)
        wave = np.sin(fx * (x - step * time) + fy * (y - step / 2 * time) + phase)
        clip += colour * wave[..., None]
    clip += 128 + np.broadcast_to(brightness, FRAMES)[:, None, None, None]
    return np.clip(np.rint(clip), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((FRAMES, SIDE, SIDE), np.float32)
    mask[:, 30:100, 30:100] = 1
    return mask


@pytest.mark.parametrize("step", [0.0, 0.4, 1.7, 4.3])
def test_added_flicker_is_measured_whatever_the_motion(step, mask):
    target = moving(step)
    for amplitude in (4, 12):
        result = flicker(
            {"target": target, "flickering": moving(step, amplitude * (np.arange(FRAMES) % 2))},
            target,
            mask,
        )
        assert result["target"].shape == (FRAMES - 1,)
        assert result["target"].mean() < 0.6  # of it 0.25 to 0.4 from rounding to whole grey levels
        np.testing.assert_allclose(result["flickering"], amplitude, atol=0.35)


def test_like_the_exact_flow(mask):
    """Noise differs from frame to frame; the true motion and SciPy's splines give the same error as the estimated."""
    step = 1.3
    target, rng = moving(step), np.random.default_rng(1)
    noisy = np.clip(target + rng.normal(0, 10, target.shape), 0, 255).astype(np.uint8)
    expected = []
    y, x = np.mgrid[:SIDE, :SIDE]
    for i in range(1, FRAMES):
        last = [
            map_coordinates(noisy[i - 1, ..., c].astype(float), (y - step / 2, x - step))
            for c in range(3)
        ]
        expected.append(np.abs(noisy[i] - np.stack(last, -1))[mask[i] > 0].mean())
    np.testing.assert_allclose(flicker({"": noisy}, target, mask)[""], expected, rtol=0.06)


def test_a_moving_light_on_the_target_is_in_its_own_row(mask):
    target = moving(1.0, 3 * (np.arange(FRAMES) % 2))
    result = flicker({"target": target, "steady": moving(1.0)}, target, mask)
    np.testing.assert_allclose(result["target"], 3, atol=0.5)
    assert result["steady"].mean() < 1


def test_only_the_mask_counts(mask):
    target = moving(0.7)
    changed = target.copy()
    changed[::2, :, :20] = 0
    result = flicker({"target": target, "changed": changed}, target, mask)
    np.testing.assert_array_equal(result["target"], result["changed"])
    assert np.isnan(flicker({"": target}, target, 0 * mask)[""]).all()


def test_where_things_appear_nothing_counts():
    """A square passes over the picture: what it uncovers has no counterpart in the frame before."""
    background = moving(0.0)
    target = background.copy()
    for i in range(FRAMES):
        target[i, 40:80, 10 + 8 * i : 50 + 8 * i] = moving(2.0)[0, 10:50, 60:100]
    everything = np.ones((FRAMES, SIDE, SIDE), np.float32)
    plain = np.abs(np.diff(target.astype(float), axis=0)).mean()
    assert flicker({"": target}, target, everything)[""].mean() < 0.2 * plain


def test_short_clips(mask):
    for frames in (0, 1):
        assert flicker({"": moving(0)[:frames]}, moving(0)[:frames], mask[:frames])[""].shape == (
            0,
        )
