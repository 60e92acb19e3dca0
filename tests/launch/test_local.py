"""Processes of one machine: which of them tells how the job has ended."""

import subprocess
import time
from pathlib import Path

import pytest

LOCAL = Path(__file__).parents[2] / "launch" / "local.sh"


def run(*behaviours):
    """The code, the messages and the seconds of a job whose processes do these things."""
    script = f"case $JAX_PROCESS_ID in {' '.join(f'{i}) {what};;' for i, what in enumerate(behaviours))} esac"
    begin = time.monotonic()
    command = ["bash", LOCAL, str(len(behaviours)), "1", "bash", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stderr, time.monotonic() - begin


@pytest.mark.parametrize("late", [0, 1])
def test_one_that_lost_another_waits_for_it_to_tell_why(late):
    code, text, _ = run(*(("sleep 0.3; exit 2", "exit 3")[:: 1 - 2 * late]))
    assert code == 2
    assert (
        f"Process {late} of 2 has ended with code 2, so the others are stopped; see above." in text
    )


def test_nobody_waits_long():
    code, text, seconds = run("exec sleep 60", "exit 3")
    assert code == 3 and seconds < 30
    assert "Process 1 of 2 has ended with code 3" in text and "Process 0" not in text


def test_all_end_well():
    assert run("sleep 0.1", "true")[:2] == (0, "")
