"""The identity task: learns, holds identities out, sees as it says, scores as SciPy does, makes a run that embeds."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import identity as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import verification
from faceswap_jax.pretrained import embedder
from faceswap_jax.tasks.identity import Task
from faceswap_jax.train import train
from tests.support.tiny_run import rows

PEOPLE, FRAMES = 10, 2


def config(**changes):
    c = experiment.get_config()
    c.data.update(
        {"kind": "puppets", "world_seed": 3, "personas": PEOPLE, "frames": FRAMES, "resolution": 32}
    )
    c.data.update(held_out=0.2, test=8)
    c.model.update(blocks=(1,), channels=(8,), stem=8, embedding=8, side=16)
    c.update(resolution=32, steps=40, batch=16, warm_up=2, learning_rate=0.1)
    c.run.update(log=1, preview=2, checkpoint=3)
    c.mesh.cpu_devices = 8
    c.update_from_flattened_dict(changes)
    return c


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


def test_the_last_identities_are_held_out(task, batch):
    names = list(task.data)
    assert (
        list(task.config.identities) == names[:8]
        and [source.name for source in task.held_out] == names[8:]
    )
    assert sorted(batch["identity"]) == sorted(2 * list(range(8)))
    held_out = task.eval_data(task.phases[0], 0, 1)[0]
    for i, where in zip(held_out["identity"], held_out["record"], strict=True):
        assert where.startswith(f"{names[8 + i]}: ")


def replace_config(task, **changes):
    c = task.config.copy_and_resolve_references()
    c.update(**changes)
    return Task(c)


def test_it_learns_to_tell_people_apart(task, fresh, batch):
    task = replace_config(task, steps=80, blur=0.0, face_alone=0.0)
    state, step, losses = fresh, jax.jit(task.steps(task.phases[0])["train"]), []
    for _ in range(80):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0] and metrics["accuracy"] > 0.9


def test_a_step_is_a_pure_function_of_state_and_batch(step, fresh, batch):
    state = replace(fresh, step=jnp.int32(5))  # whose learning rate is not zero
    (one, loss), (other, again) = step(state, batch), step(state, batch)
    assert (
        jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), one.params, other.params))
        and one.step == 6
    )
    assert loss["loss"] == again["loss"]
    assert (
        step(replace(state, step=jnp.int32(6)), batch)[1]["loss"] != loss["loss"]
    )  # other blur and masks


def test_a_step_moves_weights_centres_and_statistics(step, fresh, batch):
    state, metrics = step(replace(fresh, step=jnp.int32(5)), batch)
    for old, new in ((fresh.params["head"], state.params["head"]), (fresh.extras, state.extras)):
        assert jax.tree.all(jax.tree.map(lambda a, b: (a != b).any(), old, new))
    moved = jax.tree.map(
        lambda a, b: (a != b).any(), fresh.params["embedder"], state.params["embedder"]
    )
    assert np.mean(jax.tree.leaves(moved)) > 0.9
    assert metrics["learning_rate"] > 0


def test_what_is_hidden_has_no_influence(task, batch):
    """Seen through its mask alone, a picture may have any surroundings."""
    task = replace_config(task, face_alone=1.0, blur=0.0)
    other = batch | {
        "image": np.where(batch["mask"][..., None] == 0, 255 - batch["image"], batch["image"])
    }
    task.config.augment.update(
        brightness=0.0, contrast=0.0
    )  # contrast is about the mean of the whole picture
    one, two = (task._network_input(jax.random.key(0), b) for b in (batch, other))
    np.testing.assert_allclose(one, two, atol=1e-6)
    whole = replace_config(task, face_alone=0.0)._network_input(jax.random.key(0), batch)
    assert np.abs(whole - one).max() > 0.1


def test_scores_are_those_of_the_embedder(task, fresh):
    phase = task.phases[0]
    batch = numbers_of(task.eval_data(phase, 0, 1)[0])
    assert sorted(np.bincount(batch["identity"])) == [4, 4]
    scores = jax.jit(task.evaluators(phase)[0].measure)(fresh, batch)
    x, mask = batch["image"] / np.float32(255), batch["mask"] / np.float32(255)
    first, second = np.triu_indices(len(x), 1)
    same = batch["identity"][first] == batch["identity"][second]
    weights = task.model, fresh.params["embedder"], fresh.extras["statistics"]
    for way, shown in (("face", mask), ("picture", None)):
        embeddings = np.asarray(embedder.embed(*weights, x, shown))
        cosines = (embeddings @ embeddings.T)[first, second]
        np.testing.assert_allclose(scores[f"{way}/same"], cosines[same].mean(), atol=1e-4)
        np.testing.assert_allclose(scores[f"{way}/different"], cosines[~same].mean(), atol=1e-4)
        # Two frames of each person come twice: their pairs' equal scores are ties.
        assert abs(scores[f"{way}/area"] - verification.area(np.round(cosines, 5), same)) < 0.1


def test_the_preview_shows_held_out_faces_as_the_network_sees_them(task, fresh):
    grid = task.preview(task.phases[0]).draw(
        fresh, numbers_of(task.eval_data(task.phases[0], 0, 1)[0])
    )
    assert grid.shape == (3, 8, 16, 16, 3) and grid.min() >= 0 and grid.max() <= 1
    assert np.abs(grid[1] - 0.5).min() < 1e-3 < np.abs(grid[0] - grid[1]).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.held_out": 0.0}, "config.data.held_out is 0.0; give more than 0 and less than 1"),
        ({"face_alone": 1.5}, "config.face_alone is 1.5; give 0 to 1"),
        ({"model.side": 15}, "config.model.side is 15; give a multiple of 2."),
        (
            {"model.channels": (8, 8)},
            "config.model.channels is .*; give a number for each of config.model.blocks.",
        ),
        ({"model.blocks": ()}, "give the number of blocks of each stage"),
        ({"loss.margin": 2.0}, "config.loss.margin is 2.0"),
        ({"momentum": 1.0}, "config.momentum is 1.0"),
        ({"steps": 2}, "config.steps is 2; give 3 or more."),
        ({"batch": 1}, "config.batch is 1; give 2 or more."),
        ({"precision": "float8"}, "config.precision is 'float8'"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


def test_too_few_people():
    with pytest.raises(
        InputError, match="have 3 identities with pictures, but two to train on and two to hold out"
    ):
        Task.resolve(config(**{"data.personas": 3}))


def test_a_run_trains_and_embeds(tmp_path):
    """The loop, the data and the embedder together: three steps over eight devices."""
    assert train(config(steps=3), tmp_path / "run")
    assert len(rows(tmp_path / "run")) == 3
    assert 0 <= rows(tmp_path / "run", evaluation=True)[-1]["eval/face/area"] <= 1
    assert (tmp_path / "run" / "previews" / "step_0000003.png").exists()
    made = embedder.load(tmp_path / "run")
    crops = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    embeddings = embedder.embed(made.config, made.params, made.statistics, crops)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
