"""The sync task: finds the mouth of a sound among other times, holds people out, does the same on eight devices."""

from functools import partial

import jax
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import mel
from faceswap_jax.tasks.sync import Task
from tests.support.listening import SIDE, TIMES, config
from tests.support.sharded import on_one_and_on_eight


def numbers_of(batch):
    """A batch without its text, as steps see it."""
    return {name: array for name, array in batch.items() if array.dtype.kind != "U"}


@pytest.fixture(scope="module")
def task():
    return Task(Task.resolve(config()))


@pytest.fixture(scope="module")
def batch(task):
    return numbers_of(task.train_data(task.phases[0], 0, 1)[0])


@pytest.fixture(scope="module")
def step(task):
    return jax.jit(task.steps(task.phases[0])["train"])


@pytest.fixture(scope="module")
def fresh(task):
    return jax.jit(partial(task.init_state, task.phases[0]))(jax.random.key(0))


def test_a_batch_has_mouths_and_what_is_heard_at_the_same_times(task, batch):
    assert batch["image"].shape == (8, TIMES, SIDE, SIDE, 3)
    assert batch["heard"].shape == (8, TIMES, mel.STEPS * mel.BANDS)
    assert batch["speaks"].tolist() == [1] * 8
    held_out = task.eval_data(task.phases[0], 0, 1)[0]["record"].ravel()
    assert {where.split(":")[0] for where in held_out} == {"puppet003", "puppet004"}
    assert task.config.identities == ("puppet000", "puppet001", "puppet002")


def test_it_learns_which_sound_belongs_to_which_mouth(task, step, fresh, batch):
    state, losses = fresh, []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[0] > 0.8 and losses[-1] < 0.6 * losses[0]
    assert metrics["found"] > 0.7
    # Sounds of other times are found with other mouths.
    mixed = batch | {"heard": batch["heard"][:, ::-1]}
    assert step(state, mixed)[1]["found"] < 0.6


def test_tracks_without_sound_count_nothing(step, fresh, batch):
    silent = np.float32([1, 0, 1, 1, 1, 1, 1, 1])
    noise = batch["heard"].copy()
    noise[1] = np.random.default_rng(0).normal(size=noise[1].shape)
    results = [
        step(fresh, batch | {"speaks": silent, "heard": x})[1] for x in (batch["heard"], noise)
    ]
    assert results[0]["loss"] == results[1]["loss"]
    nobody = step(fresh, batch | {"speaks": np.zeros(8, np.float32)})[1]
    assert nobody["loss"] == 0 and nobody["found"] == 0


def test_the_preview_shows_a_mouth_for_each_sound(task, fresh):
    batch = numbers_of(task.eval_data(task.phases[0], 0, 1)[0])
    mouths, found = task.preview(task.phases[0]).draw(fresh, batch)
    assert mouths.shape == found.shape == (2 * TIMES, 16, 16, 3)
    for track in (slice(0, TIMES), slice(TIMES, None)):
        assert all(any((one == mouth).all() for mouth in mouths[track]) for one in found[track])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.times": 1}, "config.data.times is 1; give 2 or more"),
        ({"loss.temperature": 0.0}, "config.loss.temperature is 0.0"),
        ({"model.side": 18}, "config.model.side is 18; give a multiple of 4"),
        ({"mouth": 0.0}, "config.mouth is 0.0"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


def test_data_without_sound_are_told(monkeypatch):
    monkeypatch.setattr(
        "data_pipelines.puppets.source.track_audio", lambda *_: np.zeros(0, np.int16)
    )
    with pytest.raises(InputError, match="no sound; prepare clips that have"):
        Task.resolve(config())


def test_eight_devices_do_what_one_does(step, fresh, batch):
    ends = [(after.params, metrics) for after, metrics in on_one_and_on_eight(step, fresh, batch)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-5), *ends)
