"""Confidence intervals for means of scores that are alike from frame to frame."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, NaN where there is too little data to tell."""

    mean: float
    low: float
    high: float


def interval(
    clips: Sequence[Float[np.ndarray, "n"]],
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
    # What is resampled, and how many of it are independent
    defined = [np.asarray(clip, np.float64) for clip in clips]
    defined = [clip[np.isfinite(clip)] for clip in defined]
    defined = [clip for clip in defined if len(clip)]
    if len(defined) == 1:
        (clip,) = defined
        count = len(clip) // block
        values = _block_means(clip, block) if count > 1 else clip
    else:
        values = np.array([clip.mean() for clip in defined])
        count = len(values)

    mean = values.mean() if len(values) else math.nan
    if count < 2:
        return Interval(float(mean), math.nan, math.nan)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(values), size=(RESAMPLES, count))
    deviations = values[draws].mean(1) - mean
    tail = (1 - confidence) / 2
    ends = _widening(count, tail) * np.quantile(deviations, [tail, 1 - tail])
    low, high = mean + ends
    return Interval(float(mean), float(low), float(high))


def _widening(count: int, tail: float) -> float:
    """How much wider than the bootstrap's the interval of so few values has to be."""
    quantiles = stdtrit(count - 1, tail) / ndtri(tail)
    return quantiles * math.sqrt(count / (count - 1))


def _block_means(clip: Float[np.ndarray, "n"], block: int) -> Float[np.ndarray, "n"]:
    """Means of all blocks of consecutive frames; those at the end go on at the beginning."""
    around = np.concatenate([[0], clip, clip[:block]])
    sums = np.cumsum(around)
    return (sums[block:-1] - sums[: -block - 1]) / block
