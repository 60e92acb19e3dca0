"""What cannot be trained is refused in a sentence, before anything is written."""

import shutil

import pytest

from data_pipelines.records import MANIFEST
from experiments import comb as comb_experiment
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.files import locked
from faceswap_jax.train import train
from tests.support.tiny_run import experiment


def test_changed_data_are_refused_unless_they_are_accepted(run, data, tmp_path):
    """And data that have moved are the same."""
    workdir, moved = (
        shutil.copytree(run, tmp_path / "run"),
        shutil.copytree(data, tmp_path / "moved"),
    )
    assert train(experiment(moved), workdir)
    manifest = moved / MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    known = configs.load(workdir / "config.json").data.manifest
    with pytest.raises(
        InputError,
        match=rf"another config \(data.manifest: {known} -> .*--config.data.manifest={known}\.",
    ):
        train(experiment(moved), workdir)
    config = experiment(moved)
    config.data.manifest = known
    assert train(config, workdir)


def test_another_config_is_refused(toy, uninterrupted, tmp_path):
    workdir = shutil.copytree(uninterrupted, tmp_path / "run")
    before = (workdir / "config.json").read_bytes()
    toy.batch = 16
    with pytest.raises(InputError, match=r"holds a run of another config \(batch: 8 -> 16\)"):
        train(toy, workdir)
    assert (workdir / "config.json").read_bytes() == before
    toy.update(batch=8)
    toy.run.update(log=1, keep=1)
    assert train(toy, workdir)
    assert configs.load(workdir / "config.json").run.log == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"batch": 7},
            r"batch of shape \(7, 3\) does not divide among the mesh .*; change config.batch",
        ),
        ({"run.log": 0}, "config.run.log is 0; give 1 or more"),
        ({"run.keep": 0}, "config.run.keep is 0"),
        (
            {"run.keep_every": 4},
            "config.run.keep_every is 4; give a multiple of config.run.checkpoint, 3, or 0",
        ),
        (
            {"run.best": "error", "run.preview": 2},
            "config.run.checkpoint is 3; give a multiple of config.run.preview, 2",
        ),
        (
            {"run.not_finite": "ignore"},
            "config.run.not_finite is 'ignore'; choose stop or rollback",
        ),
        ({"mesh.persona": 3}, "config.mesh.persona is 3; choose a divisor of the 8 devices"),
        ({"mesh.cpu_devices": 0}, "config.mesh.cpu_devices is 0"),
    ],
)
def test_a_wrong_config_leaves_nothing(toy, tmp_path, changes, message):
    toy.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=message):
        train(toy, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_pictures_that_are_too_small_are_told_before_the_first_step(data, tmp_path):
    config = experiment(data)
    config.level_steps = (0, 4, 4, 4)
    with pytest.raises(InputError, match="32 px, but the data have 16 px"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_foreign_folders_are_left_alone(toy, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    for workdir in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(InputError, match="is not the folder of a run; choose a new --workdir"):
            train(toy, workdir)
    with pytest.raises(InputError, match="cannot be written"):
        train(toy, tmp_path / "mine.txt" / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "no json", '{"name": "of something else"}'])
def test_a_foreign_config_is_refused(toy, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="is not the config of a run"):
        train(toy, tmp_path)
    assert (tmp_path / "config.json").read_text() == text


def test_unknown_systems_and_data_are_named(tmp_path):
    config = comb_experiment.get_config()
    config.data.path = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere does not exist; make one with"):
        train(config, tmp_path / "run")
    config.task = "cmob"
    with pytest.raises(InputError, match=r"config\.task is 'cmob'; choose one of autoencoder"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_one_job_at_a_time(toy, tmp_path):
    toy.run.checkpoint = 1
    train(toy, tmp_path)
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=r"Another process is writing .*; wait for it or stop it"),
    ):
        train(toy, tmp_path)
