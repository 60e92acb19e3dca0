"""The oracle task: learns, is a pure function of the step, scores in the units it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.puppets import samples
from experiments import oracle as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import oracle as evaluation
from faceswap_jax.tasks.oracle import Task
from faceswap_jax.train import train
from tests.support.tiny_run import rows


def config(**changes):
    c = experiment.get_config()
    c.model.update(stem=8, levels=(8, 8), squeeze=8, hidden=16)
    c.model.update(detail_stem=8, detail_levels=(8, 8))
    c.update(steps=40, batch=8, warm_up=2, learning_rate=3e-3)
    c.data.update(fresh=2, test=8)
    c.run.update(log=1, preview=2, checkpoint=3)
    c.mesh.cpu_devices = 8
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture(scope="module")
def batch():
    return samples.training_batches(samples.Samples(5), batch=8, fresh=8, seed=0)[0]


def test_it_learns_a_batch_by_heart(batch):
    task = Task(config(blur=0.0, noise=0.0, mask_blur=0.0, steps=150))
    phase = task.phases[0]
    state, step = (
        task.init_state(phase, jax.random.key(0)),
        jax.jit(task.steps(phase)["train"]),
    )
    losses = []
    for _ in range(150):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.2 * losses[0]


def test_a_step_is_a_pure_function_of_state_and_batch(batch):
    task = Task(config())
    phase = task.phases[0]
    step = jax.jit(task.steps(phase)["train"])
    fresh = task.init_state(phase, jax.random.key(0))  # which tells the same of all pictures
    state = replace(fresh, step=jnp.int32(5), params=jax.tree.map(lambda w: w + 0.05, fresh.params))
    (one, loss), (other, again) = step(state, batch), step(state, batch)
    assert (
        jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), one.params, other.params))
        and one.step == 6
    )
    assert loss["loss"] == again["loss"]
    later = step(replace(state, step=jnp.int32(6)), batch)[1]  # other blur and noise
    assert later["loss"] != loss["loss"]


def test_a_first_step_shows_its_error_and_weighs_the_performance(batch):
    """A fresh network says the middle of everything; nothing but the persona is learned if nothing else weighs."""
    task = Task(config(performance_weight=0.0))
    phase = task.phases[0]
    fresh = replace(
        task.init_state(phase, jax.random.key(0)), step=jnp.int32(5)
    )  # whose learning rate is not zero
    state, metrics = jax.jit(task.steps(phase)["train"])(fresh, batch)
    np.testing.assert_allclose(metrics["loss"], np.abs(batch["parameters"] - 0.5).mean(), rtol=1e-5)
    moved = np.abs(state.params["values"]["bias"])
    assert (moved[:26] > 0).all() and (moved[26:] == 0).all()


def test_scores_have_the_units_they_say(batch):
    """A fresh network, which always says the middle of every span, errs by what NumPy says."""
    task = Task(config())
    phase = task.phases[0]
    scores = task.evaluators(phase)[0].measure(task.init_state(phase, jax.random.key(0)), batch)
    off = np.abs(batch["parameters"] - 0.5).mean(0)
    names = list(samples.SPANS)
    pose = np.mean([off[names.index(n)] * w for n, w in (("yaw", 80), ("pitch", 50), ("roll", 40))])
    gaze = np.mean([off[names.index(n)] * 2 * w for n, w in (("gaze_x", 28), ("gaze_y", 20))])
    for way in ("face", "picture"):
        np.testing.assert_allclose(scores[f"{way}/pose"], pose, rtol=1e-4)
        np.testing.assert_allclose(scores[f"{way}/gaze"], gaze, rtol=1e-4)
        np.testing.assert_allclose(scores[f"{way}/persona"], off[:26].mean(), rtol=1e-4)


def test_the_preview_shows_pictures_and_what_is_seen_of_them(batch):
    task = Task(config())
    phase = task.phases[0]
    grid = task.preview(phase).draw(task.init_state(phase, jax.random.key(0)), batch)
    assert grid.shape == (2, 8, 64, 64, 3) and grid.min() >= 0 and grid.max() <= 1
    hidden = batch["mask"] == 0
    assert hidden.any() and (np.asarray(grid[1])[hidden] == 0.5).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.fresh": 0}, "config.data.fresh is 0; give 1 to 8"),
        ({"data.fresh": 9}, "config.data.fresh is 9; give 1 to 8"),
        ({"data.test_world_seed": 101}, "choose another world"),
        ({"model.levels": ()}, "give the channels of 1 to 5 levels"),
        ({"model.detail_levels": (8, 8, 8, 8)}, "give the channels of 1 to 3 levels"),
        ({"steps": 2}, "config.steps is 2; give 3 or more."),
        ({"learning_rate": 0.0}, "give a positive number"),
        ({"performance_weight": -1.0}, "config.performance_weight is -1.0; give 0 or more."),
        ({"precision": "float8"}, "config.precision is 'float8'"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


def test_a_run_trains_and_what_it_made_reads_pictures(tmp_path):
    """The loop, the data and the reading together: three steps over eight devices."""
    from experiments.benchmarks.oracle import restore

    c = config(steps=3, **{"data.world_seed": 5})
    assert train(c, tmp_path / "run")
    assert (
        len(rows(tmp_path / "run")) == 3
        and rows(tmp_path / "run", evaluation=True)[-1]["eval/face/pose"] > 0
    )
    assert (tmp_path / "run" / "previews" / "step_0000003.png").exists()
    made = restore(tmp_path / "run")
    assert made.drift() == 0
    evaluation.save_oracle(tmp_path / "oracle.npz", made)
    made = evaluation.load_oracle(tmp_path / "oracle.npz")
    frame = samples.sample_frame(7, 0, 64)
    assert made(frame.image[None], frame.landmarks[None]).performance.shape == (1, 14)
