"""The figures of a GPU: how they are asked for, and that what has been measured is only shown."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.cluster import ROOT


def test_a_folder_is_asked_for():
    result = subprocess.run(
        ["bash", ROOT / "launch/gpu_figures.sh"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "Usage: launch/gpu_figures.sh FOLDER\n"


@pytest.mark.slow
def test_what_has_been_measured_is_shown(tmp_path):
    parts = ("step_at_16_px", "step_at_32_px", "reader", "swap")
    for number, name in enumerate(parts):
        (tmp_path / f"{name}.json").write_text(json.dumps({"ours": f"{number} images/s"}))
    command = ["-m", "experiments.benchmarks.gpu", f"--output={tmp_path}", "--levels=2,3"]
    result = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert rows[0] == "| part | what | figure |" and len(rows) == 6
    assert rows[2] == "| step at 16 px | ours | 0 images/s |"
    assert rows[5] == "| swap | ours | 3 images/s |"
    assert result.stderr == ""
