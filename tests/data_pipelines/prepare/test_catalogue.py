"""Tests of the choice of a few records of many."""

import numpy as np
import pytest

from data_pipelines.prepare.catalogue import spread, spread_over_tracks


@pytest.mark.parametrize(("count", "most"), [(0, 5), (3, 5), (5, 5), (7, 5), (1000, 7)])
def test_a_spread_is_even(count, most):
    chosen = spread(count, most)
    assert len(chosen) == min(count, most) and chosen == sorted(set(chosen))
    gaps = np.diff([-1 - chosen[0], *chosen, 2 * count - 1 - chosen[-1]]) if chosen else np.zeros(1)
    assert np.ptp(gaps) <= 2  # also of the first and the last to the ends


@pytest.mark.parametrize(
    "tracks", [[1], [3, 1, 40], [1] * 25, [500], [2, 2, 2], [9, 1, 1, 1], [1000] * 30]
)
def test_every_track_gives_about_as_many(tracks):
    chosen = spread_over_tracks(tracks, 10)
    assert len(chosen) == min(10, sum(tracks))
    assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < sum(tracks)
    counts = np.histogram(chosen, np.cumsum([0, *tracks]) - 0.5)[0]
    open_ended = [count for count, length in zip(counts, tracks, strict=True) if count < length]
    assert not open_ended or max(counts) - min(open_ended) <= 1 or len(tracks) > 10
