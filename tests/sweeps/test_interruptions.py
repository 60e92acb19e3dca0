"""Sweeps that are killed, interrupted, or started twice."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.sweeps import journal
from tests.support.sweeps import started, sweep, table, wait_for


@pytest.fixture
def wait(write):
    """While this file exists, trials stay at step 2."""
    path = Path("wait")
    path.touch()
    return path


def children(process: subprocess.Popen) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in text.split()]


def test_a_killed_sweep_goes_on_to_the_same_ranking(write, wait):
    """By Bayes' method, whose draws depend on all that came before."""
    path = write(method="bayes")
    wait.unlink()
    assert sweep(path, 4, Path("whole"))
    assert sweep(path, 1, Path("out"))
    wait.touch()
    process = started(path, 4, "out")
    wait_for(Path("out/trial_002/metrics.jsonl"), '"step": 2', process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait.unlink()
    with Path("out/trials.jsonl").open("a") as file:
        file.write('{"number": 4, "par')  # a line that was being written
    assert sweep(path, 4, Path("out"))
    assert table("out") == table("whole")
    assert Path("out/trial_002.log").read_text() == "began after 0\nbegan after 2\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_sweep_stops_its_trials_gently_and_goes_on(write, wait, number):
    """Ctrl-C comes from a terminal, to the trials too, which must not take it for a second one."""
    path = write()
    process = started(path, 3, "out", "0", "1")
    for trial in ("trial_001", "trial_002"):
        wait_for(Path(f"out/{trial}/metrics.jsonl"), '"step": 2', process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, b"")
    assert b"Stopped; 0 of 3 trials" in err.splitlines()[-1]
    wait.unlink()
    for trial in ("trial_001", "trial_002"):
        assert Path(f"out/{trial}/caught").read_text() == "1"
    assert sweep(path, 3, Path("out"))
    assert [Path(f"out/trial_00{n}.log").read_text().count("began") for n in (1, 2, 3)] == [2, 2, 1]
    assert Path("out/trial_001.log").read_text() == "began after 0\nbegan after 2\n"


def test_who_stops_a_trial_stops_the_sweep(write, wait):
    process = started(write(), 2, "out")
    wait_for(Path("out/trial_001/metrics.jsonl"), '"step": 2', process)
    os.kill(children(process)[0], signal.SIGTERM)
    assert b"Stopped; 0 of 2" in process.communicate()[1] and process.returncode == 0


def test_no_two_write_to_a_folder(write, wait, monkeypatch):
    """Neither a second sweep nor one whose predecessor was killed without its trial."""
    path = write()
    process = started(path, 2, "out")
    wait_for(Path("out/trial_001/metrics.jsonl"), '"step": 2', process)
    (trial,) = children(process)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "PATIENCE", 0)
        for _ in range(2):
            with pytest.raises(InputError, match="process is writing out"):
                sweep(path, 2, Path("out"))
            process.kill()
            process.wait()
    assert Path(f"/proc/{trial}").exists()
    process.communicate()
    wait.unlink()
    wait_for(Path("out/trial_001/progress.json"))
    assert sweep(path, 2, Path("out"))
    assert Path("out/trial_001.log").read_text() == "began after 0\nbegan after 4\n"
