"""What `faceswap status` says of runs in every state."""

import re
import shutil
import subprocess
import sys

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.files import locked
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.status import status


@pytest.fixture
def workdir(run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(run, tmp_path / "run")


def test_a_finished_run(workdir):
    first, place, checkpoints, *curves = status(workdir).splitlines()
    assert first == f"{workdir}: comb, finished"
    assert place == "step 8 of 8 (100 %)"
    assert re.fullmatch(r"checkpoints of steps 6, 8; the newest \d+m \d\ds old", checkpoints)
    titles = [line.strip() for line in curves if ":" in line]
    assert [title.split(":")[0] for title in titles] == ["loss", "eval/dissimilarity", "eval/psnr"]
    assert len(curves) == 3 * 13 and max(map(len, curves)) <= 80
    assert any(0x2800 < ord(c) < 0x2900 for line in curves for c in line)  # dots of braille
    assert "\x1b" not in "".join(curves)


def note(workdir, state, **more):
    progress.note(workdir, state, 4, 8, **more)


@pytest.mark.parametrize(
    ("state", "more", "text"),
    [
        ("interrupted", {}, "comb, interrupted; the command that started it continues"),
        ("stopped", {"reason": "loss is wrong"}, "comb, stopped: loss is wrong"),
        (
            "running",
            {},
            "comb, not running, and it has not said why; the command that started it continues",
        ),
    ],
)
def test_a_run_that_has_ended(workdir, state, more, text):
    note(workdir, state, **more)
    assert status(workdir).splitlines()[0] == f"{workdir}: {text}"


def test_a_run_under_way(workdir, monkeypatch):
    shutil.rmtree(workdir / "checkpoints")
    note(workdir, "running", phase="level 1, 8 px", steps_per_second=0.51234, seconds_left=3750.0)
    with locked(workdir):
        lines = status(workdir).splitlines()
    assert lines[0] == f"{workdir}: comb, running"
    assert lines[1] == "step 8 of 8 (100 %), level 1, 8 px; 0.512 steps/s, 1h 02m left"
    assert lines[2] == "no checkpoint yet"
    monkeypatch.setattr(progress.socket, "gethostname", lambda: "node7")
    note(workdir, "running")
    monkeypatch.undo()
    assert "running on node7, as it said 0m 00s ago" in status(workdir)


def test_a_run_that_has_just_begun(workdir):
    for name in ("metrics.jsonl", progress.FILE):
        (workdir / name).unlink()
    with locked(workdir):
        assert status(workdir).splitlines()[:2] == [f"{workdir}: comb, running", "step 0"]


def test_a_row_that_is_being_written(workdir):
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert "step 8 of 8" in status(workdir)


def test_no_run(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        status(tmp_path)


def test_it_starts_no_jax(workdir):
    code = f"import sys; from faceswap_jax import cli; cli.main(['status', {str(workdir)!r}]); print('jax' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "False" and "finished" in result.stdout
