"""What `faceswap status` says of runs in every state."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.files import locked
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.status import status
from tests.support.tiny_run import experiment


def made(workdir: Path, rows=(), **note) -> Path:
    """A folder as a run leaves it."""
    (workdir / "checkpoints").mkdir(parents=True)
    for row in rows:
        if "phase" in row:  # a checkpoint, too
            (workdir / "checkpoints" / str(row["step"])).mkdir()
    configs.save(experiment(), workdir / "config.json")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (workdir / "metrics.jsonl").write_text(lines)
    if note:
        progress.note(workdir, **{"step": 8, "last": 8} | note)
    return workdir


@pytest.fixture
def workdir(tmp_path):
    """A finished run of two levels."""
    rows = []
    for step in range(1, 9):
        phase = "level 1, 8 px" if step <= 4 else "level 2, 16 px"
        rows.append({"step": step, "phase": phase, "loss": 1e-5 / step, "loss/ada": 1.0})
    rows.insert(4, {"step": 4, "eval/psnr": 9.0, "eval/dissimilarity": 0.5})
    rows.append({"step": 8, "seconds": 61.0, "eval/psnr": 10.0, "eval/dissimilarity": 0.25})
    return made(tmp_path / "run", rows, state="finished")


def first_line(workdir: Path) -> str:
    return status([workdir]).splitlines()[0].removeprefix(f"{workdir}: autoencoder, ")


def test_a_finished_run(workdir):
    first, place, checkpoints, levels, *curves = status([workdir]).splitlines()
    assert first == f"{workdir}: autoencoder, finished"
    assert place == "step 8 of 8 (100 %), 1m 01s at work"
    assert re.fullmatch(r"checkpoints of steps .*6, 7, 8; the newest \d+m \d\ds old", checkpoints)
    assert "level 2, 16 px after step 4" in levels
    titles = [line.strip() for line in curves if ":" in line]
    assert titles == ["loss: 0.00000125", "eval/psnr: 10", "eval/dissimilarity: 0.25"]
    assert len(curves) == 3 * 13 and max(map(len, curves)) <= 80
    assert "\x1b" not in "".join(curves)


def test_what_goes_wrong_is_told(workdir):
    with (workdir / "metrics.jsonl").open("a") as file:
        for step in range(9, 20):
            file.write(json.dumps({"step": step, "told_apart": 0.99}) + "\n")
    assert "warning: The discriminator has won: it tells 99 %" in status([workdir])


def test_curves_have_plain_numbers_and_marks_of_the_levels(workdir):
    text = status([workdir])
    loss, psnr = text.split("\n\n")[1:3]
    assert "0.00001┤" in loss and "e-" not in loss
    rows = loss.splitlines()
    (column,) = {i for i, character in enumerate(rows[1]) if character == "┬"}
    assert all(row[column] != " " for row in rows[1:-1])
    assert rows[-1].split() == ["1", "4", "8"]
    assert "┬" not in psnr.splitlines()[1]  # the level begins where the curve does
    assert any(0x2800 < ord(character) < 0x2900 for character in loss)  # dots of braille


@pytest.mark.parametrize(
    ("note", "text"),
    [
        ({"state": "interrupted"}, "interrupted; the command that started it continues"),
        ({"state": "stopped", "reason": "loss is wrong."}, "stopped: loss is wrong"),
        ({"state": "running"}, "not running, and it has not said why; the command"),
    ],
)
def test_a_run_that_has_ended(workdir, note, text):
    progress.note(workdir, step=4, last=8, **note)
    assert first_line(workdir).startswith(text)


def test_a_run_under_way(workdir, monkeypatch):
    shutil.rmtree(workdir / "checkpoints")
    more = {"phase": "level 1, 8 px", "steps_per_second": 0.51234, "seconds_left": 3750.0}
    progress.note(workdir, "running", 4, 8, **more)
    with locked(workdir):
        lines = status([workdir]).splitlines()
    assert lines[0] == f"{workdir}: autoencoder, running"
    assert lines[1] == "step 8 of 8 (100 %), level 1, 8 px, 0.512 steps/s, 1h 02m left"
    assert lines[2] == "no checkpoint yet"

    note = progress.read(workdir) | {"host": "node7"}
    (workdir / progress.FILE).write_text(json.dumps(note))
    assert re.match(r"running on node7, as it said 0m 0\ds ago", first_line(workdir))


def test_a_run_that_has_just_begun(workdir):
    for name in ("metrics.jsonl", progress.FILE):
        (workdir / name).unlink()
    with locked(workdir):
        lines = status([workdir]).splitlines()
    assert lines[:2] == [f"{workdir}: autoencoder, running", "step 0"]


def test_a_damaged_note_counts_as_none(workdir):
    (workdir / progress.FILE).write_text("{")
    lines = status([workdir]).splitlines()
    assert lines[0].startswith(f"{workdir}: autoencoder, not running") and "step 8" in lines[1]


def test_a_row_that_is_being_written(workdir):
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert "step 8 of 8" in status([workdir])


def test_several_runs_have_a_line_each(workdir):
    other = made(workdir.with_name("other"), [{"step": 2, "phase": "x", "loss": 1.0}])
    broken = workdir.with_name("broken")
    broken.mkdir()
    (broken / "config.json").write_text("{")
    (workdir.parent / "notes.txt").touch()
    lines = status([workdir.parent]).splitlines()
    assert lines == status(sorted(workdir.parent.iterdir())).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{broken}: ")
    assert lines[1].startswith(f"{other}: autoencoder, not running")
    assert lines[2].startswith(f"{workdir}: autoencoder, finished; step 8 of 8 (100 %)")
    assert lines[2].endswith("; eval/psnr 10; eval/dissimilarity 0.25")


def test_a_sweep_has_a_line_and_its_trials_too(workdir):
    folder = workdir.parent / "sweep"
    folder.mkdir()
    rows = [{"method": "grid"}]
    rows += [{"number": n, "parameters": {"config.seed": n}, "state": "running"} for n in (1, 2)]
    rows.append({"number": 2, "parameters": {"config.seed": 2}, "state": "failed"})
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(workdir, folder / "trial_001")

    with locked(folder):
        own, first, second = status([folder]).splitlines()
    assert own == f"{folder}: sweep, running; 1 failed, 1 running"
    assert "trial_001: autoencoder, finished" in first and first.endswith("; config.seed=1")
    assert second == f"{folder}/trial_002: failed; config.seed=2"
    assert f"{folder}: sweep, not running; 1 failed, 1 running" in status([workdir.parent])


def test_no_run(tmp_path):
    for folders in ([tmp_path], [tmp_path / "nowhere"], [tmp_path, tmp_path / "nowhere"]):
        with pytest.raises(InputError, match=f"'{tmp_path}.*holds no run"):
            status(folders)


def test_an_artifact_is_no_run(workdir):
    model = workdir.parent / "model"
    shutil.copytree(workdir, model)
    (model / "artifact.json").write_text("{}")
    with pytest.raises(InputError, match=f"'{model}', an artifact, holds no run"):
        status([model])
    for folders in ([workdir, model], [workdir.parent]):
        (line,) = status(folders).splitlines()
        assert line.startswith(f"{workdir}: ")


def test_it_starts_no_jax(workdir):
    code = (
        "import sys; from faceswap_jax import cli;"
        f"cli.main(['status', {str(workdir)!r}]); print('jax' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False" and "finished" in result.stdout
