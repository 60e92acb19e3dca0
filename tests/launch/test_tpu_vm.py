"""Training on TPU VMs, with stand-ins for gcloud, sudo and systemd."""

from pathlib import Path

from tests.support.cluster import shellcheck


def remote(call: dict) -> str:
    return next(a.removeprefix("--command=") for a in call["argv"] if a.startswith("--command="))


def test_tpu_trains_on_all_hosts(fakes, tmp_path):
    fakes.add("gcloud")
    arguments = ["--workdir=/shared/a b", "it's"]
    assert fakes.run("launch/tpu_vm/run.sh", "train", "slice", *arguments).returncode == 0
    (call,) = fakes.calls("gcloud")
    assert call["argv"][:6] == ["compute", "tpus", "tpu-vm", "ssh", "slice", "--worker=all"]
    fakes.add("sudo")
    fakes.add("systemctl", {"code": 3})  # nothing runs there yet
    fakes.add("systemd-run")
    assert fakes.run("bash", "-c", remote(call), cwd=tmp_path).returncode == 0
    (unit,) = fakes.calls("systemd-run")
    faceswap = unit["argv"].index(f"{tmp_path}/faceswap/.venv/bin/faceswap")
    assert unit["argv"][faceswap + 1 :] == ["train", *arguments, "--distributed"]
    assert "--unit=faceswap" in unit["argv"][:faceswap]


def test_tpu_setup_copies_the_commit_and_runs_clean_shell(fakes):
    fakes.add("gcloud")
    fakes.add("git")
    assert fakes.run("launch/tpu_vm/run.sh", "setup", "slice").returncode == 0
    scp, ssh = fakes.calls("gcloud")
    assert scp["argv"][3] == "scp"
    assert scp["argv"][5:] == ["slice:faceswap.tar.gz", "--worker=all"]
    assert not Path(scp["argv"][4]).exists()
    shellcheck("--shell=bash", "-", text=remote(ssh))


def test_tpu_refuses_what_it_cannot_do(fakes):
    fakes.add("gcloud")
    for arguments in ([], ["make", "slice"], ["train", "slice"], ["train", "slice", "--x=$HOME"]):
        result = fakes.run("launch/tpu_vm/run.sh", *arguments)
        assert result.returncode == 2
        assert result.stderr
    assert fakes.calls("gcloud") == []


def test_tpu_goes_on_after_preemption(fakes):
    ready, gone, done = {"print": "READY"}, {"print": "PREEMPTED"}, {}
    missing, offline = (
        {"print": "NOT_FOUND: no such node", "code": 1},
        {"print": "no network", "code": 1},
    )
    made = [done, done, ready, done, done]  # delete, create, describe; scp and ssh of setup
    first = [missing, *made, done, gone]  # trains and saves with code 0, but is preempted
    second = [gone, *made, {"code": 255}]  # the connection is lost
    third = [offline, ready, {"code": 2}, ready]  # the slice is still there, and the input is wrong
    fakes.add("gcloud", first + second + third)
    fakes.add("git")
    fakes.env["POLL"] = "0"
    result = fakes.run(
        "launch/tpu_vm/run.sh", "keep", "slice", "v6e-16", "v2-alpha", "--workdir=/s"
    )
    assert result.returncode == 2, result.stderr
    calls = [c["argv"] for c in fakes.calls("gcloud")]
    assert len(calls) == len(first + second + third)
    assert sum(c[2:4] == ["queued-resources", "create"] for c in calls) == 2
    assert sum(any("systemd-run" in a for a in c) for c in calls) == 3
