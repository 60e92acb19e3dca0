"""InfoNCE: parity with cross entropies of SciPy's, and what it is for."""

import numpy as np
import pytest
from scipy.special import logsumexp

from faceswap_jax.losses.contrastive import info_nce


def test_it_is_the_mean_cross_entropy_of_both_directions():
    cosines = np.random.default_rng(0).uniform(-1, 1, (3, 5, 5))
    logits = cosines / 0.2
    right = np.diagonal(logits, axis1=1, axis2=2)
    expected = [(logsumexp(logits, axis=axis) - right).mean(1) for axis in (1, 2)]
    np.testing.assert_allclose(info_nce(cosines, 0.2), np.mean(expected, 0), rtol=1e-5)


def test_only_differences_within_a_track_count():
    cosines = np.random.default_rng(1).uniform(-1, 1, (4, 4))
    assert info_nce(cosines + 0.5, 0.1) == pytest.approx(float(info_nce(cosines, 0.1)), rel=1e-5)
    assert info_nce(np.ones((4, 4)), 0.1) == pytest.approx(np.log(4))
    assert info_nce(np.eye(4), 0.05) < 1e-6
