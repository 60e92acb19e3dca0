"""What is wrong with trials is told before the first one begins; a sweep of real trainings."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import yaml

from faceswap_jax.sweeps.files import draw
from faceswap_jax.sweeps.foresight import foreseen
from tests.support.sweeps import RATE, ROOT, started, table, wait_for

EXPERIMENT = """
import system

def get_config():
    return system.config()
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a sweep file for an experiment of another folder, whose task is a module beside it."""
    away = tmp_path / "away"
    away.mkdir()
    (away / "experiment.py").write_text(EXPERIMENT)
    (away / "system.py").write_text((ROOT / "tests/support/toy.py").read_text())
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "path", sys.path.copy())  # an experiment adds its folder
    monkeypatch.delitem(sys.modules, "system", raising=False)
    command = f"{sys.executable} -m faceswap_jax.cli train --config={away / 'experiment.py'}"
    command += " --config.mesh.cpu_devices=1 --workdir=w/${WANDB_RUN_ID}"

    def write(metric="eval/spread", **values) -> Path:
        config = {
            "command": ["${env}", "-S", command, "${args}"],
            "method": "grid",
            "metric": {"name": metric},
            "parameters": {f"config.{name}": {"values": v} for name, v in values.items()},
        }
        Path("s.yaml").write_text(yaml.safe_dump(config))
        return Path("s.yaml")

    return write


@pytest.mark.parametrize(
    ("metric", "values", "message"),
    [
        ("eval/spraed", {"seed": [1]}, "'eval/spraed'.* eval/error, eval/spread, loss_critic"),
        ("eval/error", {"task": ["system", "sistem"]}, "--config.task=sistem.*'sistem'"),
        ("eval/error", {"run.log": [1, 0]}, "--config.run.log=0.* 1 or more"),
    ],
)
def test_wrong_values_and_metrics_are_told_before_the_first_trial(
    faceswap, write, metric, values, message
):
    path = write(metric, **values)
    code, out, err = faceswap("sweep", path, "--output=out")
    assert (code, out) == (2, "") and not Path("out").exists()
    assert "'s.yaml'" in err
    assert re.search(message, err)


@pytest.mark.slow
def test_a_sweep_of_a_real_training(faceswap, write):
    """Killed, continued and ranked, as by the command line."""
    path = write(seed=[4])
    process = started(path, 1, "out")
    wait_for(Path("out/trial_001/metrics.jsonl"), '"step": 4', process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, err = faceswap("sweep", path, "--output=out", "--local=2")
    assert code == 0, err
    assert "trial 1 of 1: config.seed=4" in err
    (row,) = table("out")
    assert (row["steps"], row["state"]) == ("9", "finished") and float(row["eval/spread"]) > 0
    assert faceswap("status", "out")[1].count("finished") == 2


def test_draws_are_foreseen_as_far_as_they_depend_on_no_outcome():
    grid = {"method": "grid", "parameters": {"config.seed": {"values": [3, 5, 7]}}}
    assert [values["config.seed"] for values in foreseen(grid, 9)] == [3, 5, 7]
    assert len(list(foreseen(grid, 2))) == 2
    for method, count in (("random", 20), ("bayes", 3)):
        config = {"method": method, "metric": {"name": "loss"}, "parameters": {"config.x": RATE}}
        expected = [draw(config, [], number + 1) for number in range(count)]
        assert list(foreseen(config, 20)) == expected
