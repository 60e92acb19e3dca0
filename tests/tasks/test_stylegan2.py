"""The StyleGAN2 task: both sides of the game, what holds them, styles that mix, the controller, devices, a run."""

import math
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.losses.path_length import path_lengths
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.ops import adaptive
from faceswap_jax.ops.platforms import portable
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.stylegan2 import AVERAGED, STYLE_MEMORY, Task
from faceswap_jax.tasks.stylegan2_losses import (
    PATH,
    PATH_MEMORY,
    PATH_PART,
    PENALTY,
    draw_styles,
    losses,
)
from faceswap_jax.train import train
from tests.support import plain_stylegan2
from tests.support.sharded import on_one_and_on_eight
from tests.support.tiny_run import all_rows, rows
from tests.support.tiny_stylegan2 import BATCH, CHANNELS, LATENT, SIDE, config, task_and_state

ALL = (PENALTY, PATH)


@pytest.fixture(scope="module")
def given():
    """The task, and a state with weights that are nowhere zero."""
    return task_and_state()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)


judged = jax.jit(residual.apply, static_argnums=0)


def loss_of(task, state, real, due=ALL, seed=1):
    """The losses as a function of the parameters."""
    key = jax.random.key(seed)
    return lambda params: losses(task.model, task.config, due, params, state.extras, real, key)


def by_hand(task, state, real, key):
    """All terms, one by one."""
    model, params, extras = task.model, state.params, state.extras
    style_key, noise_key, made_key, real_key, path_key = jax.random.split(key, 5)
    w = draw_styles(model, params, BATCH, task.config.mixing, style_key)
    made = stylegan2.synthesize(model, params, w, noise_key)
    made = adaptive.changed(made_key, made, extras["probability"])
    real = adaptive.changed(real_key, real, extras["probability"])

    def judge(images):
        return residual.apply(model, params["discriminator"], images)

    noise_key, direction_key = jax.random.split(path_key)
    lengths = path_lengths(
        lambda w: 2 * stylegan2.synthesize(model, params, w, noise_key) - 1,
        w[::PATH_PART],
        direction_key,
    )
    mean = PATH_MEMORY * extras["path_length"] + (1 - PATH_MEMORY) * lengths.mean()
    # In the source's scale, -1 to 1
    slopes = jax.grad(lambda x: judge((x + 1) / 2).sum())(2 * real - 1)
    terms = {
        "loss_generator": jnp.log1p(jnp.exp(-judge(made))).mean(),
        "loss_discriminator": (
            jnp.log1p(jnp.exp(judge(made))) + jnp.log1p(jnp.exp(-judge(real)))
        ).mean(),
        "penalty": (slopes**2).sum((1, 2, 3)).mean(),
        "path_length": lengths.mean(),
        "path_penalty": ((lengths - mean) ** 2).mean(),
        "sign/real": jnp.sign(judge(real)).mean(),
        "sign/made": jnp.sign(judge(made)).mean(),
    }
    return terms, mean


def test_every_term_is_the_sources_and_the_weights_are_those_of_the_config(given, images):
    task, state = given
    real = images / np.float32(255)
    total, told = jax.jit(loss_of(task, state, real))(state.params)
    expected, mean = jax.jit(partial(by_hand, task))(state, real, jax.random.key(1))
    assert told.metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(told.metrics[name], value, rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(told.path_length, mean, rtol=1e-3)
    np.testing.assert_allclose(told.sign, expected["sign/real"])

    c = task.config.loss
    weighted = expected["loss_generator"] + expected["loss_discriminator"]
    # Half of R1. What is done now and then counts as many times as much.
    weighted += 0.5 * c.penalty * c.penalty_every * expected["penalty"]
    weighted += c.path * c.path_every * expected["path_penalty"]
    np.testing.assert_allclose(total, weighted, rtol=1e-3)


def largest(tree):
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("name", "due", "learns"),
    [
        ("loss_generator", (), {"mapping", "synthesis"}),
        ("path_penalty", (PATH,), {"mapping", "synthesis"}),
        ("loss_discriminator", (), {"discriminator"}),
        ("penalty", (PENALTY,), {"discriminator"}),
    ],
)
def test_each_side_learns_from_its_own_terms_alone(given, images, name, due, learns):
    task, state = given
    told = loss_of(task, state, images / np.float32(255), due)
    gradients = jax.jit(jax.grad(lambda params: told(params)[1].metrics[name]))(state.params)
    for group, tree in gradients.items():
        found = largest(tree)
        assert math.isfinite(found) and (found > 1e-7) == (group in learns), (group, found)


