"""The device never waits for the host, and a run tells what its time is spent on."""

import json
import re
import signal
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from faceswap_jax import train as loop
from faceswap_jax.errors import InputError
from faceswap_jax.reporting.goodput import PARTS
from faceswap_jax.reporting.profile import Profile
from faceswap_jax.train import train
from tests.support.runs import at_step


def test_what_is_not_put_on_the_device_is_refused(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "put", lambda batch, *_: {"x": batch["x"]})
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train(toy, tmp_path)


class Watched:
    """A value on the device that notes when the host reads it."""

    def __init__(self, value, note):
        self.value, self.note = value, note

    def __array__(self, *_, **__):
        self.note()
        return np.asarray(self.value)


def test_values_are_read_when_the_next_step_is_under_way(toy, tmp_path, monkeypatch):
    """But for the last before an evaluation or a checkpoint: those are to be right."""
    events, original = [], loop.programs_of

    def programs_of(*arguments):
        programs = original(*arguments)

        def watched(program, state, batch):
            step = int(state.step) + 1
            events.append(("dispatched", step))
            state, values, good = program(state, batch)
            return state, values, Watched(good, lambda: events.append(("read", step)))

        steps = {name: partial(watched, program) for name, program in programs.steps.items()}
        return replace(programs, steps=steps)

    monkeypatch.setattr(loop, "programs_of", programs_of)
    toy.run.update(log=1, preview=100, checkpoint=6)
    assert train(toy, tmp_path)
    assert {step for event, step in events if event == "read"} == set(range(1, 10))
    for step in set(range(1, 10)) - {4, 6, 9}:  # ends of phases, and a checkpoint
        assert events.index(("dispatched", step + 1)) < events.index(("read", step))
        assert step == 8 or events.index(("read", step)) < events.index(("dispatched", step + 2))


def test_each_function_compiles_once_and_says_so(toy, tmp_path, capfd):
    train(toy, tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Compiling ")]
    first = ["alone", "alone: scores", "alone: scores", "alone: preview"]
    second = ["adversarial, plain", "adversarial, regularised", "adversarial: its beginning"]
    second += ["adversarial: scores", "adversarial: scores", "adversarial: preview"]
    titles = ["the first state", *first, *second]
    assert sorted(lines) == sorted(f"Compiling {title} ..." for title in titles)


def test_rows_tell_time_and_speed_also_of_a_continued_run(toy, tmp_path, monkeypatch):
    """The time is that at work; the speed of a phase's first row is not known."""
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    train(toy, tmp_path)
    train(toy, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    seconds = [row["seconds"] for row in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    known = [row["step"] for row in lines if row.get("steps_per_second", 0) > 0]
    assert known == [4, 8, 9]


def test_every_session_tells_what_its_time_was_spent_on(toy, tmp_path, monkeypatch, capfd):
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    for _ in range(3):  # the last has nothing to do
        train(toy, tmp_path)
    sessions = [json.loads(line) for line in (tmp_path / "goodput.jsonl").read_text().splitlines()]
    assert [(session["after"], session["step"]) for session in sessions] == [(0, 5), (5, 9)]
    assert all(
        tuple(session["seconds"]) == PARTS and min(session["seconds"].values()) > 0
        for session in sessions
    )
    lines = [line for line in capfd.readouterr().err.splitlines() if " steps: start " in line]
    assert [line.split(" for ")[1].split(":")[0] for line in lines] == ["5 steps", "4 steps"]
    for line in lines:
        parts = map(float, re.findall(r"([\d.]+) %", line))
        assert sum(parts) == pytest.approx(100, abs=0.3)


def test_steps_are_traced(toy, tmp_path, monkeypatch):
    train(toy, tmp_path, Profile.parse("6:8", tmp_path / "profile"))
    traces = list((tmp_path / "profile" / "plugins" / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000
    second = Profile.parse("2:99", tmp_path / "late")
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGTERM))
    assert not train(toy, tmp_path / "run", second)
    # Continues within the range, and ends before its last step.
    assert train(toy, tmp_path / "run", second)
    assert len(list((tmp_path / "late").rglob("*.xplane.pb"))) >= 2
    for text in ("", "3", "5:3", "0:4", "a:b", "1:2:3"):
        with pytest.raises(InputError, match="give the first and the last step, such as 10:14"):
            Profile.parse(text, tmp_path)
