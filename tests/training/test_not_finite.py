"""NaN and infinity: found at once, named, and left out."""

import json
import shutil

import numpy as np
import pytest

from faceswap_jax.errors import DivergedError
from faceswap_jax.train import train
from tests.support import toy as toy_system
from tests.support.runs import assert_equal, saved_state, saved_steps
from tests.support.tiny_run import all_rows, rows
from tests.support.toy import Task as Toy
from tests.support.toy import trained_by_hand


@pytest.mark.parametrize("step", [2, 3, 6, 9])
def test_a_run_that_diverges_stops_and_saves_nothing(toy, tmp_path, step):
    """Steps 3 and 6 are those of checkpoints, 3 is not logged, 9 is the last one."""
    toy.diverge_at = step
    message = rf"metrics/loss_generator is not finite at step {step}\. .* or lower config.learning_rate in a new"
    with pytest.raises(DivergedError, match=message):
        train(toy, tmp_path)
    assert all(saved < step for saved in saved_steps(tmp_path))
    # Every row is JSON; NaN is none.
    for line in (tmp_path / "metrics.jsonl").open():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("changes", "step", "tensor"),
    [
        ({"bad_batches": (6,)}, 7, "batch/x"),
        ({"diverge_at": 8}, 8, "metrics/loss_generator"),
        ({"overflow_at": 2}, 2, "params/generator/w"),
        ({"overflow_at": 9}, 9, "params/generator/w"),
        ({"spike_at": 4}, 4, "opt/generator/0/nu/w"),
    ],
)
def test_the_first_tensor_that_is_not_finite_is_named_and_its_batch_written(
    toy, tmp_path, changes, step, tensor
):
    toy.update(changes)
    with pytest.raises(DivergedError) as error:
        train(toy, tmp_path)
    path = tmp_path / "not_finite" / f"step_{step:07d}.npz"
    first = 8 * (step - 1)
    named = "; ".join(f"ada: a.mp4, frame {i}" for i in range(first, first + 8))
    last = max(saved_steps(tmp_path), default=0)
    message = str(error.value)
    for part in (f"{tensor} is not finite at step {step}.", f"'{path}' ({named})"):
        assert part in message
    assert f"checkpoint of step {last};" in message
    with np.load(path) as aside:
        clean = next(iter(Toy(toy_system.config()).train_data(None, 0, 1)[step - 1 : step]))
        assert aside["record"].tolist() == clean["record"].tolist()
        wrong = np.isnan(aside["x"])
        np.testing.assert_array_equal(aside["x"][~wrong], clean["x"][~wrong])
        assert wrong.any() == (tensor == "batch/x")
    assert last == max([s for s in (0, 3, 4, 6) if s < step])
    assert json.loads((tmp_path / "progress.json").read_text())["state"] == "stopped"


def test_a_rollback_skips_the_batch_and_goes_on(toy, tmp_path, caplog):
    """The same as if the batch had never been there, and exactly so after an interruption as well."""
    toy.bad_batches, toy.run.not_finite = (1, 6), "rollback"
    assert train(toy, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "skipped.json").read_text()) == [
        {"batch": 1, "checkpoint": 0},
        {"batch": 6, "checkpoint": 4},
    ]
    for step, back in ((2, 0), (6, 4)):
        assert f"batch/x is not finite at step {step}." in caplog.text
        assert f"Going back to step {back};" in caplog.text
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8, 9]

    without = trained_by_hand(Toy(toy), (0, 2, 3, 4, 5, 7, 8, 9, 10))
    assert_equal(saved_state(tmp_path / "run"), without, atol=1e-5)

    workdir = shutil.copytree(tmp_path / "run", tmp_path / "again")
    shutil.rmtree(workdir / "checkpoints" / "9")
    assert train(toy, workdir)
    assert_equal(saved_state(tmp_path / "run"), saved_state(workdir))
    assert all_rows(workdir) == all_rows(tmp_path / "run")


def test_rollbacks_that_do_not_help_end(toy, tmp_path):
    toy.overflow_at, toy.run.not_finite = 5, "rollback"
    with pytest.raises(DivergedError, match="3 batches after the checkpoint of step 4"):
        train(toy, tmp_path)
    skipped = json.loads((tmp_path / "skipped.json").read_text())
    assert [entry["batch"] for entry in skipped] == [4, 5, 6]
