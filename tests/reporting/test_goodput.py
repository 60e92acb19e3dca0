"""The clock that splits a run's time, with a time that the tests set."""

import pytest

from faceswap_jax.reporting import goodput
from faceswap_jax.reporting.goodput import PARTS, Clock


@pytest.fixture
def wait(monkeypatch):
    """Lets seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(goodput.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_every_second_belongs_to_one_part(wait):
    clock = Clock()
    wait(1)
    with clock("step"):
        wait(2)
        with clock("evaluation"):
            wait(4)
            with clock("compile"):
                wait(8)
            wait(16)
        wait(32)
    wait(64)
    seconds = clock.seconds()
    assert seconds == {
        "start": 65,
        "compile": 8,
        "data": 0,
        "step": 34,
        "evaluation": 20,
        "checkpoint": 0,
    }
    assert list(seconds) == list(PARTS) and sum(seconds.values()) == 127


def test_the_time_until_now_counts(wait):
    clock = Clock()
    with clock("step"):
        wait(3)
        assert clock.seconds()["step"] == 3
        wait(2)
    assert clock.seconds()["step"] == 5


def test_an_error_ends_a_part(wait):
    clock = Clock()
    with pytest.raises(KeyError), clock("step"), clock("checkpoint"):
        wait(1)
        raise KeyError
    wait(2)
    assert (clock.seconds()["checkpoint"], clock.seconds()["step"], clock.seconds()["start"]) == (
        1,
        0,
        2,
    )
