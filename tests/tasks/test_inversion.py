"""The inversion task: refinements, their gradients, scores, use, bad values, and a run."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Edit, Faces, Who
from faceswap_jax.inference.trained import load
from faceswap_jax.models import restyle
from faceswap_jax.pretrained import inversion as pretrained
from faceswap_jax.tasks.inversion import Task
from faceswap_jax.train import train
from tests.support.frozen import write_networks
from tests.support.sharded import on_one_and_on_eight
from tests.support.tiny_latent import BATCH, REFINEMENTS, SIDE, inversion_config, task_and_state
from tests.support.tiny_run import rows


@pytest.fixture(scope="module")
def given():
    return task_and_state("inversion")


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)}


@pytest.fixture(scope="module")
def step(given):
    task, _ = given
    return jax.jit(task.steps(task.phases[0])["train"])


def test_a_step_sums_gradients_of_refinements_that_begin_from_what_is_held_still(
    given, batch, step
):
    task, state = given
    pictures = batch["image"] / np.float32(255)
    key = jax.random.fold_in(state.key, state.step)

    # By the perturbation of one weight: no refinement sees what it changes in those before.
    @jax.jit
    def losses(kernel):
        encoder = state.params["encoder"]
        head = encoder["style_1"]["styles"] | {"kernel": kernel}
        changed = encoder | {"style_1": encoder["style_1"] | {"styles": head}}
        now, total, all_losses = state, 0.0, []
        made = restyle.begin(task.model, state.extras["generator"], BATCH)
        for i in range(REFINEMENTS):
            made = jax.lax.stop_gradient(made)
            loss, (made, statistics, _) = task._loss(
                {"encoder": changed}, now, pictures, made, jax.random.fold_in(key, i)
            )
            statistics = jax.lax.stop_gradient(statistics)
            now = replace(now, extras=now.extras | {"statistics": statistics})
            total, all_losses = total + loss, [*all_losses, loss]
        return total, all_losses

    kernel = state.params["encoder"]["style_1"]["styles"]["kernel"]
    slope, all_losses = jax.grad(losses, has_aux=True)(kernel)
    after, metrics = step(state, batch)
    np.testing.assert_allclose(metrics["first/loss"], all_losses[0], rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], all_losses[-1], rtol=1e-4)

    # The first step of RAdam is the gradient itself, times the rate.
    moved = kernel - after.params["encoder"]["style_1"]["styles"]["kernel"]
    assert np.abs(slope).max() > 1e-4
    np.testing.assert_allclose(moved, 0.01 * slope, rtol=1e-2, atol=1e-6)


def test_the_loss_is_the_weighted_sum_of_its_terms(given, batch, step):
    _, metrics = step(given[1], batch)
    assert set(metrics) == {"loss", "first/loss", "l2", "features", "identity"}
    expected = metrics["l2"] + 0.8 * metrics["features"] + 0.1 * metrics["identity"]
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


def test_what_is_frozen_stays(given, batch, step):
    _, state = given
    after, _ = step(state, batch)
    for name in ("generator", "judges"):
        jax.tree.map(np.testing.assert_array_equal, state.extras[name], after.extras[name])


def test_it_learns_to_find_what_the_generator_has_made(given, step):
    task, state = given
    w = jax.random.normal(jax.random.key(3), (BATCH, 1, task.model.generator.latent))
    styles = jnp.broadcast_to(w, (BATCH, task.model.generator.layers, w.shape[-1]))
    generate = jax.jit(restyle.generate, static_argnums=0)
    made = generate(task.model, state.extras["generator"], styles)
    batch = {"image": np.uint8(255 * made.seen.clip(0, 1))}
    losses = []
    for _ in range(40):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_eight_devices_do_what_one_does(given, batch, step):
    """Statistics are those of the global batch."""
    _, state = given
    ends = [
        (after.params, after.extras["statistics"], metrics)
        for after, metrics in on_one_and_on_eight(step, state, batch)
    ]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=5e-3, atol=1e-4), *ends)


def test_scores_are_of_the_end_the_first_refinement_and_the_average(given, batch):
    task, state = given
    scores = jax.jit(task.evaluators(task.phases[0])[0].measure)(state, batch)
    kinds = ("psnr", "l2", "features", "identity")
    assert set(scores) == {f"{when}{kind}" for when in ("", "first/", "average/") for kind in kinds}
    variables = task.variables(task.phases[0], state)
    found = jax.jit(task.inverted)(variables, batch["image"] / np.float32(255))
    assert len(found) == 1 + REFINEMENTS
    error = ((found[0].seen.clip(0, 1) - batch["image"] / 255) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(scores["average/psnr"], (-10 * np.log10(error)).mean(), rtol=1e-4)

    shown = task.preview(task.phases[0])
    grid = jax.eval_shape(shown.draw, state, batch)
    assert grid.shape == (len(shown.rows), 8, SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.side": 24}, "config.model.side is 24; give a power of two, 4 or more"),
        ({"model.side": 16}, "config.model.side is 16, but the generator makes images of 8 px"),
        ({"model.channels": (6, 8)}, "config.model.channels is .*; give a number for each"),
        ({"refinements": 0}, "config.refinements is 0; give 1 or more"),
        ({"networks.generator": ""}, "config.networks.generator is ''; give a run of"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(inversion_config(**changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training, on a generator of a run."""
    folder = tmp_path_factory.mktemp("inversion")
    write_networks(folder / "networks", "eyes", SIDE)
    given = {
        f"networks.{name}": str(folder / "networks" / name) for name in ("generator", "identity")
    }
    assert train(inversion_config(**given, steps=2), folder / "run")
    return folder / "run"


