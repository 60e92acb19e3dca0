"""Exit codes, and what stands on stderr, when a command does not end well."""

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from faceswap_jax import cli
from faceswap_jax import train as loop
from faceswap_jax.errors import DivergedError, InputError, JobError
from faceswap_jax.files import PARTIAL


@pytest.fixture
def trained(faceswap, experiment, monkeypatch):
    """Runs `faceswap train` whose training ends with an error."""

    def run(error):
        def train(*_):
            raise error

        monkeypatch.setattr(loop, "train", train)
        return faceswap("train", "--config", experiment, "--workdir", "w")

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DivergedError("loss is nan at step 3;\nlower it."), 1),
        (InputError("There is no data."), 2),
        (JobError("Process 0 has lost another process of this job."), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_a_sentence_and_an_exit_code(trained, error, code):
    result, out, err = trained(error)
    assert (result, out) == (code, "")
    assert err.startswith("faceswap: ") and err.count("\n") == 1
    assert " ".join(str(error).split()) in err


def test_an_unknown_error_is_told_apart_from_those_that_would_happen_again(trained):
    code, out, err = trained(RuntimeError("the network cable"))
    assert code == 70 and not out and "Traceback" in err and "the network cable" in err


def test_a_reader_that_goes_ends_the_command_quietly():
    """As `faceswap --help | head -1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "faceswap_jax.cli", "--help"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def test_sigterm_leaves_nothing_half_written(tmp_path):
    """And the process dies of it, as launchers expect."""
    output = tmp_path / "puppets"
    flags = "--personas 1 --tracks 1 --frames 9999 --processes 1"
    command = [sys.executable, "-m", "faceswap_jax.cli", "puppets", "--output", output]
    process = subprocess.Popen([*command, *flags.split()], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not list(output.rglob(f"*{PARTIAL}.mp4")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(output.rglob(f"*{PARTIAL}.mp4"))
        process.terminate()
        assert b"Traceback" not in process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM
    assert not list(output.rglob(f"*{PARTIAL}*"))


@pytest.mark.parametrize("where", ["callback", "finalizer"])
@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, cli.Terminated)],
)
def test_a_signal_that_comes_while_garbage_is_collected_is_obeyed(number, error, where):
    """Python drops what is raised there, and JAX collects garbage of its own."""
    sent = []

    def send(*_):
        if not sent:
            sent.append(number)
            signal.raise_signal(number)

    class Garbage:
        __del__ = send

    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = signal.signal(number, usual[number])
    if where == "callback":
        gc.callbacks.append(send)
    try:
        with pytest.raises(error), cli.terminated_cleanly():
            if where == "finalizer":
                Garbage()
            gc.collect()
            time.sleep(30)
    finally:
        if where == "callback":
            gc.callbacks.remove(send)
        signal.signal(number, before)
    assert sent


def test_an_interrupted_compilation_is_not_waited_for():
    """A compilation may take minutes, and who interrupts for a second time wants to stop at once."""
    script = """
import signal, sys, threading, time
from faceswap_jax import cli
from faceswap_jax.training.programs import Compiler

class Endless:
    def compile(self):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        while True:
            time.sleep(1)

signal.signal(signal.SIGINT, signal.default_int_handler)
cli.dispatch = lambda _: Compiler()("a program", Endless)
sys.exit(cli.main([]))
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (130, "faceswap: interrupted.\n")
