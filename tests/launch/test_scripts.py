"""The launch files are clean, and what is written about them is true."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import ROOT, shellcheck

SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "launch").rglob("*")
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")
)
YAMLLINT = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_clean(script):
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    shellcheck(script)
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


def test_readme_shows_commands_that_are_there():
    text = (ROOT / "launch/README.md").read_text()
    for word in set(re.findall(r"\blaunch/[\w/.]*\w", text)):
        assert (ROOT / word).exists(), word
    for script in SCRIPTS:
        assert Path(script).name in text, script
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        shlex.split(block, comments=True)
