"""What tests of both ways of scoring share."""

import numpy as np

from faceswap_jax.evaluation.report import Comparison

LARGE, SEEN = 192, 12  # pixels and frames of the clips that are measured closely


def mean(comparison: Comparison, row: str, score: str) -> float:
    return float(np.nanmean(comparison.rows[row][score]))
