"""The transfer task: what is compared with what, options of the ablation, scores, use, and a run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Edit, Faces, Who
from faceswap_jax.inference.trained import load
from faceswap_jax.models import transfer as model
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.transfer import Task, _summarise, centre
from faceswap_jax.train import train
from tests.support.frozen import write_identity, write_networks
from tests.support.plain_restyle import write_restyle
from tests.support.sharded import on_one_and_on_eight
from tests.support.tiny_latent import BATCH, SIDE, task_and_state, transfer_config
from tests.support.tiny_run import rows

ALL = {
    "loss.l2": 1.0,
    "loss.cosface": 1.0,
    "tune": True,
    "model.mapping": "joined",
}


@pytest.fixture(scope="module")
def given():
    return task_and_state("transfer")


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    shapes = {"source": 1, "driving": 1, "other": 2}
    return {
        role: {"image": rng.integers(0, 256, (BATCH, n, SIDE, SIDE, 3), np.uint8)}
        for role, n in shapes.items()
    }


def images(batch, role, number=0):
    return batch[role]["image"][:, number] / np.float32(255)


@pytest.fixture(scope="module")
def step(given):
    task, _ = given
    return jax.jit(task.steps(task.phases[0])["train"])


def test_pairs_are_of_one_track_and_others_are_somebody_else():
    for changes, other in (({}, 1), ({"loss.cosface": 1.0}, 2)):
        task = Task(transfer_config(**changes))
        names = list(task.data)
        task = Task(transfer_config(**changes, identities=tuple(names[:3])))
        phase = task.phases[0]
        for data, people, count in (
            (task.train_data, names[:3], other),
            (task.eval_data, names[3:], 1),
        ):
            shown = data(phase, 0, 1)[0]
            assert shown["other"]["image"].shape == (8, count, SIDE, SIDE, 3)
            for shows, drives, others in zip(
                *(shown[role]["record"] for role in ("source", "driving", "other")), strict=True
            ):
                own, driver, somebody = (
                    {record.split(":")[0] for record in records}
                    for records in (shows, drives, others)
                )
                assert own == driver and own.isdisjoint(somebody) and own | somebody <= set(people)
                assert shows[0] != drives[0]


def test_each_term_compares_what_the_source_has(given, batch, step):
    task, state = given
    _, metrics = step(state, batch)
    terms = {"perceptual": 0.05, "l2_crop": 2.0, "perceptual_crop": 0.3, "identity": 0.3}
    assert set(metrics) == {"loss", *terms}
    expected = sum(weight * metrics[name] for name, weight in terms.items())
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)

    # Once more, from the outside
    @jax.jit
    def compared(state):
        shown, driving, other = (images(batch, role) for role in ("source", "driving", "other"))
        variables = task.variables(task.phases[0], state)
        found = task.inverted(variables, np.concatenate([shown, other]))[-1]
        acted, _ = task._act(state.params, state.extras, driving, found.styles, train=True)
        difference = centre(acted.by_own) - centre(driving)
        judging = state.extras["judges"]
        inverted = found.seen[BATCH:]
        return {
            "l2_crop": 4 * (difference**2).mean(),
            "perceptual": task.judges.unlike(judging, acted.by_own, driving).mean(),
            "identity": task.judges.apart(judging, "identity", acted.by_other, inverted).mean(),
        }

    for name, value in compared(state).items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-3)
    assert task.judges.perceptual_name == "features"


def test_the_middle_is_that_of_188_of_256_pixels():
    pictures = jnp.arange(256.0)[None, :, None, None] * jnp.ones((1, 256, 256, 3))
    middle = centre(pictures)
    assert middle.shape == (1, 188, 188, 3) and middle[0, 0, 0, 0] == 34
    assert centre(jnp.zeros((1, 64, 64, 3))).shape == (1, 48, 48, 3)


def test_what_is_trained_moves_and_what_is_frozen_stays(given, batch, step):
    _, state = given
    after, _ = step(state, batch)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, after.params)
    assert moved["mapping"] == {"kernel": True, "bias": True}
    assert np.mean(jax.tree.leaves(moved["motion"])) > 0.8
    for name in ("inversion", "judges"):
        jax.tree.map(np.testing.assert_array_equal, state.extras[name], after.extras[name])


def test_all_options_at_once(batch):
    """Losses of whole pictures, CosFace, one layer for all styles, and the generator's weights."""
    task, state = task_and_state("transfer", **ALL)
    after, metrics = jax.jit(task.steps(task.phases[0])["train"])(state, batch)
    assert {"l2", "cosface"} <= set(metrics) and all(map(np.isfinite, metrics.values()))
    kernel = state.params["mapping"]["kernel"]
    styles, latent = task.model.motion.styles, task.model.motion.latent
    assert kernel.shape == (1, 2 * styles * latent, styles * latent)
    still = jax.tree.map(
        lambda a, b: bool((a == b).all()), state.params["generator"], after.params["generator"]
    )
    assert not all(jax.tree.leaves(still))
    # The inversion keeps the generator that it was trained with.
    jax.tree.map(
        np.testing.assert_array_equal, state.extras["inversion"], after.extras["inversion"]
    )

    # By the source's formula
    @jax.jit
    def directions(state):
        shown, driving, other = (images(batch, role) for role in ("source", "driving", "other"))
        variables = task.variables(task.phases[0], state)
        found = task.inverted(variables, np.concatenate([shown, other]))[-1]
        acted, _ = task._act(state.params, state.extras, driving, found.styles, train=True)
        flat = []
        for pictures in (driving, images(batch, "other", 1), acted.by_own, acted.by_other):
            motion, _ = task._motion(state.params, state.extras, pictures, True)
            flat.append(motion.reshape(BATCH, -1))
        return [vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True) for vectors in flat]

    wanted, unwanted, *pairs = map(np.asarray, directions(state))
    near = [5 * ((told * wanted).sum(1) - 0.2) for told in pairs]
    far = [5 * ((told * unwanted).sum(1) - 0.2) for told in pairs]
    against = sum(map(np.exp, far))
    expected = -sum(np.log(np.exp(d) / (np.exp(d) + against)) for d in near)
    np.testing.assert_allclose(metrics["cosface"], expected.mean(), rtol=1e-3)