def test_slopes_of_all_terms_are_those_of_plain_operations(given, images):
    """Second derivatives too. Differences would not tell them: where LeakyReLU bends, slopes of slopes jump."""
    task, state = given
    of_all = loss_of(task, state, images / np.float32(255))

    def gradients(params):
        return jax.grad(lambda params: of_all(params)[0])(params)

    ours = jax.jit(gradients)(state.params)
    with portable():
        plain = jax.jit(lambda params: gradients(params))(state.params)

    def same(found, expected):
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())

    jax.tree.map(same, ours, plain)


def test_the_relativistic_pair_loss_holds_slopes_on_made_images_too(images):
    task, state = task_and_state(
        **{"loss.adversary": "relativistic", "loss.penalty_made": 0.5, "loss.path": 0.0}
    )
    task.config.loss.penalty_every = 1
    assert list(task.steps(task.phases[0])) == [PENALTY]
    real = images / np.float32(255)
    total, told = jax.jit(loss_of(task, state, real, due=(PENALTY,)))(state.params)
    m = told.metrics
    expected = m["loss_generator"] + m["loss_discriminator"]
    expected += 0.25 * (m["penalty"] + m["penalty_made"])
    np.testing.assert_allclose(total, expected, rtol=1e-4)
    assert m["penalty_made"] > 0 and m["penalty"] != m["penalty_made"]


def test_styles_of_two_latents_mix_in_a_fraction_of_the_images(given):
    task, state = given
    draw = jax.jit(partial(draw_styles, task.model), static_argnums=(1, 2))
    for mixing in (0.0, 0.75, 1.0):
        w = np.asarray(draw(state.params, 512, mixing, jax.random.key(0)))
        assert w.shape == (512, task.model.layers, LATENT)
        changes = (np.abs(np.diff(w, axis=1)).max(-1) > 1e-6).sum(1)
        # There is one layer where another latent's styles begin.
        assert set(np.unique(changes)) <= {0, 1}
        assert abs(changes.mean() - mixing) < 0.08
    begins = (np.abs(np.diff(w, axis=1)).max(-1) > 1e-6).argmax(1)
    assert set(begins) == set(range(task.model.layers - 1))


def test_regularisers_have_steps_of_their_own():
    task = Task(config(**{"loss.penalty_every": 16, "loss.path_every": 4}))
    phase = task.phases[0]
    names = [task.step_name(phase, step) for step in range(32)]
    assert names.count("penalty") == 2 and names.count("path") == 8
    assert names[0] == names[16] == "penalty" and names[2] == "path"
    assert set(task.steps(phase)) == set(names) == {"penalty", "path", "train"}
    # Never are both due at once, unless one is always due.
    often = Task(config(**{"loss.penalty_every": 1, "loss.path_every": 4}))
    assert set(often.steps(phase)) == {"penalty", "penalty and path"}
    without = Task(config(**{"loss.penalty": 0.0, "loss.path": 0.0}))
    assert set(without.steps(phase)) == {"train"}


@pytest.fixture(scope="module")
def steps(given):
    task, _ = given
    return {name: jax.jit(step) for name, step in task.steps(task.phases[0]).items()}


