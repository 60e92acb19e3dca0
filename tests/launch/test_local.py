"""Processes of one machine: which of them tells how the job has ended."""

import subprocess
from pathlib import Path

import pytest

LOCAL = Path(__file__).parents[2] / "launch" / "local.sh"


def run(*behaviours):
    """The code and the messages of a job whose processes do these things."""
    cases = " ".join(f"{i}) {what};;" for i, what in enumerate(behaviours))
    script = f"case $JAX_PROCESS_ID in {cases} esac"
    command = ["bash", LOCAL, str(len(behaviours)), "1", "bash", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    ("late", "behaviours"),
    [(0, ("sleep 0.3; exit 2", "exit 3")), (1, ("exit 3", "sleep 0.3; exit 2"))],
)
def test_one_that_lost_another_waits_for_it_to_tell_why(late, behaviours):
    code, text = run(*behaviours)
    assert code == 2 and "continues" not in text
    assert (
        f"Process {late} of 2 has ended with code 2, so the others were stopped; see above." in text
    )


def test_to_have_lost_one_that_ended_well_is_a_failure():
    assert run("exit 3", "sleep 0.3")[0] == 3


def test_nobody_waits_long():
    code, text = run("exec sleep 600", "exit 3")
    assert code == 3
    assert "Process 1 of 2 has ended with code 3" in text and "Process 0" not in text


def test_all_end_well():
    assert run("sleep 0.1", "true") == (0, "")


def test_one_that_is_aborted_while_it_is_waited_for_has_lost_the_other():
    """Bash's `wait -n` forgets such a process: the launcher waited for ever."""
    code, text = run("exit 3", "sleep 0.3; kill -ABRT $$")
    assert code == 3
    assert text == (
        "Process 0 of 2 has ended with code 3, so the others were stopped; the same command continues from the newest "
        "checkpoint.\n"
    )
