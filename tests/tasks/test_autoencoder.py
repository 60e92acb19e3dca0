"""The autoencoder task: phases, growth, previews, synthesis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import WEIGHTS
from faceswap_jax.ops.schedules import growth
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.base import abstract_state
from tests.support import tiny_run
from tests.support.small_comb import config, start

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.mark.parametrize("level_steps", [(0, 0, 4, 10), (3, 5, 8), (2, 4, 6, 7, 0, 0)])
def test_every_step_is_of_the_phase_of_its_level(level_steps):
    task = Task(config(level_steps=level_steps))
    for phase in task.phases:
        for step in (phase.start, phase.stop - 1):
            values = growth(jnp.int32(step), level_steps, 1e-3, 1e-5)
            assert values.level == phase.stage
    assert task.phases[-1].stop == sum(level_steps) + 3


def test_there_are_as_many_final_steps_as_steps_of_the_last_level_unless_they_are_given():
    assert Task(config(final_steps=None)).phases[-1].stop == 4 + 10 + 10
    assert Task(config(final_steps=0)).phases[-1].stop == 4 + 10


def test_growth_keeps_weights_and_moments_and_starts_those_of_the_new_level(noise):
    task = Task(config())
    phase, state = start(task)
    state, _ = jax.jit(task.steps(phase)["train"])(state, noise)
    grown = task.enter(task.phases[1], state)
    for old, new in ((state.params, grown.params), (state.opt, grown.opt)):
        for group in ("encoder", "tied", "personas"):
            kept = old[group].keys() & new[group].keys()
            jax.tree.map(
                np.testing.assert_array_equal, *({n: t[group][n] for n in kept} for t in (old, new))
            )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grown.opt["personas"]["level_3"]))
    assert int(grown.opt["personas"]["level_2"].count) == 1
    assert int(grown.step) == 3
    abstract = abstract_state(task, task.phases[1])
    assert jax.tree.map(lambda a: (a.shape, a.dtype), grown) == jax.tree.map(
        lambda a: (a.shape, a.dtype), abstract
    )


def test_preview_shows_input_reconstruction_and_every_swap(noise):
    task = Task(config())
    phase, state = start(task)
    grid = jax.jit(task.preview(phase).draw)(state, noise)
    assert grid.shape == (6, 8, 16, 16, 3)
    np.testing.assert_allclose(
        grid[0], noise["encoder_input"].reshape(8, 16, 16, 3) / 255, atol=1e-6
    )
    for p in range(4):  # a reconstruction is the swap to oneself
        np.testing.assert_allclose(
            grid[1, 2 * p : 2 * p + 2], grid[2 + p, 2 * p : 2 * p + 2], atol=1e-5
        )
    variables = task.variables(phase, state)
    identity = {WEIGHTS: np.float32([0, 0, 1, 0])}
    crops = noise["encoder_input"][0]
    swapped = task.synthesis(phase).images(variables, identity, {"crops": crops})
    np.testing.assert_allclose(swapped, grid[4, :2], atol=1e-5)


def test_preview_says_what_its_rows_and_columns_show():
    preview = Task(config()).preview(Task(config()).phases[0])
    assert preview.rows == ("input", "reconstruction", "as a", "as b", "as c", "as d")
    assert preview.columns == ["a", "a", "b", "b", "c", "c", "d", "d"]


def test_data_too_small_for_a_level_are_refused_with_the_steps_that_fit(data):
    c = tiny_run.experiment(data)  # whose records have 16 px
    c.level_steps = (0, 4, 4, 4)
    task = Task(Task.resolve(c))
    task.train_data(task.phases[1], 0, 1)
    with pytest.raises(InputError, match=r'at 32 px.*16 px.*--config.level_steps="0,4,4"'):
        task.train_data(task.phases[2], 0, 1)


def test_a_network_of_ones_own_may_read_landmarks_and_mix_personas(noise):
    """The task names no network and no input of one."""
    task = Task(config(**{"model.network": "tests.support.code_network"}))
    phase, state = start(task)
    landmarks = np.random.default_rng(0).random((4, 2, 68, 2), np.float32)
    batch = noise | {"encoder_landmarks": landmarks}
    after, metrics = jax.jit(task.steps(phase)["train"])(state, batch)
    assert np.isfinite(metrics["loss"])
    assert np.any(after.params["personas"]["code"] != state.params["personas"]["code"])
    assert jax.jit(task.preview(phase).draw)(state, batch).shape == (6, 8, 16, 16, 3)

    made = task.synthesis(phase)
    assert made.inputs == ("crops", "landmarks") and made.mixes
    weights = np.float32([0.25, 0, 0, 0.75])
    codes = state.params["personas"]["code"]
    mixed = task.network(phase).mix({"code": codes}, weights)
    np.testing.assert_allclose(mixed["code"], 0.25 * codes[0] + 0.75 * codes[3], rtol=1e-6)
    inputs = {"crops": noise["image"][0], "landmarks": landmarks[0]}
    images = made.images(task.variables(phase, state), {WEIGHTS: weights}, inputs)
    assert images.shape == (2, 16, 16, 3)
