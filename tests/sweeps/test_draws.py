"""What is drawn from a search, and how trials are ranked."""

import math
from itertools import product

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.sweeps.files import Trial, count_of, draw, ranking
from tests.support.sweeps import RATE, load


def test_a_grid_is_drawn_completely_and_once():
    values = {"config.batch": [8, 16], "config.level_steps": [[0, 4], [0, 8], "(4,)"]}
    config = {"method": "grid", "parameters": {name: {"values": v} for name, v in values.items()}}
    trials = []
    while (parameters := draw(config, trials, len(trials) + 1)) is not None:
        trials.append(Trial(len(trials) + 1, parameters))
    drawn = [tuple(trial.parameters[name] for name in values) for trial in trials]
    assert sorted(map(str, drawn)) == sorted(map(str, product(*values.values())))


def test_random_draws_are_plain_numbers_in_range_and_the_same_every_time():
    parameters = {
        "config.learning_rate": RATE,
        "config.batch": {"min": 1, "max": 9},
        "config.seed": {"value": 3},
    }
    config = {"method": "random", "parameters": parameters}
    drawn = [draw(config, [], number) for number in range(1, 30)]
    assert drawn == [draw(config, [], number) for number in range(1, 30)]
    for values in drawn:
        assert [type(value) for value in values.values()] == [int, float, int]
        assert values["config.seed"] == 3
    rates = [values["config.learning_rate"] for values in drawn]
    assert len(set(rates)) == 29 and 1e-4 <= min(rates) < 3e-4 and 3e-3 < max(rates) <= 1e-2
    assert {values["config.batch"] for values in drawn} == set(range(1, 10))


def test_bayes_learns_from_outcomes_and_shuns_failures():
    parameters = {"config.learning_rate": RATE}
    config = {"method": "bayes", "metric": {"name": "loss"}, "parameters": parameters}
    trials = []
    for number in range(1, 15):
        parameters = draw(config, trials, number)
        distance = abs(math.log10(parameters["config.learning_rate"]) + 2.5)
        state = "failed" if distance > 1 else "finished"
        trials.append(Trial(number, parameters, state, metrics={"loss": distance}))
    assert draw(config, trials[:-1], 14) == trials[-1].parameters
    assert sorted(trial.metrics["loss"] for trial in trials[6:])[4] < 0.25  # of random draws: 0.5
    assert type(trials[-1].parameters["config.learning_rate"]) is float


@pytest.mark.parametrize(
    ("goal", "numbers"), [({}, [2, 4, 1, 3, 5]), ({"goal": "maximize"}, [3, 1, 2, 4, 5])]
)
def test_the_least_is_the_best_unless_the_goal_says_otherwise(goal, numbers):
    losses = enumerate((2.0, 1.0, 3.0, 1.0), 1)
    trials = [Trial(n, {}, "finished", metrics={"loss": loss}) for n, loss in losses]
    trials.append(Trial(5, {}, "failed", code=-9, metrics={"loss": 0.0}))
    ranked = ranking({"metric": {"name": "loss"} | goal}, trials)
    assert [trial.number for trial in ranked] == numbers


def test_the_flag_says_how_many_trials_else_the_file(write):
    grid = {"config.batch": {"values": [8, 16]}, "config.seed": {"values": [1, 2, 3]}}
    search = load(write(method="grid", parameters=grid))
    assert [count_of(search, wanted) for wanted in (None, 4, 9)] == [6, 4, 6]
    search = load(write(run_cap=2))
    assert [count_of(search, wanted) for wanted in (None, 5)] == [2, 5]
    with pytest.raises(InputError, match=r"'s.yaml' .*--local"):
        count_of(load(write()), None)
