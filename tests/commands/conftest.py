"""The `faceswap` command, run inside this process."""

from pathlib import Path

import pytest

EXPERIMENT = """
from tests.support import tiny_run

def get_config():
    c = tiny_run.experiment()
    c.batch = 8  # the file's own comment
    return c
"""


@pytest.fixture
def experiment(tmp_path_factory) -> Path:
    """An experiment file."""
    path = tmp_path_factory.mktemp("experiment") / "tiny.py"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def refused(faceswap, tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns the sentence with which it refuses. Nothing may be left behind."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(Path().rglob("*"))
        code, out, err = faceswap(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("faceswap: ") and err.count("\n") == 1, err
        assert sorted(Path().rglob("*")) == before
        return err

    return run
