"""The area under the ROC curve, against its definition and against evaluation/verification.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.evaluation import verification
from faceswap_jax.losses.measures import roc_area

RNG = np.random.default_rng(0)


def test_the_area_is_how_often_a_positive_scores_above_a_negative():
    # Many are equal, and some count nothing.
    scores = RNG.integers(0, 6, (7, 9)).astype(np.float32)
    kind = RNG.integers(0, 3, scores.shape)
    positive, negative = kind == 0, kind == 1
    found = roc_area(jnp.array(scores), jnp.array(positive), jnp.array(negative))

    a, b = scores[positive][:, None], scores[negative]
    expected = ((a > b) + 0.5 * (a == b)).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)

    counted = kind < 2
    by_rank = verification.area(scores[counted], positive[counted])
    assert float(found) == pytest.approx(by_rank, rel=1e-5)