def test_it_begins_with_who_is_shown_as_inverted(given):
    task, _ = given
    shape = (2, task.model.motion.styles, task.model.motion.latent)
    shown = np.float32(np.random.default_rng(0).normal(size=shape))

    @jax.jit
    def without_motion(key):
        params, _ = model.init(task.model, key)
        return model.styles_of(task.model, params, jnp.zeros(shape), shown)

    np.testing.assert_allclose(without_motion(jax.random.key(0)), shown, rtol=1e-6)


@pytest.mark.slow
def test_eight_devices_do_what_one_does(given, batch, step):
    """Statistics are those of the global batch."""
    _, state = given
    ends = [
        (after.params, after.extras["statistics"], metrics)
        for after, metrics in on_one_and_on_eight(step, state, batch)
    ]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=5e-3, atol=1e-4), *ends)


def test_expressions_are_scored_by_how_they_follow(given, batch):
    task, state = given
    measured = jax.device_get(jax.jit(task.evaluators(task.phases[0])[0].measure)(state, batch))
    rng = np.random.default_rng(0)
    driving = rng.normal(size=(8, 19))
    measured["expressions"] |= {
        "driving": driving,
        "self": 2 * driving + 1,
        "cross": np.zeros((8, 19)),
        "copied": -driving,
    }
    scores = _summarise([measured, measured])
    followed = {name: scores[f"{name}/expression"] for name in ("self", "cross", "copied")}
    assert followed == pytest.approx({"self": 1, "cross": 0, "copied": -1}, abs=1e-5)
    assert {"self/psnr", "self/features", "cross/identity", "inverted/picture"} <= scores.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.mapping": "mlp"}, "config.model.mapping is 'mlp'; choose styles or joined"),
        ({"model.blocks": (1,) * 4, "model.channels": (6,) * 4}, "config.model.blocks is .*8 px"),
        ({"networks.inversion": ""}, "config.networks.inversion is ''; give a run of"),
        ({"loss.identity": -1.0}, "config.loss.identity is -1.0"),
        ({"cosface.scale": 0.0}, "config.cosface.scale is 0.0"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(transfer_config(**changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training, on an inversion of a run; the generator learns, too."""
    folder = tmp_path_factory.mktemp("transfer")
    write_networks(folder / "networks", "eyes", SIDE)
    names = ("inversion", "identity", "expression")
    given = {f"networks.{name}": str(folder / "networks" / name) for name in names}
    assert train(transfer_config(**given, steps=2, tune=True), folder / "run")
    return folder / "run"


def test_public_weights_take_the_place_of_an_inversion(tmp_path):
    write_identity(tmp_path / "identity", "ffhq")
    write_restyle(tmp_path / "restyle.safetensors")
    given = {
        "networks.identity": str(tmp_path / "identity"),
        "networks.inversion": str(tmp_path / "restyle.safetensors"),
        "networks.expression": "",
        "alignment": "ffhq",
    }
    task = Task(Task.resolve(transfer_config(**given)))
    assert task.model.motion.styles == 6 and task.side == 8
    # What is frozen fits what a state has room for.
    room = abstract_state(task, task.phases[0]).extras["inversion"]
    frozen = task.frozen_inputs()["inversion"]
    assert jax.tree.map(np.shape, frozen) == jax.tree.map(np.shape, room)
    with pytest.raises(InputError, match=r"is 'eyes', but .* set config\.alignment=ffhq"):
        Task.resolve(transfer_config(**given | {"alignment": "eyes"}))


def test_a_run_finds_its_networks(run):
    assert [row["step"] for row in rows(run)] == [1, 2]
    assert np.isfinite(rows(run, evaluation=True)[-1]["eval/cross/expression"])


def test_its_generator_shows_anybody_or_nobody_doing_what_a_driver_does(run, batch):
    generator = load(run)
    assert generator.placement == "whole" and generator.samples and not generator.relative
    crops = batch["driving"]["image"][:3, 0]
    who = generator.identity(Who(pictures=list(batch["source"]["image"][:2, 0])))
    shown = generator(who, Faces(crops=crops))
    assert shown.shape == crops.shape and shown.dtype == np.uint8

    # The motion is all that the driver gives.
    z = generator.latents(Faces(crops=crops))
    shifted = generator(who, Faces(crops=crops), Edit(np.roll(z, -1, 0) - z))
    np.testing.assert_allclose(shifted.astype(int), np.roll(shown, -1, 0), atol=1)

    # Nobody: the same for a seed, and pictures as any other.
    drawn = [generator.sampled(seed) for seed in (1, 2, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert drawn[0].shape == (SIDE, SIDE, 3) and (drawn[0] != drawn[1]).any()
    nobody = generator.identity(Who(pictures=[drawn[0]]))
    assert np.abs(nobody["styles"] - who["styles"]).max() > 0
