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
    clips: Sequence[Float[np.ndarray, "n"]], block: int, confidence: float = 0.95, seed: int = 0
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
    clips = [np.asarray(clip, np.float64)[np.isfinite(clip)] for clip in clips]
    clips = [clip for clip in clips if len(clip)]
    if len(clips) == 1:
        count = len(clips[0]) // block
        around = np.cumsum(np.concatenate([[0], clips[0], clips[0][:block]]))
        values = (around[block:-1] - around[: -block - 1]) / block if count > 1 else clips[0]
    else:
        count, values = len(clips), np.array([clip.mean() for clip in clips])
    mean = values.mean() if len(values) else math.nan
    if count < 2:
        return Interval(float(mean), math.nan, math.nan)
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, count))
    tail = (1 - confidence) / 2
    widening = stdtrit(count - 1, tail) / ndtri(tail) * math.sqrt(count / (count - 1))
    ends = np.quantile(values[draws].mean(1) - mean, [tail, 1 - tail])
    low, high = mean + widening * ends
    return Interval(float(mean), float(low), float(high))
