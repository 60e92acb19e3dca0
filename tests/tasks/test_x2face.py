"""The X2Face task: who drives whom, both stages, devices, scores, use, and a run through both stages."""

from dataclasses import asdict, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import x2face as experiment
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Edit, Faces, Who
from faceswap_jax.inference.trained import load
from faceswap_jax.models import vgg, x2face
from faceswap_jax.state import State
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.x2face import Task
from faceswap_jax.train import train
from tests.support.frozen import IDENTITY, write_identity
from tests.support.sharded import on_one_and_on_eight
from tests.support.tiny_run import rows

SIDE, BATCH, SOURCES, DRIVING = 16, 8, 2, 2


def config(**changes):
    c = experiment.get_config()
    c.data.update(kind="puppets", held_out=0.4, test=8, sources=SOURCES, driving=DRIVING)
    c.data.update({"world_seed": 3, "personas": 5, "frames": 4, "resolution": SIDE})
    c.model.update(resolution=SIDE, width=1 / 16, inner=8, vector=6)
    c.update(steps=4, content_steps=2, batch=BATCH, learning_rate=0.05, content_rate=0.02)
    c.loss.embedder = "given"
    c.embedder = IDENTITY
    c.run.update(log=1, preview=3, checkpoint=3)
    c.mesh.cpu_devices = 8
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture(scope="module")
def task():
    return Task(config())


