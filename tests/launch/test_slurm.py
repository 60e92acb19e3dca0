"""The batch script for Slurm, run with stand-ins for srun, scontrol and scancel."""

import os

import pytest

from tests.support.cluster import AWKWARD, ROOT, SAVED, ended


@pytest.fixture
def slurm(fakes, tmp_path):
    """Runs the batch script as Slurm would: in a node's shell, with srun, scontrol and scancel."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    fakes.add("faceswap", folder=tmp_path / ".venv/bin")
    fakes.add("scontrol", {"print": "   JobState=RUNNING Reason=None Dependency=(null)"})
    fakes.add("scancel")
    fakes.env |= {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "77",
        "SLURM_CPUS_PER_TASK": "8",
    }
    fakes.env |= {"SLURM_GPUS_ON_NODE": "4", "SLURM_NTASKS_PER_NODE": "4"}
    return fakes


def sbatch(*arguments):
    return "bash", ROOT / "launch/slurm/train.sbatch", *arguments


def requeues(fakes) -> list[list[str]]:
    return [c["argv"] for c in fakes.calls("scontrol") if c["argv"][0] == "requeue"]


def test_slurm_starts_a_task_per_gpu(slurm, tmp_path):
    slurm.add("srun")
    assert slurm.run(*sbatch("--workdir", "runs/a b", *AWKWARD)).returncode == 0
    (call,) = slurm.calls("srun")
    options, command = (call["argv"][:4], call["argv"][4:])
    assert options == ["--kill-on-bad-exit=0", "--wait=120", "--cpus-per-task=8", "--gpu-bind=none"]
    faceswap = str(tmp_path / ".venv/bin/faceswap")
    assert command == [faceswap, "train", "--workdir", "runs/a b", *AWKWARD, "--distributed"]
    assert requeues(slurm) == []


@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [(0, 0, False), (1, 0, False), (2, 0, False), (137, 0, True), (137, 10, False)],
)
def test_slurm_queues_crashes_again_and_nothing_else(slurm, code, restarts, again):
    slurm.add("srun", {"code": code})
    slurm.env["SLURM_RESTART_COUNT"] = str(restarts)
    assert slurm.run(*sbatch()).returncode == (0 if again else code)
    assert requeues(slurm) == [["requeue", "77"]] * again


@pytest.mark.parametrize(("code", "again"), [(0, True), (143, True), (2, False)])
def test_slurm_hands_term_on_and_queues_again(slurm, code, again):
    slurm.add("srun", SAVED | {"code": code})
    slurm.env["SLURM_RESTART_COUNT"] = "50"  # interruptions are not counted
    process = slurm.start(*sbatch())
    slurm.wait("srun")
    process.terminate()
    assert ended(process) == (0 if again else code)
    assert [c["argv"] for c in slurm.calls("scancel")] == [["--signal=TERM", "77"]]
    assert requeues(slurm) == [["requeue", "77"]] * again


def test_slurm_queues_a_preempted_job_again(slurm):
    slurm.add("srun")  # saved, as Slurm told the tasks and not the batch script
    shown = (
        "   JobState=RUNNING Reason=None\n   PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime="
    )
    slurm.add("scontrol", {"print": shown + "2026-01-01T00:01:00"})
    assert slurm.run(*sbatch()).returncode == 0
    assert requeues(slurm) == [["requeue", "77"]]
    slurm.log.unlink()
    slurm.add("scontrol", {"print": shown + "None"})
    assert slurm.run(*sbatch()).returncode == 0
    assert requeues(slurm) == []


def test_slurm_leaves_a_cancelled_job_alone(slurm):
    slurm.add("srun", SAVED)
    slurm.add("scontrol", {"print": "   JobState=CANCELLED Reason=None"})
    process = slurm.start(*sbatch())
    (srun,) = slurm.wait("srun")
    process.terminate()
    slurm.wait("scontrol")
    os.kill(srun["pid"], 15)  # by Slurm itself
    assert ended(process) == 0
    assert slurm.calls("scancel") == []
    assert requeues(slurm) == []


def test_slurm_names_what_is_wrong(slurm, tmp_path):
    slurm.add("srun")
    slurm.env["SLURM_NTASKS_PER_NODE"] = "1"
    result = slurm.run(*sbatch())
    assert result.returncode == 2
    assert "4 GPUs and 1 tasks" in result.stderr
    slurm.env["SLURM_SUBMIT_DIR"] = str(tmp_path / "elsewhere")
    assert slurm.run(*sbatch()).returncode == 2
    assert slurm.calls("srun") == []


def test_slurm_directives_stand_before_the_first_command():
    lines = (ROOT / "launch/slurm/train.sbatch").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    directives = {
        line.removeprefix("#SBATCH ") for line in lines[:first] if line.startswith("#SBATCH ")
    }
    assert {"--requeue", "--open-mode=append", "--signal=B:TERM@120"} <= directives
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
