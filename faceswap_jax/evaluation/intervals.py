"""Confidence intervals for means of scores that are alike from frame to frame."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

RESAMPLES = 2000

Scores = Float[np.ndarray, "n"]


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, NaN where there is too little data to tell."""

    mean: float
    low: float
    high: float


def interval(
    clips: Sequence[Scores],
    block: int,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean over clips of each one's mean over its frames, with a bootstrap percentile interval.

    Neighbouring frames resemble each other, frames of one clip more than those of two. Of several clips, their means
    are resampled; of a single one, its overlapping blocks of consecutive frames (circular block bootstrap, Politis and
    Romano 1992). The bootstrap's deviations are widened by the factor that the mean of so few normal values
    would need (Hesterberg 2015): t quantile over normal quantile, and the root of n / (n - 1).

    Args:
        clips: scores per frame; NaN (no score) are left out, and so are clips without any score.
        block: frames in which scores forget each other, about a second; a clip needs two blocks.
        confidence: probability that such an interval covers the mean.
        seed: of the resampling.
    """
    values, count = _independent([_defined(clip) for clip in clips], block)
    mean = values.mean() if len(values) else math.nan
    if count < 2:
        return Interval(float(mean), math.nan, math.nan)

    # Bootstrap
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(values), size=(RESAMPLES, count))
    deviations = values[draws].mean(1) - mean

    # The interval, widened for so few values
    tail = (1 - confidence) / 2
    quantiles = np.quantile(deviations, [tail, 1 - tail])
    low, high = mean + _widening(count, tail) * quantiles
    return Interval(float(mean), float(low), float(high))


def _defined(clip: Scores) -> Scores:
    """The scores that are numbers, in double precision."""
    scores = np.asarray(clip, np.float64)
    return scores[np.isfinite(scores)]


def _independent(clips: Sequence[Scores], block: int) -> tuple[Scores, int]:
    """What is resampled, and how many of it are independent."""
    scored = [clip for clip in clips if len(clip)]
    if len(scored) != 1:
        means = np.array([clip.mean() for clip in scored])
        return means, len(means)
    (clip,) = scored
    count = len(clip) // block
    values = _block_means(clip, block) if count > 1 else clip
    return values, count


def _widening(count: int, tail: float) -> float:
    """How much wider than the bootstrap's the interval of so few values has to be."""
    quantiles = stdtrit(count - 1, tail) / ndtri(tail)
    return quantiles * math.sqrt(count / (count - 1))


def _block_means(clip: Scores, block: int) -> Scores:
    """Means of all blocks of consecutive frames; those at the end go on at the beginning."""
    around = np.concatenate([[0], clip, clip[:block]])
    sums = np.cumsum(around)
    sums_of_blocks = sums[block:-1] - sums[: -block - 1]
    return sums_of_blocks / block