def test_a_run_finds_its_networks(run):
    assert [row["step"] for row in rows(run)] == [1, 2]
    assert rows(run, evaluation=True)[-1]["eval/psnr"] > 0
    shape, weights = pretrained.load_for(str(run), "eyes")
    assert pretrained.described_shape(_config(pretrained.described(shape))) == shape
    fresh = jax.eval_shape(lambda: pretrained.init(shape, jax.random.key(0)))
    assert jax.tree.map(np.shape, fresh) == jax.tree.map(np.shape, weights)


def _config(values):
    return ml_collections.ConfigDict(values)


def test_networks_that_do_not_fit_are_refused(run, tmp_path):
    networks = run.parent / "networks"
    fitting = {
        "networks.generator": str(networks / "generator"),
        "networks.identity": str(networks / "identity"),
    }
    for changes, message in (
        ({"alignment": "ffhq"}, "knows faces aligned as 'eyes'; set config.alignment=eyes"),
        ({"networks.generator": str(run)}, "holds a run of 'inversion'; give one of 'stylegan2'"),
        ({"networks.generator": str(tmp_path / "g.pkl")}, "may be a pickle"),
        ({"networks.identity": str(run)}, "holds a run of 'inversion'; give one of 'identity'"),
    ):
        with pytest.raises(InputError, match=message):
            Task.resolve(inversion_config(**fitting | changes))
    with pytest.raises(InputError, match="knows faces aligned as 'eyes'"):
        pretrained.load_for(str(run), "box")
    with pytest.raises(InputError, match="holds a run of 'identity'; give one of 'inversion'"):
        pretrained.load_for(str(networks / "identity"), "eyes")


def test_its_generator_is_latent_arithmetic(run, batch):
    generator = load(run)
    assert generator.placement == "whole" and generator.relative and not generator.samples
    pictures = batch["image"][:2]
    who = generator.identity(Who(pictures=list(pictures)))
    mirrored = generator.identity(Who(pictures=list(pictures[:, :, ::-1])))
    np.testing.assert_allclose(who["styles"], mirrored["styles"], rtol=1e-4, atol=1e-4)

    # Whoever does nothing is shown at rest; what differs is added.
    faces = Faces(crops=batch["image"][2:5])
    latents = generator.latents(faces)
    still = generator(who, faces, Edit(-latents))
    assert np.abs(still.astype(int) - still[:1]).max() <= 1
    moved = generator(who, faces)
    weights = generator.variables
    styles = who["styles"] + latents.reshape(3, *who["styles"].shape)
    model = Task(configs.load(run / "config.json")).model
    generate = jax.jit(restyle.generate, static_argnums=0)
    expected = generate(model, weights["generator"], styles).images.clip(0, 1)
    np.testing.assert_allclose(moved, 255 * expected, atol=1.5)
