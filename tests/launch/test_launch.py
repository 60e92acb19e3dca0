"""The launch files: clean, and run for real against stand-ins for the commands of a cluster (fake.py)."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    p.relative_to(ROOT).as_posix()
    for p in (ROOT / "launch").rglob("*")
    if p.is_file() and p.read_bytes().startswith(b"#!/usr/bin/env bash")
)
YAMLLINT = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
RENDERED = "{extends: default, rules: {line-length: disable, document-start: disable}}"  # arguments have any length
AWKWARD = [
    "--config.run.name=two words",
    "it's",
    'say "hi"',
    "a\\b & c",
    "$(HOME) $$ ${HOME}",
    "*",
    "",
    "æ",
]
SAVED = {"until_term": True, "code": 0}


class Fakes:
    """Commands in front of PATH, and what they were called with."""

    def __init__(self, folder: Path):
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "calls.jsonl"
        self.env = {
            "PATH": f"{self.folder}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "FAKE_LOG": str(self.log),
        }

    def add(self, name: str, told=None, folder: Path | None = None) -> Path:
        path = (folder or self.folder) / name
        path.write_text(
            f"#!{sys.executable} -IS\n" + (Path(__file__).parent / "fake.py").read_text()
        )
        path.chmod(0o755)
        self.env[f"FAKE_{name.upper().replace('-', '_')}"] = json.dumps(told or {})
        return path

    def calls(self, name: str) -> list[dict]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [c for c in map(json.loads, lines) if c["name"] == name]

    def wait(self, name: str, count: int = 1) -> list[dict]:
        deadline = time.monotonic() + 10
        while len(calls := self.calls(name)) < count:
            assert time.monotonic() < deadline, f"{name} was not called"
            time.sleep(0.01)
        return calls

    def run(self, *command, **kwargs) -> subprocess.CompletedProcess:
        return subprocess.run(
            list(map(str, command)),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=20,
            **{"cwd": ROOT} | kwargs,
        )

    def start(self, *command) -> subprocess.Popen:
        return subprocess.Popen(
            list(map(str, command)),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def fakes(tmp_path) -> Fakes:
    return Fakes(tmp_path)


def ended(process: subprocess.Popen) -> int:
    process.communicate(timeout=20)
    return process.returncode


# All files


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_clean(script):
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    subprocess.run([Path(sys.executable).parent / "shellcheck", script], cwd=ROOT, check=True)
    assert os.access(ROOT / script, os.X_OK)


def test_every_way_is_among_the_scripts():
    ways = {
        "slurm/train.sbatch",
        "gke/run.sh",
        "tpu_vm/run.sh",
        "container/resumable",
        "sweep_agent",
        "environment.sh",
    }
    assert {f"launch/{w}" for w in ways} <= set(SCRIPTS)


def test_yaml_is_clean():
    files = [str(p) for d in ("launch", "experiments/sweeps") for p in (ROOT / d).rglob("*.y*ml")]
    if files:
        subprocess.run(
            [sys.executable, "-m", "yamllint", "--strict", "-d", YAMLLINT, *files], check=True
        )


# Slurm


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


# Kubernetes


def manifest(fakes, *arguments, **env) -> dict:
    """What kubectl is given."""
    fakes.add("kubectl")
    fakes.env |= env
    result = fakes.run("launch/gke/run.sh", "run-1", "registry/image:1", "4", "8", *arguments)
    assert result.returncode == 0, result.stderr
    (call,) = fakes.calls("kubectl")
    assert call["argv"] == ["apply", "-f", "-"]
    lint = [sys.executable, "-m", "yamllint", "--strict", "-d", RENDERED, "-"]
    subprocess.run(lint, input=call["stdin"], text=True, check=True)
    return yaml.safe_load(call["stdin"])


def valid(document: dict) -> bool:
    schema = json.loads((Path(__file__).parent / "jobset.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema).is_valid(document)


def pod(document: dict) -> dict:
    return document["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def by_kubernetes(argument: str) -> str:
    """$(NAME) is replaced, $$ is a dollar."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda m: "$" if m[0] == "$$" else "REPLACED", argument)


