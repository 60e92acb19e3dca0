"""What a training of autoencoders begins with, when it does not begin with nothing."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import comb_cpu, demo
from faceswap_jax.errors import InputError
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.autoencoder_start import AVERAGE, Start, fitting, load, save_start, told
from faceswap_jax.train import train
from tests.support import tiny_run
from tests.support.small_comb import config, plain

pytestmark = pytest.mark.usefixtures("one_device")

NAMES = ("a", "b", "c", "d")


def trained(**changes):
    """A network, its weights with personas that differ, and the shapes of these."""
    task, phase, state = plain(**changes)
    keys = iter(jax.random.split(jax.random.key(3), 100))

    def vary(leaf):
        return np.asarray(leaf + 0.1 * jax.random.normal(next(keys), leaf.shape))

    return task.network(phase), jax.tree.map(vary, state.params)


def image(network, params, p):
    """What persona number p makes of a latent."""
    shared, own = network.split(params)
    one = jax.tree.map(lambda leaf: leaf[p], own)
    z = jax.random.normal(jax.random.key(7), (2, 8))
    return np.asarray(network.decode(shared, one, z, jnp.float32(1)))


def adopted(network, params, names):
    start = Start("run", "eyes", NAMES, params)
    return fitting(start, network, names, params)


@pytest.mark.parametrize("mean_before", [False, True])
@pytest.mark.parametrize("mean_after", [False, True])
def test_known_personas_keep_their_decoders_and_new_ones_begin_as_the_mean(mean_before, mean_after):
    before, params = trained(**{"model.mean_decoder": mean_before})
    after, wanted = trained(**{"model.mean_decoder": mean_after})
    start = Start("run", "eyes", NAMES, params)
    found = fitting(start, after, ("d", "new", "a", "b"), wanted)
    for place, number in ((0, 3), (2, 0), (3, 1)):
        np.testing.assert_allclose(
            image(after, found, place), image(before, params, number), atol=1e-5
        )
    own = params["personas"]
    if mean_before:
        mean = jax.tree.map(np.zeros_like, own)
    else:
        mean = jax.tree.map(lambda leaf: np.repeat(leaf.mean(0, keepdims=True), 4, axis=0), own)
    expected = image(before, {**params, "personas": mean}, 0)
    np.testing.assert_allclose(image(after, found, 1), expected, atol=1e-5)


def test_without_a_mean_decoder_what_is_known_is_bit_equal():
    network, params = trained()
    found = adopted(network, params, NAMES)
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_modules_that_do_not_fit_begin_afresh_and_are_named():
    _, params = trained()
    other, wanted = trained(**{"level_steps": (0, 0, 0, 5)})
    start = Start("run", "eyes", NAMES, params)
    found = fitting(start, other, NAMES, wanted)
    assert "level_2" in found["encoder"] and "level_3" not in found["encoder"]
    text = told(start, found, wanted)
    assert "'run'" in text and "encoder/level_3" in text and "encoder/level_2" not in text


def test_a_start_that_fits_nowhere_is_refused():
    _, params = trained()
    network, wanted = trained(**{"model.width": 1 / 8, "model.latent": 12})
    with pytest.raises(InputError, match=r"'run'.*config.model"):
        fitting(Start("run", "eyes", NAMES, params), network, NAMES, wanted)


def test_what_ships_fits_the_experiments_that_begin_with_it():
    for experiment in (demo, comb_cpu):
        c = experiment.get_config()
        c.personas = NAMES
        task = Task(c)
        network = task.network(task.phases[0])
        wanted = jax.eval_shape(network.init, jax.random.key(0))
        start = load(c.init)
        found = fitting(start, network, NAMES, wanted)
        assert start.alignment == c.alignment
        assert {group: found[group].keys() for group in wanted} == {
            group: modules.keys() for group, modules in wanted.items()
        }


def test_a_run_whose_personas_have_nothing_in_common_makes_no_start(run, tmp_path):
    with pytest.raises(InputError, match=r"config.model.mean_decoder=True"):
        save_start(run, tmp_path / "start.safetensors")
    assert not list(tmp_path.iterdir())


def test_nothing_is_held_still_that_nothing_has_trained(data):
    c = tiny_run.experiment(data)
    c.freeze.update(steps=3, modules="encoder")
    with pytest.raises(InputError, match=r"config.freeze.steps is 3.*config.init"):
        Task.resolve(c)


def test_a_start_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"config.init.*'nowhere'.*puppets"):
        load("nowhere")


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_text("no weights")
    with pytest.raises(InputError, match=r"notes.safetensors"):
        load(str(path))


def test_what_is_held_still_stays_bit_for_bit_and_then_moves(noise):
    task = Task(config(**{"freeze.steps": 3, "freeze.modules": "encoder,b", "average": 0.9}))
    phase = task.phases[0]
    state = replace(task.init_state(phase, jax.random.key(1)), step=jnp.int32(2))
    step = jax.jit(task.steps(phase)["train"])
    held, _ = step(state, noise)
    moved, _ = step(held, noise)

    def same(one, other):
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        return all(bool((x == y).all()) for x, y in pairs)

    def of(state, p):
        return jax.tree.map(lambda leaf: leaf[p], state.params["personas"])

    assert same(state.params["encoder"], held.params["encoder"])
    assert same(state.opt["encoder"], held.opt["encoder"])
    assert same(of(state, 1), of(held, 1)) and not same(of(state, 0), of(held, 0))
    assert same(state.params["encoder"], held.extras[AVERAGE]["encoder"])
    assert not same(state.params["tied"], held.params["tied"])
    assert not same(held.params["encoder"], moved.params["encoder"])
    assert not same(of(held, 1), of(moved, 1))


def test_a_new_run_needs_its_start_and_one_that_goes_on_does_not(run, data, tmp_path):
    given = shutil.copytree(run, tmp_path / "given")
    workdir = tmp_path / "run"
    c = tiny_run.experiment(data)
    c.init = str(given)
    c.level_steps = (0, 0, 1)
    c.final_steps = 0

    moved = given.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"config.init.*given"):
        train(c, workdir)
    assert not workdir.exists()

    moved.rename(given)
    assert train(c, workdir)
    shutil.rmtree(given)
    c.final_steps = 1
    assert train(c, workdir)
