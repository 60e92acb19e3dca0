"""The image: its instructions, and the shell in them."""

import re
from importlib.metadata import version

import pytest
import yaml

from faceswap_jax.commands import COMMANDS
from faceswap_jax.commands.base import parse
from tests.support.cluster import ROOT, shellcheck


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
        shellcheck("--shell=sh", "-", text=command)
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


def test_the_composed_service_says_flags_that_there_are():
    (service,) = compose()["services"].values()
    name, folder, *flags = service["command"]
    values, inputs = parse(COMMANDS[name], [folder, *flags])
    assert inputs == [folder] and values.host == "0.0.0.0"
    places = {volume.rpartition(":")[0].rpartition(":")[2] for volume in service["volumes"]}
    assert {values.keys, "/models"} == places
    # It is killed after that.
    assert values.grace < int(service["stop_grace_period"].removesuffix("s"))
    built = service["build"]
    assert (ROOT / "launch/container" / built["context"] / built["dockerfile"]).exists()


def compose() -> dict:
    return yaml.safe_load((ROOT / "launch/container/compose.yaml").read_text())