def test_a_step_moves_all_networks_and_what_is_running_along(given, steps, images):
    task, state = given
    once, metrics = steps["penalty"](state, {"image": images})
    twice, _ = steps["penalty"](once, {"image": images})
    for group, before in state.params.items():
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), once.params[group], before)
        # Adam's first step is as long as the rate, wherever there is a slope.
        assert max(jax.tree.leaves(moved)) == pytest.approx(0.01, rel=0.01)

    def mean(first, second):
        return second + (first - second) / 11

    for name in AVERAGED:
        expected = jax.tree.map(mean, once.params[name], twice.params[name])
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
            twice.extras["average"][name],
            expected,
        )
    jax.tree.map(
        np.testing.assert_array_equal,
        twice.extras["average"]["noise"],
        state.extras["average"]["noise"],
    )
    # The probability goes by 8 of 100 images towards the target.
    sign = float(metrics["sign/real"])
    assert metrics["probability"] == state.extras["probability"]
    moved = float(once.extras["probability"] - state.extras["probability"])
    assert moved == pytest.approx(0.08 * np.sign(sign - 0.6), rel=1e-4)

    key = jax.random.split(jax.random.fold_in(state.key, 0), 5)[0]
    draw = partial(draw_styles, task.model, state.params, BATCH, task.config.mixing)
    w = jax.jit(draw)(key)
    expected = STYLE_MEMORY * state.extras["mean_style"] + (1 - STYLE_MEMORY) * w.mean((0, 1))
    np.testing.assert_allclose(once.extras["mean_style"], expected, rtol=1e-4)
    # Told in the steps that look at path lengths alone
    assert once.extras["path_length"] == state.extras["path_length"]


def test_nothing_is_changed_where_that_is_never_wanted(images):
    """Not even by how changes sample images; and the step does less."""
    task, state = task_and_state(**{"augment.target": 0.0})
    real = images / np.float32(255)
    _, told = jax.jit(loss_of(task, state, real, due=()))(state.params)
    verdicts = judged(task.model, state.params["discriminator"], real)
    np.testing.assert_allclose(told.metrics["sign/real"], jnp.sign(verdicts).mean())
    fixed, _ = task_and_state(**{"augment.target": 0.0, "augment.probability": 0.2})
    steps = [each.steps(each.phases[0])["train"] for each in (task, fixed)]
    texts = [str(jax.make_jaxpr(step)(state, {"image": images})) for step in steps]
    assert len(texts[0]) < len(texts[1])


def test_the_probability_stays_where_no_sign_is_wanted(images):
    task, state = task_and_state(**{"augment.target": 0.0})
    _, metrics = jax.eval_shape(task.steps(task.phases[0])["train"], state, {"image": images})
    assert "probability" in metrics
    text = str(jax.make_jaxpr(task.steps(task.phases[0])["train"])(state, {"image": images}))
    other, _ = task_and_state()
    assert text != str(
        jax.make_jaxpr(other.steps(task.phases[0])["train"])(state, {"image": images})
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["penalty", "path"])
def test_eight_devices_do_what_one_does(given, steps, images, name):
    """Though each has one image of a group of four."""
    _, state = given
    ends = []
    for after, metrics in on_one_and_on_eight(steps[name], state, {"image": images}, steps=1):
        running = {k: v for k, v in after.extras.items() if k != "average"}
        ends.append((after.opt, metrics, running))
    # Second moments tell the gradients; weights move by the learning rate, however small these are.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-2, atol=1e-6), *ends)