def test_gke_manifest(fakes):
    document = manifest(
        fakes, "--workdir=/shared/run", SELECTOR="cloud.google.com/gke-spot=true,a=b", CLAIM="disk"
    )
    assert valid(document)
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["completions"], job["parallelism"], job["backoffLimit"]) == (4, 4, 0)
    (container,) = pod(document)["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert pod(document)["nodeSelector"] == {"cloud.google.com/gke-spot": "true", "a": "b"}
    assert pod(document)["volumes"][0]["persistentVolumeClaim"]["claimName"] == "disk"
    values = {e["name"]: e.get("value") for e in container["env"]}
    address, _, port = values["JAX_COORDINATOR_ADDRESS"].partition(":")
    assert address == "run-1-workers-0-0.run-1"
    assert port.isdigit()
    assert values["JAX_NUM_PROCESSES"] == "4"
    assert "JAX_PROCESS_ID" in values


def test_gke_lets_jax_find_tpus(fakes):
    document = manifest(
        fakes, DEVICE="google.com/tpu", SELECTOR="cloud.google.com/gke-tpu-topology=4x4"
    )
    assert valid(document)
    (container,) = pod(document)["containers"]
    assert container["env"] == []
    assert container["resources"]["limits"] == {"google.com/tpu": 8}


def places(node, path=()):
    """The path of every mapping's key in a document."""
    pairs = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in pairs:
        if isinstance(node, dict):
            yield (*path, key)
        yield from places(value, (*path, key))


def test_gke_schema_refuses_misspelt_fields(fakes):
    document = manifest(fakes)
    free = {"nodeSelector", "limits"}  # whose keys are the user's
    paths = [p for p in places(document) if not free & set(p[:-1])]
    assert len(paths) > 40
    for path in paths:
        mutated = json.loads(json.dumps(document))
        owner = mutated
        for key in path[:-1]:
            owner = owner[key]
        owner[f"{path[-1]}s"] = owner.pop(path[-1])
        assert not valid(mutated), path


def test_gke_arguments_survive(fakes):
    (container,) = pod(manifest(fakes, *AWKWARD))["containers"]
    assert [by_kubernetes(a) for a in container["args"]] == ["train", *AWKWARD, "--distributed"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "image", "2"),
        ("Run", "image", "2", "8"),
        ("run", "image", "two", "8"),
        ("run", "image", "2", "8", "a\n"),
    ],
)
def test_gke_refuses_what_it_cannot_render(fakes, arguments):
    fakes.add("kubectl")
    result = fakes.run("launch/gke/run.sh", *arguments)
    assert result.returncode == 2
    assert result.stderr
    assert fakes.calls("kubectl") == []


def test_gke_failure_rules_match_what_kubernetes_says(fakes):
    document = manifest(fakes)
    (train,) = pod(document)["containers"]
    messages = {
        f"Container {train['name']} for pod n/p failed with exit code 1 matching FailJob rule at index 1": "FailJobSet",
        f"Container {train['name']} for pod n/p failed with exit code 2 matching FailJob rule at index 1": "FailJobSet",
        "Pod n/p has condition DisruptionTarget matching FailJob rule at index 0": "RestartJobSetAndIgnoreMaxRestarts",
    }
    rules = document["spec"]["failurePolicy"]["rules"]
    for message, action in messages.items():
        matching = [
            r for r in rules if any(re.search(p, message) for p in r["onJobFailureMessagePatterns"])
        ]
        assert [r["action"] for r in matching] == [action]
    policy = document["spec"]["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"]["rules"]
    assert "onPodConditions" in policy[0]  # before exit codes: a disrupted pod may end with any
    assert policy[1]["onExitCodes"] == {
        "containerName": train["name"],
        "operator": "In",
        "values": [1, 2],
    }


def container_command(fakes) -> list[str]:
    """What the container runs, with the image's folder being this checkout."""
    (container,) = pod(manifest(fakes, *AWKWARD))["containers"]
    fakes.env |= {e["name"]: e.get("value", "3") for e in container["env"]}
    return [
        c.replace("/faceswap/", f"{ROOT}/", 1)
        for c in container["command"] + list(map(by_kubernetes, container["args"]))
    ]


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_gke_container_passes_exit_codes_on(fakes, code):
    fakes.add("faceswap", {"code": code})
    assert fakes.run(*container_command(fakes)).returncode == code
    (call,) = fakes.calls("faceswap")
    assert call["argv"] == ["train", *AWKWARD, "--distributed"]
    assert call["env"]["JAX_COORDINATOR_ADDRESS"].startswith("run-1-workers-0-0.run-1:")
    assert (call["env"]["JAX_NUM_PROCESSES"], call["env"]["JAX_PROCESS_ID"]) == ("4", "3")


