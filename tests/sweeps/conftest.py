"""A folder with a sweep file of trials that take no time."""

from pathlib import Path

import pytest
import yaml

from tests.support.sweeps import EXPERIMENT, RATE, TRIAL


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a sweep file of fake trials into the current folder, an empty one, and returns its path."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(EXPERIMENT)
    Path("trial.py").write_text(TRIAL)
    command = "python trial.py --config=tiny.py --workdir=w/${WANDB_RUN_ID}"
    usual = {
        "command": ["${env}", "-S", command, "${args}"],
        "method": "random",
        "metric": {"name": "eval/psnr", "goal": "maximize"},
        "parameters": {"config.learning_rate": RATE},
    }

    def write(**changes) -> Path:
        config = {key: value for key, value in (usual | changes).items() if value is not None}
        path = Path("s.yaml")
        path.write_text(yaml.safe_dump(config))
        return path

    return write