def test_every_device_makes_its_part_of_the_images(given):
    task, state = given
    draw = partial(draw_styles, task.model, state.params, BATCH, task.config.mixing)
    with jax.set_mesh(make_mesh()):
        w = jax.jit(draw)(state.key)
    assert {shard.data.shape[0] for shard in w.addressable_shards} == {BATCH // 8}


def test_scores_tell_held_out_people_from_made_ones(given, images):
    task, state = given
    evaluator = task.evaluators(task.phases[0])[0]
    measure = jax.jit(evaluator.measure)
    scores = measure(state, {"image": images})
    assert set(scores) == {"sign/held_out", "sign/made", "spread"}
    # In parts of how far held-out ones are apart
    paler = measure(state, {"image": images // 2})
    np.testing.assert_allclose(paler["spread"], 2 * scores["spread"], rtol=0.02)
    # Without changes they are those of the discriminator.
    extras = state.extras | {"probability": jnp.float32(0)}
    plain = measure(
        state.__class__(state.step, state.key, state.params, state.opt, extras), {"image": images}
    )
    verdicts = judged(task.model, state.params["discriminator"], images / np.float32(255))
    assert plain["sign/held_out"] == np.sign(verdicts).mean()


def test_the_preview_shows_truncation_and_mixed_styles(given, images):
    task, state = given
    shown = task.preview(task.phases[0])
    grid = np.asarray(jax.jit(shown.draw)(state, {"image": images}))
    rows = dict(zip(shown.rows, grid, strict=True))
    np.testing.assert_allclose(rows["held out"], images / np.float32(255), atol=1e-6)

    @jax.jit
    def expected(average, mean, z):
        w = stylegan2.styles(task.model, average, z)
        w = mean + 0.7 * (w - mean)
        return stylegan2.synthesize(task.model, average, stylegan2.everywhere(task.model, w))

    z = jax.random.normal(jax.random.key(0), (BATCH, LATENT))
    truth = expected(state.extras["average"], state.extras["mean_style"], z)
    near = rows["truncation 0.7"]
    np.testing.assert_allclose(near, truth.clip(0, 1), atol=1e-4)
    assert np.abs(near - rows["truncation 1"]).max() > 0.01
    # In their own column, somebody is who they are without mixing.
    for i, name in enumerate(("first", "second", "third")):
        mixed = rows[f"coarse styles of the {name}"]
        np.testing.assert_allclose(mixed[i], near[i], atol=1e-5)
        assert np.abs(mixed - near).max() > 1e-3


def test_it_makes_no_images_of_clips(given):
    task, state = given
    assert not task.makes_images
    variables = task.variables(task.phases[0], state)
    assert set(variables["params"]) == {"mapping", "synthesis", "noise"}
    assert variables["mean_style"].shape == (LATENT,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.resolution": 48},
            r"config.model.resolution is 48; give a power of two, 8 or more",
        ),
        ({"model.resolution": 4}, "config.model.resolution is 4; give a power of two"),
        ({"batch": 6}, "config.batch is 6; give a multiple of 4"),
        ({"data.test": 6}, "config.data.test is 6; give a multiple of 4"),
        ({"loss.adversary": "wasserstein"}, "config.loss.adversary is 'wasserstein'; choose cross"),
        ({"augment.target": 1.5}, "config.augment.target is 1.5; give 0 to 1"),
        ({"loss.path_every": 0}, "config.loss.path_every is 0; give 1 or more"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


OFTEN = {"loss.penalty_every": 2}
"""So that each step has one regulariser."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stylegan2") / "run"
    assert train(config(**OFTEN), folder)
    return folder


def test_a_run_trains_on_some_people_and_is_scored_on_others(run):
    metrics = rows(run)
    assert [row["step"] for row in metrics] == [1, 2, 3, 4]
    assert ["penalty" in row for row in metrics] == [True, False, True, False]
    assert ["path_length" in row for row in metrics] == [False, True, False, True]
    assert -1 <= rows(run, evaluation=True)[-1]["eval/sign/held_out"] <= 1
    assert (run / "previews" / "step_0000004.png").exists()


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(run, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(again / "checkpoints" / "4")
    assert train(config(**OFTEN), again)
    assert all_rows(again) == all_rows(run)


def test_trained_weights_begin_a_run(tmp_path):
    tensors = plain_stylegan2.random_tensors(SIDE, CHANNELS, LATENT, layers=2)
    path = tmp_path / "weights.npz"
    np.savez(path, **tensors)
    task = Task(config(weights=str(path)))
    params, told = task.initial_params()
    given = task.frozen_inputs()
    assert told == f"Begins with generator and discriminator of '{path}'."
    fresh = jax.eval_shape(partial(task.init_state, task.phases[0]), jax.random.key(0))
    for wanted, found in ((fresh.params, params), (fresh.extras["average"], given["average"])):
        assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, wanted)
    np.testing.assert_array_equal(given["mean_style"], tensors["latent_avg"])
    np.testing.assert_array_equal(
        params["mapping"]["layer_0"]["kernel"], tensors["style.1.weight"].T
    )

    alone = plain_stylegan2.random_tensors(SIDE, CHANNELS, LATENT, layers=2, discriminator=False)
    np.savez(path, **alone)
    params, told = task.initial_params()
    assert set(params) == set(AVERAGED) and told == f"Begins with the generator of '{path}'."
