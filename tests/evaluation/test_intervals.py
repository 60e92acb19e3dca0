"""Coverage of the confidence intervals on scores whose true mean is known."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import bootstrap

from faceswap_jax.evaluation.intervals import interval

BLOCK = 25
MEMORY = 0.8  # correlation of neighbouring frames; it falls to 1/e in 4.5 frames


def scores(rng: np.random.Generator, frames: int, mean: float = 10.0) -> np.ndarray:
    """First-order autoregressive scores of unit variance, stationary from the first frame."""
    noise = rng.normal(size=frames) * np.sqrt(1 - MEMORY**2)
    noise[0] = rng.normal()
    return mean + lfilter([1], [1, -MEMORY], noise)


def coverage(intervals, mean: float = 10.0) -> float:
    return float(np.mean([low <= mean <= high for _, low, high in intervals]))


def test_one_clip_covers_its_mean():
    rng = np.random.default_rng(0)
    clips = [scores(rng, 250) for _ in range(200)]
    blocks = coverage([interval([clip], BLOCK) for clip in clips])
    naive = coverage([interval([clip], 1) for clip in clips[:50]])
    print(f"coverage of 95 % intervals: blocks of a second {blocks:.3f}, single frames {naive:.3f}")
    assert 0.91 < blocks < 0.99
    assert naive < 0.6


@pytest.mark.parametrize("count", [3, 12])
def test_several_clips_cover_their_common_mean(count):
    """Clips have means of their own, which no number of frames averages out."""
    rng = np.random.default_rng(1)
    runs = [[scores(rng, 60, 10 + rng.normal()) for _ in range(count)] for _ in range(400)]
    clips = coverage([interval(run, BLOCK) for run in runs])
    frames = coverage([interval([np.concatenate(run)], BLOCK) for run in runs])
    print(f"{count} clips: coverage {clips:.3f}, of their frames as one clip {frames:.3f}")
    assert 0.91 < clips < 0.99
    assert frames < 0.9


def test_many_clips_are_scipy_s_bootstrap():
    """With a hundred values there is little to widen."""
    values = np.random.default_rng(2).exponential(size=100)
    low, high = bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    mean, *ends = interval([[value] for value in values], BLOCK)
    assert mean == pytest.approx(values.mean())
    np.testing.assert_allclose(np.array(ends) - mean, np.array([low, high]) - mean, rtol=0.1)


def test_blocks_of_one_frame_are_scipy_s_bootstrap():
    values = np.random.default_rng(3).normal(size=100)
    low, high = bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    np.testing.assert_allclose(interval([values], 1)[1:], [low, high], atol=0.03)


def test_deterministic_ordered_and_in_units_of_the_score():
    clip = scores(np.random.default_rng(4), 300)
    mean, low, high = interval([clip], BLOCK)
    assert interval([clip], BLOCK) == (mean, low, high)
    assert low < mean < high and mean == pytest.approx(clip.mean())
    np.testing.assert_allclose(interval([3 * clip - 7], BLOCK), 3 * np.array([mean, low, high]) - 7)
    wide = interval([clip], BLOCK, confidence=0.99)
    assert wide.low < low and high < wide.high


def test_equal_scores_leave_no_doubt():
    assert interval([np.full(100, 0.25)], BLOCK) == pytest.approx((0.25, 0.25, 0.25))
    assert interval([[0.25], [0.25, 0.25]], BLOCK) == pytest.approx((0.25, 0.25, 0.25))


def test_too_little_to_tell():
    assert np.isnan(interval([], BLOCK)).all()
    assert np.isnan(interval([[np.nan] * 5, []], BLOCK)).all()
    short = interval([[1.0, np.nan, 3.0]], BLOCK)
    assert short.mean == 2 and np.isnan(short[1:]).all()
    assert np.isfinite(interval([np.arange(2 * BLOCK)], BLOCK)).all()
    clips = [np.array([1.0, np.nan]), np.array([3.0]), np.full(4, np.nan)]
    assert interval(clips, BLOCK).mean == 2
    assert interval(clips, BLOCK) == interval(clips[:2], BLOCK)
