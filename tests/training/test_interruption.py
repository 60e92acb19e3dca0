"""Signals."""

import signal
import threading
import time

import pytest

from faceswap_jax.faces import picture
from faceswap_jax.reporting.goodput import Clock
from faceswap_jax.train import train
from faceswap_jax.training import interruption
from faceswap_jax.training.interruption import Interruption
from faceswap_jax.training.programs import Compiler
from tests.support.runs import at_step, saved_steps
from tests.support.toy import Task as Toy


@pytest.mark.parametrize(("signal_at", "stopped"), [(5, 6), (4, 4)])
def test_a_signal_during_an_evaluation_waits_for_the_next_step(
    toy, tmp_path, monkeypatch, signal_at, stopped
):
    """But not for another phase, which would have to be compiled."""

    def save_grid(path, *_):
        if path.name == f"step_000000{signal_at}.png":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(picture, "save_grid", save_grid)
    toy.run.update(preview=5, checkpoint=100)
    assert not train(toy, tmp_path)
    assert saved_steps(tmp_path)[-1] == stopped


def test_a_signal_before_the_first_step_makes_none(toy, tmp_path, monkeypatch, capfd):
    read = Toy.frozen_inputs

    def frozen_inputs(self):
        signal.raise_signal(signal.SIGINT)
        return read(self)

    monkeypatch.setattr(Toy, "frozen_inputs", frozen_inputs)
    assert not train(toy, tmp_path)
    assert saved_steps(tmp_path) == []
    error = capfd.readouterr().err
    assert "before the first step" in error and "saved" not in error


def test_a_signal_is_answered_by_what_the_run_is_doing():
    clock, said = Clock(), []
    for part, answer in (("compile", "this compilation and one step"), ("step", "this step")):
        with Interruption(clock, said.append) as requests, clock(part):
            assert not requests.stopping
            signal.raise_signal(signal.SIGINT)
            assert requests.stopping and answer in said[-1]


def test_signals_are_heard_during_a_compilation():
    """In the middle of XLA's work, not after it."""
    heard, running = [], threading.Event()

    class Lowered:
        def compile(self):
            running.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            for _ in range(10_000):  # until the main thread has heard
                if heard:
                    return "compiled"
                time.sleep(0.001)

    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append(running.is_set()))
    try:
        assert Compiler()("a program", Lowered) == "compiled"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [True]


def test_a_second_signal_stops_at_once(toy, tmp_path, monkeypatch):
    """But not one that follows so soon that it is the same, sent to a group of processes and passed on."""
    monkeypatch.setattr(interruption, "ECHO_SECONDS", 0)
    before = signal.getsignal(signal.SIGINT)  # a shell in the background ignores it
    at_step(monkeypatch, 5, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path)
    assert saved_steps(tmp_path)[-1] == 4
    assert signal.getsignal(signal.SIGINT) is before