@pytest.fixture(scope="module")
def fresh(task):
    """A state as it begins, of drawn weights: compiling `init_state` takes a while."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key if hasattr(path[-1], "key") else ""
        if name == "kernel" and leaf.shape[-1] > 3:
            deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return jnp.float32(rng.normal(0, deviation, leaf.shape))
        return jnp.full(leaf.shape, float(name in ("scale", "var")), leaf.dtype)

    empty = abstract_state(task, task.phases[0])
    drawn = jax.tree_util.tree_map_with_path(draw, (empty.params, empty.extras))
    opt = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), empty.opt)
    opt |= {"plateau": task._no_plateau(drawn[0])}
    return State(jnp.int32(0), jax.random.key(0), drawn[0], opt, drawn[1])


@pytest.fixture(scope="module")
def state(fresh):
    """Networks that move pixels, and an embedder."""
    params = jax.tree.map(lambda leaf: leaf, fresh.params)
    for number, network in enumerate(params.values()):
        last = network["up"]["conv_3"]
        key = jax.random.key(number)
        last["kernel"] = 0.1 * jax.random.normal(key, last["kernel"].shape)
    return replace(fresh, params=params)


@pytest.fixture(scope="module")
def step(task):
    """Of stage I."""
    return jax.jit(task.steps(task.phases[0])["train"])


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    shapes = {"source": SOURCES, "driving": 1, "other": 1}
    return {
        role: {"image": rng.integers(0, 256, (BATCH, n, SIDE, SIDE, 3), np.uint8)}
        for role, n in shapes.items()
    }


def test_sources_and_driver_are_of_one_track_and_the_last_people_are_held_out():
    c = config(**{"content_steps": 0, "loss.embedder": ""})
    task = Task(Task.resolve(c))
    names = list(task.data)
    assert list(task.config.identities) == names[:3]
    phase = task.phases[0]
    kinds = (task.train_data, names[:3], DRIVING), (task.eval_data, names[3:], 1)
    for data, known, driving in kinds:
        shown = data(phase, 0, 1)[0]
        assert set(shown) == {"source", "driving"}
        assert shown["source"]["image"].shape == (8, SOURCES, SIDE, SIDE, 3)
        for sources, drivers in zip(
            shown["source"]["record"], shown["driving"]["record"], strict=True
        ):
            people = {record.split(":")[0] for record in (*sources, *drivers)}
            assert len(people) == 1 and people <= set(known)
            assert len({*sources, *drivers}) == SOURCES + driving


def test_in_stage_ii_somebody_else_drives_too(task):
    known = config(identities=tuple(task.data)[:3])
    shown = Task(known).train_data(task.phases[1], 0, 1)[0]
    for drivers, (other,) in zip(shown["driving"]["record"], shown["other"]["record"], strict=True):
        assert other.split(":")[0] not in {driver.split(":")[0] for driver in drivers}


def test_stage_i_is_momentum_on_the_l1_error(task, state, step, batch):
    shown, truth = (batch[role]["image"] / np.float32(255) for role in ("source", "driving"))
    reenact = jax.jit(partial(x2face.reenact, task.model, train=True))
    made = reenact(state.params, state.extras["statistics"], shown, truth)
    same = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6))

    once, metrics = step(state, batch)
    np.testing.assert_allclose(metrics["loss"], np.abs(made.images - truth).mean(), rtol=1e-4)
    same(once.extras["statistics"], made.statistics)
    twice, _ = step(once, batch)
    for before, after in ((state, once), (once, twice)):
        for network, weights in before.params.items():
            velocity = after.opt[network].trace
            moved = jax.tree.map(lambda w, v: w - 0.05 * v, weights, velocity)
            same(moved, after.params[network])


def test_eight_devices_do_what_one_does(task, state, batch):
    """Two steps of stage II; statistics are those of the global batch."""
    step = jax.jit(task.steps(task.phases[1])["train"])
    ends = [
        (after.params, after.extras["statistics"], metrics)
        for after, metrics in on_one_and_on_eight(step, state, batch)
    ]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-5), *ends)
    *_, metrics = ends[1]
    assert metrics["loss"] > metrics["l1"] > 0 and metrics["content/other"] > 0
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), ends[1][0], jax.device_get(state.params))
    assert np.median(jax.tree.leaves(moved)) > 2e-4


def test_stage_ii_may_look_with_a_file_of_vgg_face(fresh, batch, tmp_path):
    shape = vgg.VGGConfig("A", (2, 2, 2, 2, 2), 224)
    weights = {}
    for name, conv in vgg.init(shape, jax.random.key(0)).items():
        weights[f"{name}.weight"] = conv["kernel"].transpose(3, 2, 0, 1)
        weights[f"{name}.bias"] = conv["bias"]
    # Behind all that is looked at, but it tells the configuration
    weights["conv5_2.weight"] = weights["conv5_1.weight"]
    np.savez(tmp_path / "vgg.npz", **weights)

    c = Task.resolve(config(**{"loss.embedder": str(tmp_path / "vgg.npz")}))
    assert c.embedder.to_dict() == asdict(shape)
    configs.save(c, tmp_path / "config.json")
    task = Task(configs.load(tmp_path / "config.json"))
    state = replace(fresh, extras=fresh.extras | task.frozen_inputs())
    assert jax.tree.map(np.shape, state) == jax.tree.map(
        np.shape, abstract_state(task, task.phases[0])
    )
    _, metrics = jax.eval_shape(task.steps(task.phases[1])["train"], state, batch)
    assert set(metrics) == {"loss", "learning_rate", "l1", "content/other"}


def test_the_learning_rate_is_a_tenth_after_a_plateau_and_stage_ii_begins_anew(
    task, state, step, batch
):
    c, first = task.config.plateau, state.opt["plateau"]
    assert step(state, batch)[1]["learning_rate"] == pytest.approx(0.05)
    # One step before the last mean that may be no better
    counts = {"count": c.steps - 1, "plateau_count": c.patience - 1}
    late = first._replace(best_value=jnp.float32(0), **jax.tree.map(jnp.int32, counts))
    late = replace(state, opt=state.opt | {"plateau": late})
    after, metrics = step(late, batch)
    assert metrics["learning_rate"] == pytest.approx(0.005)

    assert [(phase.start, phase.stop) for phase in task.phases] == [(0, 4), (4, 6)]
    assert task.enter(task.phases[1], after).opt["plateau"] == first


def test_it_learns_to_reenact(fresh, step):
    """Sources are the driving frame, shifted by four pixels."""
    rng = np.random.default_rng(1)
    squares = rng.random((BATCH, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    truth = np.uint8(255 * squares)[:, None]
    shown = np.roll(truth, 4, axis=3).repeat(SOURCES, 1)
    examples = {"source": {"image": shown}, "driving": {"image": truth}}
    state, losses = fresh, []
    for _ in range(60):
        state, metrics = step(state, examples)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]


def test_scores_are_beside_those_of_copying_the_source(task, fresh, batch):
    scores = jax.jit(task.evaluators(task.phases[0])[0].measure)(fresh, batch)
    assert set(scores) == {
        f"{way}{score}" for way in ("", "one/", "copied/") for score in ("l1", "ssim")
    }
    source, truth = batch["source"]["image"][:, 0] / 255, batch["driving"]["image"][:, 0] / 255
    np.testing.assert_allclose(scores["copied/l1"], np.abs(source - truth).mean(), rtol=1e-5)
    # Fresh networks show one source as it is.
    np.testing.assert_allclose(scores["one/l1"], scores["copied/l1"], rtol=1e-4)


def test_the_preview_shows_the_embedded_face_and_who_drives(task, state, batch):
    shown = task.preview(task.phases[0])
    grid = jax.jit(shown.draw)(state, batch)
    assert grid.shape == (len(shown.rows), 8, SIDE, SIDE, 3)
    np.testing.assert_allclose(grid[0], batch["source"]["image"][:, 0] / 255, atol=1e-6)
    np.testing.assert_allclose(grid[5, 0], grid[2, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.resolution": 48}, "config.model.resolution is 48; choose 16 or 32 or"),
        ({"optimizer": "muon"}, "config.optimizer is 'muon'; choose sgd or adam"),
        ({"data.sources": 0}, "config.data.sources is 0"),
        ({"plateau.improvement": 0.0}, "config.plateau.improvement is 0.0"),
        ({"steps": 0, "content_steps": 0}, "config.steps is 0, and so is config.content_steps"),
        ({"loss.embedder": ""}, "config.content_steps needs a face network"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps of stage I and one of stage II, with an embedder of a run."""
    folder = tmp_path_factory.mktemp("x2face")
    write_identity(folder / "identity", alignment="box")

    # One source, so that less is compiled
    given = {
        "loss.embedder": str(folder / "identity"),
        "steps": 2,
        "content_steps": 1,
        "data.sources": 1,
    }
    assert train(config(**given), folder / "run")
    return folder / "run"


