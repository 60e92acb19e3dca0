"""The manifest for Kubernetes, and what its container runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.support.cluster import AWKWARD, ROOT, SAVED, ended

RENDERED = "{extends: default, rules: {line-length: disable, document-start: disable}}"  # arguments have any length


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