@pytest.mark.parametrize(("code", "expected"), [(0, 143), (2, 2)])
def test_gke_container_fails_after_term(fakes, code, expected):
    fakes.add("faceswap", SAVED | {"code": code})
    process = fakes.start(*container_command(fakes))
    fakes.wait("faceswap")
    process.terminate()
    assert ended(process) == expected


# The image


def containerfile() -> list[str]:
    text = (ROOT / "launch/container/Containerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return lines.replace("\\\n", " ").split("\n")


def runs() -> list[str]:
    return [line.removeprefix("RUN ") for line in containerfile() if line.startswith("RUN ")]


def test_image_instructions():
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "USER", "ENV", "ENTRYPOINT"}
    lines = [line for line in containerfile() if line]
    assert {line.split()[0] for line in lines} == known
    assert lines[-1] == 'ENTRYPOINT ["faceswap"]'
    for command in runs():
        shellcheck = [Path(sys.executable).parent / "shellcheck", "--shell=sh", "-"]
        subprocess.run(shellcheck, input=command, text=True, check=True)
    libraries = set(
        re.findall(r"\blib(?:egl|gles|gl)\d\b", (ROOT / "launch/environment.sh").read_text())
    )
    assert libraries == set(re.findall(r"\blib\w+\d\b", runs()[0]))


@pytest.mark.parametrize(
    ("accelerator", "extra"), [("cpu", None), ("cuda", "cuda12"), ("tpu", "tpu"), ("gpu", None)]
)
def test_image_installs_the_locked_version_for_its_accelerator(fakes, accelerator, extra):
    fakes.add("pip")
    fakes.env["ACCELERATOR"] = accelerator
    (command,) = (c for c in runs() if "ACCELERATOR" in c)
    assert fakes.run("sh", "-c", command).returncode == (2 if accelerator == "gpu" else 0)
    installed = [c["argv"][-1] for c in fakes.calls("pip")]
    assert installed == ([f"jax[{extra}]=={version('jax')}"] if extra else [])


# TPU VMs


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
    shellcheck = [Path(sys.executable).parent / "shellcheck", "--shell=bash", "-"]
    subprocess.run(shellcheck, input=remote(ssh), text=True, check=True)


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


# Sweeps


def test_sweep_gives_each_agent_its_device(fakes):
    fakes.add("wandb")
    result = fakes.run("launch/sweep_agent", "me/faces/abc", "--devices", "0,2,5", "--count=7")
    assert result.returncode == 0, result.stderr
    calls = fakes.calls("wandb")
    assert {c["env"]["CUDA_VISIBLE_DEVICES"] for c in calls} == {"0", "2", "5"}
    assert all(
        c["argv"] == ["agent", "--forward-signals", "--count", "7", "me/faces/abc"] for c in calls
    )


def test_sweep_fails_with_an_agent(fakes):
    fakes.add("wandb", [{"code": 1}, {}])
    assert fakes.run("launch/sweep_agent", "me/faces/abc", "--devices=0,1").returncode == 1


@pytest.mark.parametrize("code", [0, 3])
def test_sweep_hands_term_on(fakes, code):
    fakes.add("wandb", SAVED | {"code": code})
    process = fakes.start(ROOT / "launch/sweep_agent", "me/faces/abc", "--devices", "0,1")
    fakes.wait("wandb", 2)
    process.terminate()
    assert ended(process) == bool(code)


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["a", "--devices", "x"], ["a", "--count"], ["a", "--gpus=1"]]
)
def test_sweep_refuses_what_it_does_not_know(fakes, arguments):
    fakes.add("wandb")
    result = fakes.run("launch/sweep_agent", *arguments)
    assert result.returncode == 2
    assert result.stderr
    assert fakes.calls("wandb") == []


# What is written about them


def test_readme_shows_commands_that_are_there():
    text = (ROOT / "launch/README.md").read_text()
    for word in set(re.findall(r"\blaunch/[\w/.]*\w", text)):
        assert (ROOT / word).exists(), word
    for script in SCRIPTS:
        assert Path(script).name in text, script
    for block in re.findall(r"(?:^    .+\n)+", text, re.MULTILINE):
        shlex.split(block, comments=True)