def test_a_run_goes_through_both_stages(run):
    first, second, third = rows(run)
    assert "l1" not in first and "l1" not in second and third["l1"] < third["loss"]
    assert third["learning_rate"] == pytest.approx(0.02)
    assert rows(run, evaluation=True)[-1]["eval/copied/l1"] > 0
    assert (run / "previews" / "step_0000003.png").exists()


def test_its_generator_shows_anybody_doing_what_a_driver_does(run, batch):
    generator = load(run)
    assert generator.placement == "whole" and generator.personas == ()
    assert generator.parts == {"driving": slice(0, 6)} and generator.alignment == "box"
    pictures = list(batch["source"]["image"][0])
    who = generator.identity(Who(pictures=pictures))
    assert who["embedded"].shape == (SIDE, SIDE, 3)

    # As the model makes them
    crops = batch["driving"]["image"][:3, 0]
    images = generator(who, Faces(crops=crops))
    assert images.shape == crops.shape and images.dtype == np.uint8
    networks = generator.variables
    model = Task(configs.load(run / "config.json")).model
    expected = jax.jit(partial(x2face.reenact, model))(
        **networks,
        sources=np.stack(pictures)[None] / np.float32(255),
        driving=crops[None] / np.float32(255),
    )
    np.testing.assert_allclose(images, 255 * expected.images[0], atol=1)

    # The vector is all that the driver gives.
    z = generator.latents(Faces(crops=crops))
    shifted = generator(who, Faces(crops=crops), Edit(np.roll(z, -1, 0) - z))
    np.testing.assert_allclose(shifted.astype(int), np.roll(images, -1, 0), atol=1)

    # What is painted on the embedded face is shown.
    painted = generator.painted(who, np.ones((SIDE, SIDE, 3), np.float32))
    assert generator.paintable and (generator.embedded(painted) == 1).all()
    painted = generator(painted, Faces(crops=crops))
    assert (painted[:, 4:-4, 4:-4] == 255).all()


def test_nobody_is_known_by_name(run):
    generator = load(run)
    for who in (Who({"ada": 1.0}), Who()):
        with pytest.raises(InputError, match="knows nobody by name; give pictures"):
            generator.identity(who)
