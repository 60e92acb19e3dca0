"""Trials that run: their ranking, their folders, and what ends a sweep."""

from pathlib import Path

import pytest

from faceswap_jax.errors import InputError
from tests.support.sweeps import RATE, started, sweep, table, wait_for


def grid(**values) -> dict:
    parameters = {f"config.{name}": {"values": v} for name, v in values.items()}
    return {"method": "grid", "parameters": parameters}


def test_trials_run_and_are_ranked(write, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = write(**grid(learning_rate=[1e-2, 1e-3, 2e-3], seed=[0, 7]))
    assert sweep(path, 5, Path("out"))
    out, err = capfd.readouterr()
    names = ("rank", "trial", "config.learning_rate", "config.seed", "steps", "state", "eval/psnr")
    rows = [tuple(row[name] for name in names) for row in table("out")]
    assert rows == [
        ("1", "trial_003", "0.001", "0", "4", "finished", "-0.0"),
        ("2", "trial_005", "0.002", "0", "4", "finished", "-1.0"),
        ("3", "trial_001", "0.01", "0", "4", "finished", "-9.0"),
        ("", "trial_002", "0.01", "7", "1", "failed (1)", ""),
        ("", "trial_004", "0.001", "7", "1", "failed (1)", ""),
    ]
    shown = [line.split()[:4] for line in out.splitlines() if "trial_" in line]
    assert shown[:2] == [["1", "trial_003", "-0", "0.001"], ["2", "trial_005", "-1", "0.002"]]
    for line in (
        "trial 1 of 5: config.learning_rate=0.01 config.seed=0\n",
        "trial 1 of 5: finished after 4 steps: eval/psnr -9\n",
        "trial 2 of 5: failed (1) after 1 steps: it broke\n",
    ):
        assert line in err
    assert Path("out/trial_001/id").read_text() == "out_trial_001"
    assert Path("out/trial_001/device").read_text() == "none"

    before = Path("out/trials.jsonl").read_bytes()
    assert sweep(path, 5, Path("out"))  # nothing is left to do
    assert Path("out/trials.jsonl").read_bytes() == before and capfd.readouterr().out == out
    assert sweep(path, 9, Path("out"))  # six is all that the grid has
    assert len(table("out")) == 6


def test_a_sweep_whose_trials_all_fail_has_failed(write):
    assert not sweep(write(**grid(seed=[7])), 9, Path("out"))


def test_flags_reach_the_trials(write):
    path = write(**grid(seed=[0, 7], learning_rate=[1e-3]))
    assert sweep(path, 2, Path("out"), [None], "--config.seed=0", "--config.batch=3")
    (row,) = table("out")
    assert row["state"] == "finished" and "config.seed" not in row


def test_wrong_input_of_the_first_trial_ends_the_sweep(write):
    path = write(**grid(seed=[2, 0, 1]))
    for _ in range(2):
        with pytest.raises(InputError, match=r"first trial of 's.yaml' .*The seed is 2"):
            sweep(path, 3, Path("out"))
    write(**grid(seed=[0, 2, 1]))  # no outcome is lost by another search
    assert sweep(path, 3, Path("out"))
    assert [row["state"] for row in table("out")] == ["finished", "finished", "failed (2)"]


@pytest.mark.parametrize("words", [["faceswp"], ["${env}", "faceswp"]])
def test_a_command_that_is_not_there_ends_the_sweep(write, words):
    path = write(command=[*words, "--config=tiny.py", "--workdir=$WANDB_RUN_ID", "${args}"])
    with pytest.raises(InputError, match=r"faceswp.*No such file"):
        sweep(path, 3, Path("out"))


def test_a_metric_that_trials_lack_is_told_after_the_first(write):
    path = write(metric={"name": "eval/pnsr", "goal": "maximize"})
    for _ in range(2):
        with pytest.raises(InputError, match=r"'s.yaml' .*'eval/pnsr'.* eval/psnr, loss"):
            sweep(path, 2, Path("out"))
    write(metric={"name": "loss"})
    assert sweep(path, 2, Path("out"))
    assert [row["loss"] for row in table("out")] == ["0.0", "0.0"]
    assert Path("out/trial_001.log").read_text() == "began after 0\n"  # the first one was kept


def test_folders_of_others_are_left_alone(write):
    path = write()
    for output in (Path("."), path):
        with pytest.raises(InputError, match=f"'{output}' .*choose a new --output"):
            sweep(path, 1, output)
    with pytest.raises(InputError, match="cannot be written"):
        sweep(path, 1, path / "out")
    assert sweep(path, 1, Path("out"))
    write(parameters={"config.learning_rate": RATE | {"max": 0.1}})
    with pytest.raises(InputError, match=r"'out/trials.jsonl' .*\(parameters\)"):
        sweep(path, 2, Path("out"))
    Path("out/trials.jsonl").write_text('{"a": 1}\nno\n')
    with pytest.raises(InputError, match=r"'out/trials.jsonl' is damaged"):
        sweep(path, 2, Path("out"))


def test_one_trial_on_each_device_at_once(write):
    path = write(**grid(seed=[0, 1, 3, 4]))
    Path("wait").touch()
    process = started(path, 4, "out", "0", "3")
    for number in (1, 2):
        wait_for(Path(f"out/trial_00{number}/metrics.jsonl"), '"step": 2', process)
    assert not Path("out/trial_003").exists()
    Path("wait").unlink()
    process.communicate()
    assert process.returncode == 0
    devices = [Path(f"out/trial_00{number}/device").read_text() for number in (1, 2, 3, 4)]
    assert devices[:2] == ["0", "3"] and set(devices[2:]) <= {"0", "3"}
