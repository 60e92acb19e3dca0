"""A training that is killed at random moments, most of them during a save, is the training that was left alone."""

import pytest

from experiments.benchmarks import kills


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    (outcome,) = kills.trials(tmp_path, count=1, kills=6, steps=20, seed=0)
    # A kill may come late, and miss the process.
    assert len(outcome.steps) >= 4 and outcome.saving >= 1
    # On both levels
    assert outcome.steps == sorted(outcome.steps) and outcome.steps[0] < 20 < outcome.steps[-1]
    assert outcome.survived and outcome.equal
