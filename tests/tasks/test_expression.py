"""The task that learns to read what faces do: what it is told, that it learns, and who uses the finished network."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import comb
from experiments import expression as experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import InputError
from faceswap_jax.losses.expression import from_rest
from faceswap_jax.models import expression
from faceswap_jax.pretrained import expression as pretrained
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.expression import Task

SIDE = 16


def config(**changes):
    c = experiment.get_config()
    c.data.update(kind="puppets", held_out=0.4, test=8)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 4, "resolution": SIDE})
    c.identities = ("puppet000", "puppet001", "puppet002")
    c.model.update(stem=8, levels=(8,), squeeze=4, hidden=16)
    c.update(resolution=SIDE, steps=60, warm_up=5, batch=8, learning_rate=0.01)
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture(scope="module")
def task():
    return Task(config())


@pytest.fixture(scope="module")
def state(task):
    phase = task.phases[0]
    return jax.jit(partial(task.init_state, phase))(jax.random.key(0))


@pytest.fixture(scope="module")
def batch(task):
    found = task.train_data(task.phases[0], 0, 1)[0]
    return {name: array for name, array in found.items() if name != "record"}


def test_it_begins_by_telling_a_face_at_rest_and_learns_its_batch(task, state, batch):
    wanted = from_rest(batch["landmarks"], batch["irises"])
    step = jax.jit(task.steps(task.phases[0])["train"])
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses[0], (wanted**2).mean(), rtol=1e-4)
    assert losses[-1] < 0.3 * losses[0]


def test_people_it_never_sees_are_scored(task, state):
    train, held_out = (data(task.phases[0], 0, 1)[0] for data in (task.train_data, task.eval_data))
    people = [{record.split(":")[0] for record in data["record"]} for data in (train, held_out)]
    assert people[0] and people[1] == {"puppet003", "puppet004"}

    scores = jax.jit(task.evaluators(task.phases[0])[0].measure)(
        state, {name: array for name, array in held_out.items() if name != "record"}
    )
    wanted = from_rest(held_out["landmarks"], held_out["irises"])
    np.testing.assert_allclose(scores["loss"], (wanted**2).mean(), rtol=1e-4)
    of_rest = 1 - (wanted**2).mean(0).sum() / wanted.var(0).sum()
    np.testing.assert_allclose(scores["explained"], of_rest, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 18}, "config.resolution is 18; give a multiple of 4"),
        ({"model.levels": ()}, "config.model.levels is"),
        ({"alignment": "round"}, "config.alignment is 'round'"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


@pytest.fixture(scope="module")
def run(task, state, tmp_path_factory):
    """A run's folder with one checkpoint."""
    folder = tmp_path_factory.mktemp("expression")
    configs.save(task.config, folder / "config.json")
    with Checkpoints(folder, task.config, writing=True) as checkpoints:
        checkpoints.save(state)
    return folder


def test_the_finished_network_is_read_from_its_run(task, state, run):
    reader = pretrained.load_for(str(run), "eyes")
    assert reader.config == task.model
    same = jax.tree.map(lambda a, b: bool((a == b).all()), reader.params, state.params)
    assert all(jax.tree.leaves(same))
    assert abstract_state(task, task.phases[0]).params.keys() == reader.params.keys()

    # It sees larger crops, too.
    large = jnp.ones((2, 2 * SIDE, 2 * SIDE, 3))
    assert expression.apply(reader.config, reader.params, large).shape == (2, 19)


def test_what_cannot_read_expressions_is_refused(run, tmp_path):
    with pytest.raises(
        InputError, match=r"knows faces aligned as 'eyes'; set config.alignment=eyes"
    ):
        pretrained.load_for(str(run), "stable")
    configs.save(comb.get_config(), tmp_path / "config.json")
    with pytest.raises(InputError, match="a run of 'autoencoder'; give one of 'expression'"):
        pretrained.load_for(str(tmp_path), "eyes")
    with pytest.raises(InputError, match="holds no run"):
        pretrained.load_for(str(tmp_path / "nowhere"), "eyes")
