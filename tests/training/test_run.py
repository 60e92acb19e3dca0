"""A run from its first step to its last, and what it leaves in its folder."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import jax
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.reporting.reporter import Reporter
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.train import train
from faceswap_jax.training import runs
from faceswap_jax.training.programs import Compiler, programs_of
from tests.support.runs import assert_equal, saved_state
from tests.support.tiny_run import PERSONAS, experiment, rows
from tests.support.toy import Task as Toy


def test_a_run_writes_config_metrics_previews_and_checkpoints(run, data):
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "config.json",
        "goodput.jsonl",
        "metrics.jsonl",
        "previews",
        "progress.json",
    ]
    config = json.loads((run / "config.json").read_text())
    assert config["personas"] == list(PERSONAS) and config["data"]["path"] == str(data)

    training = rows(run)
    assert [(row["step"], row["phase"]) for row in training] == [
        (2, "level 1, 8 px"),
        (4, "level 1, 8 px"),
        (6, "level 2, 16 px"),
        (8, "level 2, 16 px"),
    ]
    names = {"step", "phase", "loss", "alpha", "learning_rate", "term/reconstruction"}
    assert all(row.keys() == names | {f"loss/{name}" for name in PERSONAS} for row in training)
    np.testing.assert_allclose(
        [row["loss"] for row in training],
        [np.mean([row[f"loss/{name}"] for name in PERSONAS]) for row in training],
        rtol=1e-5,
    )
    scores = rows(run, evaluation=True)
    assert [row["step"] for row in scores] == [4, 8]
    parts = ("eyes", "mouth", "swapped_eyes", "swapped_mouth")
    motion = [
        f"eval/motion/{part}_{score}" for part in parts for score in ("amplitude", "correlation")
    ]
    assert all(row.keys() == {"step", "eval/psnr", "eval/dissimilarity", *motion} for row in scores)
    assert all(
        math.isfinite(v)
        for row in (*training, *scores)
        for v in row.values()
        if not isinstance(v, str)
    )

    previews = {p.name: cv2.imread(str(p)).shape for p in (run / "previews").iterdir()}
    assert previews.keys() == {"step_0000004.png", "step_0000008.png"}
    # Input, reconstruction and two swaps, enlarged, with labels
    assert all(h > 4 * 96 and w > 4 * 96 for h, w, _ in previews.values())
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["6", "8"]


def test_any_system_trains(toy, tmp_path, capfd):
    assert train(toy, tmp_path)
    assert [(r["step"], r["phase"]) for r in rows(tmp_path)] == [
        (2, "alone"),
        (4, "alone"),
        (6, "adversarial"),
        (8, "adversarial"),
        (9, "adversarial"),
    ]
    assert [r["step"] for r in rows(tmp_path, evaluation=True)] == [3, 4, 6, 9]
    state = saved_state(tmp_path)
    assert state.step == 9 and state.params.keys() == state.opt.keys() == {"generator", "critic"}
    for name, given in Toy(toy).frozen_inputs().items():
        np.testing.assert_array_equal(state.extras[name], given)
    assert int(state.opt["generator"][0].count) == 9
    without_optimizers = runs.load(tmp_path, make_mesh()).state
    assert_equal(without_optimizers, replace(state, opt={}))
    # Small images are enlarged; labels take room besides.
    h, w, _ = cv2.imread(str(tmp_path / "previews" / "step_0000009.png")).shape
    assert h > 8 * 12 and w > 2 * 4 * 12
    text = capfd.readouterr().err
    for part in ("1,000 points", "12 parameters", "8 x cpu", "9 steps in 2 phases"):
        assert part in text[: text.index("Compiling")]
    assert "loss_generator" in text and "2 corrupt records were skipped" in text


def test_a_finished_run_changes_nothing(run, data, tmp_path, capfd):
    workdir = shutil.copytree(run, tmp_path / "run")
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    assert train(experiment(data), workdir)
    assert {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()} == before
    assert "is at step 8." in capfd.readouterr().err


def test_frozen_networks_are_read_when_a_run_begins_and_never_again(
    toy, uninterrupted, tmp_path, monkeypatch
):
    shutil.copytree(uninterrupted, tmp_path / "run")

    def missing(self):
        raise InputError("there is no such file")

    monkeypatch.setattr(Toy, "frozen_inputs", missing)
    assert train(toy, tmp_path / "run")
    with pytest.raises(InputError, match="there is no such file"):
        train(toy, tmp_path / "new")


def test_the_best_checkpoint_stays(toy, tmp_path, monkeypatch):
    toy.run.update(best="-error", preview=1, checkpoint=1, keep=1)
    # Four steps of the first phase, five of the second
    errors = iter([9.0, 1.0, 2.0, 0.5, 7.0, 4.0, 3.0, 5.0, 6.0])
    evaluation = Reporter.evaluation

    def scored(self, step, values, *shown):
        return evaluation(self, step, {"error": next(errors)}, *shown)

    monkeypatch.setattr(Reporter, "evaluation", scored)
    assert train(toy, tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["7", "9"]
    toy.run.best = "psnr"
    with pytest.raises(InputError, match=r"run.best is 'psnr'; the scores are error, spread"):
        train(toy, tmp_path / "other")


def test_a_phase_takes_over_the_memory_of_the_state_before_it(toy):
    """Both states would not fit side by side where a network fills the device."""
    task = load_task(toy)
    first, second = task.phases[:2]
    programs = programs_of(task, second, make_mesh(), Compiler())
    arguments, _ = programs.enter.lower(abstract_state(task, first)).args_info
    assert all(leaf.donated for leaf in jax.tree.leaves(arguments))


def test_a_training_has_its_devices_also_when_its_config_is_resolved_with_jax():
    """As where a trained embedder is read."""
    script = """
import jax
from faceswap_jax.errors import InputError
from faceswap_jax.train import train
from tests.support import toy

class Task(toy.Task):
    @classmethod
    def resolve(cls, config):
        jax.devices()
        return config

    def train_data(self, phase, host, hosts):
        raise InputError(f"There are {jax.device_count()} devices.")

config = toy.config()
config.task = "__main__"
config.mesh.cpu_devices = 3
train(config, "run")
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "There are 3 devices." in result.stderr


def test_steps_one_by_one_are_compiled_once(run):
    begun = runs.load(run, make_mesh(), 6, optimizer=True)
    first, _ = begun.train_step()
    second, _ = first.train_step()
    assert [int(r.state.step) for r in (begun, first, second)] == [6, 7, 8]
    (step,) = (made for name, made in second._made.items() if "step" in name)
    assert step._cache_size() == 1
