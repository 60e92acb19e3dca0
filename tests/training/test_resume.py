"""A run that is continued is the run that was left alone."""

import itertools
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from data_pipelines.batches import addresses
from faceswap_jax.errors import InputError
from faceswap_jax.reporting import progress
from faceswap_jax.train import train
from tests.support import plateau as plateau_system
from tests.support import toy as toy_system
from tests.support.runs import assert_equal, at_step, saved_state, saved_steps
from tests.support.tiny_run import all_rows, experiment, rows
from tests.support.toy import trained_by_hand


def test_a_run_continues_on_another_mesh(run, data, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "8")
    config = experiment(data)
    config.mesh.persona = 2
    assert train(config, workdir)
    expected, state = saved_state(run), saved_state(workdir, persona=2)
    assert expected.step == state.step == 8
    assert_equal(expected, state, atol=1e-5)
    assert [row["step"] for row in rows(workdir)] == [2, 4, 6, 8]
    np.testing.assert_allclose(rows(workdir)[-1]["loss"], rows(run)[-1]["loss"], rtol=1e-5)


@pytest.mark.parametrize("stop", range(1, 9))
def test_an_interrupted_run_continues_exactly(
    toy, uninterrupted, tmp_path, monkeypatch, capfd, stop
):
    number = signal.SIGINT if stop % 2 else signal.SIGTERM
    before = signal.getsignal(number)
    # The second signal is an echo.
    at_step(monkeypatch, stop, lambda: [signal.raise_signal(number) for _ in range(2)])
    assert not train(toy, tmp_path)
    assert saved_steps(tmp_path)[-1] == stop
    assert f"saved at step {stop};" in capfd.readouterr().err
    assert signal.getsignal(number) is before
    assert train(toy, tmp_path)
    assert f"Continuing '{tmp_path}' after step {stop}" in capfd.readouterr().err
    assert_equal(saved_state(uninterrupted), saved_state(tmp_path))
    assert all_rows(tmp_path) == all_rows(uninterrupted)


@pytest.mark.parametrize("stop", [4, 8])
def test_a_killed_run_continues_exactly(toy, uninterrupted, tmp_path, monkeypatch, stop):
    def kill():
        raise KeyboardInterrupt  # as a second Ctrl-C does

    at_step(monkeypatch, stop, kill)
    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # a line that was being written
    assert train(toy, tmp_path)
    assert_equal(saved_state(uninterrupted), saved_state(tmp_path))
    assert all_rows(tmp_path) == all_rows(uninterrupted)


def test_a_kill_before_the_end_is_noted_is_made_up_for(toy, uninterrupted, tmp_path):
    workdir = shutil.copytree(uninterrupted, tmp_path / "run")
    progress.note(workdir, "running", 8, 9)
    assert train(toy, workdir)
    assert progress.read(workdir)["state"] == "finished"


def test_a_kill_while_the_folder_is_made_leaves_one_that_can_be_used(toy, tmp_path):
    (tmp_path / ".config.json.123.partial").write_text('{"task": "to')
    assert train(toy, tmp_path)


def test_data_that_fail_leave_what_was_learned(toy, uninterrupted, tmp_path, monkeypatch, capfd):
    """As when a shard disappears."""
    original = addresses.iterate

    @contextmanager
    def iterate(*arguments, **options):
        def batches(iterator):
            yield from itertools.islice(iterator, 1)
            raise InputError("shards/ada-00000.arrayrecord has disappeared; put it back")

        with original(*arguments, **options) as iterator:
            yield batches(iterator)

    with monkeypatch.context() as patch:
        patch.setattr(addresses, "iterate", iterate)
        with pytest.raises(InputError, match="has disappeared"):
            train(toy, tmp_path)
    assert "Saved at step 1." in capfd.readouterr().err
    assert saved_steps(tmp_path) == [1]
    assert train(toy, tmp_path)
    assert_equal(saved_state(uninterrupted), saved_state(tmp_path))


@pytest.mark.parametrize("done", [6, 9])
def test_a_run_is_made_longer_in_its_folder(toy, uninterrupted, tmp_path, done):
    """As if it had been that long from the beginning."""
    workdir = shutil.copytree(uninterrupted, tmp_path / "run")
    for step in saved_steps(workdir):
        if step > done:
            shutil.rmtree(workdir / "checkpoints" / str(step))
    toy.more_steps = 3
    assert train(toy, workdir)
    assert train(toy, tmp_path / "long")
    assert_equal(saved_state(tmp_path / "long"), saved_state(workdir))
    # A run that ended at step 9 has a row of that step, which the other does not log.
    expected = all_rows(tmp_path / "long")
    found = [row for row in all_rows(workdir) if row["step"] != 9 or "phase" not in row]
    assert found == expected
    assert progress.read(workdir)["state"] == "finished"
    assert saved_state(workdir).step == 12


def test_a_run_is_not_made_shorter(toy, uninterrupted, tmp_path):
    workdir = shutil.copytree(uninterrupted, tmp_path / "run")
    toy.more_steps = -1
    with pytest.raises(InputError, match=r"more_steps: 0 -> -1.*raising config.more_steps"):
        train(toy, workdir)
    toy.update(more_steps=3, batch=16)
    with pytest.raises(InputError, match=r"another config \(batch: 8 -> 16\)"):
        train(toy, workdir)


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_learning_rate_that_waits_for_a_plateau_continues_exactly(
    plateau, tmp_path, monkeypatch, stop
):
    """Also in the middle of its wait."""
    at_step(monkeypatch, stop, lambda: signal.raise_signal(signal.SIGTERM))
    assert not train(plateau_system.config(), tmp_path)
    assert train(plateau_system.config(), tmp_path)
    assert_equal(saved_state(plateau), saved_state(tmp_path))
    assert all_rows(tmp_path) == all_rows(plateau)


@pytest.fixture(scope="module")
def plateau(tmp_path_factory):
    """A finished run whose learning rate has fallen more than once."""
    workdir = tmp_path_factory.mktemp("plateau")
    assert train(plateau_system.config(), workdir)
    scales = [row["scale"] for row in rows(workdir)]
    assert scales[0] == 1 > scales[-1] and len(set(scales)) >= 3
    return workdir


def test_one_device_and_many_come_to_the_same(uninterrupted):
    """The toy with its lazy step, two optimizers and frozen networks; trained here step by step, on one device."""
    config = toy_system.config()
    task = toy_system.Task(config)
    state = trained_by_hand(task, range(9))
    assert_equal(saved_state(uninterrupted), state, atol=1e-5)
    held_out = [{"x": task.eval_data(None, 0, 1)[i]["x"]} for i in range(toy_system.EVALUATED)]
    (_, evaluator) = task.evaluators(task.phases[-1])
    measured = [np.asarray(evaluator.measure(state, batch)) for batch in held_out]
    found = rows(uninterrupted, evaluation=True)[-1]["eval/spread"]
    assert evaluator.summarise(measured)["spread"] == pytest.approx(found, rel=1e-4)
