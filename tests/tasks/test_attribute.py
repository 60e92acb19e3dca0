"""The MC-AAD task: who lends what to whom, all losses, both sides of the game, devices, scores, use, and a run."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH_CORNERS, NOSE, NOSE_TIP, RIGHT_EYE
from faceswap_jax.inference.generator import Faces, Who
from faceswap_jax.inference.trained import load
from faceswap_jax.losses import adversarial, attributes
from faceswap_jax.losses.adversarial import ADVERSARIES
from faceswap_jax.losses.identity import normalised
from faceswap_jax.models import attribute, discriminator
from faceswap_jax.ops.masks import beside
from faceswap_jax.pretrained.features import FEATURES
from faceswap_jax.tasks.attribute import AVERAGED, OPTIMIZERS, Task
from faceswap_jax.tasks.attribute_losses import (
    PLACES,
    Lending,
    Pictures,
    face_sizes,
    lenders,
    lent,
    losses,
    neighbours,
    of_neighbours,
)
from faceswap_jax.tasks.open_set import with_identities
from faceswap_jax.train import train
from tests.support.frozen import EXPRESSION, IDENTITY, WRITERS
from tests.support.sharded import on_one_and_on_eight
from tests.support.tiny_attribute import BATCH, SIDE, config, task_and_state
from tests.support.tiny_run import rows

LANDMARKS = np.random.default_rng(1).uniform(0, SIDE, (BATCH, 68, 2)).astype(np.float32)

TERMS = {"reconstruction", "attributes", "identity", "expression", "cycle", "adversarial"}


@pytest.fixture(scope="module")
def given():
    """The task, and a state with weights that are nowhere zero."""
    return task_and_state()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def batch(images):
    return {"image": images, "landmarks": LANDMARKS}


def x_of(images):
    return images / np.float32(255)


def test_pictures_lend_each_other_what_no_two_roles_take_from_the_same_one():
    by = lenders(jax.random.key(0), 8, ["identity", "expression"], same=0.0)
    np.testing.assert_array_equal(by["identity"], [4, 5, 6, 7, 0, 1, 2, 3])
    np.testing.assert_array_equal(by["expression"], [2, 3, 0, 1, 6, 7, 4, 5])


def test_a_fraction_of_the_pairs_keeps_its_own():
    by = lenders(jax.random.key(1), 4096, ["identity", "expression"], same=0.25)
    for role, other in by.items():
        np.testing.assert_array_equal(other[other], np.arange(4096))
        keeps = np.asarray(other == np.arange(4096))
        assert 0.2 < keeps.mean() < 0.3, role
    kept = [np.asarray(other == np.arange(4096)) for other in by.values()]
    assert 0.03 < (kept[0] & kept[1]).mean() < 0.1


def by_hand(task, state, x, by):
    """All terms of the source, picture by picture."""
    model, frozen = task.networks.generator, task.networks.frozen

    def encode(i):
        return attribute.encode(model, state.params, i)

    def generate(maps, features):
        return attribute.generate(model, state.params, maps, features).images

    def read(role, i):
        return FEATURES[role].read(frozen[role], state.extras["features"][role], i)

    maps = encode(x)
    own = {role: read(role, x) for role in frozen}
    wanted = {role: own[role][by[role]] for role in frozen}
    itself = generate(maps, list(own.values()))
    made = generate(maps, list(wanted.values()))
    told = {role: read(role, made) for role in frozen}
    lent = {role: told[role][by[role]] for role in frozen}
    again = generate(encode(made), list(lent.values()))
    units = [normalised(z) for z in (told["identity"], wanted["identity"])]
    cosine = (units[0] * units[1]).sum(-1)
    terms = {
        "reconstruction": ((2 * itself - 2 * x) ** 2).mean() / 2,
        "cycle": ((2 * again - 2 * x) ** 2).mean() / 2,
        "attributes": sum(
            ((a - b) ** 2).mean() / 2 for a, b in zip(maps, encode(made), strict=True)
        ),
        "identity": (1 - cosine).mean(),
        "expression": ((told["expression"] - wanted["expression"]) ** 2).mean() / 2,
    }
    return terms, made


def test_every_term_is_the_sources_and_the_weights_are_those_of_the_config(given, images):
    task, state = given
    x = x_of(images)
    by = lenders(jax.random.key(0), BATCH, list(task.networks.frozen), 0.3)
    c = task.config.loss
    total, found = jax.jit(partial(losses, task.networks, c, True))(
        state.params,
        state.extras["features"],
        Pictures(x, LANDMARKS),
        Lending(by, {}),
        {"features": 0.25, "adversarial": 0.5},
    )
    expected, made = jax.jit(partial(by_hand, task))(state, x, by)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)

    # The game
    judge = partial(discriminator.apply, task.networks.discriminator, state.params["discriminator"])
    sides = ADVERSARIES["relativistic"]
    against = adversarial.mean(sides.discriminator, judge(x), judge(made))
    np.testing.assert_allclose(found["discriminator"], against, rtol=1e-3)
    slopes = sum(adversarial.gradient_penalty(judge, i) for i in (x, made))
    np.testing.assert_allclose(found["penalty"], slopes, rtol=1e-3)

    weighted = 10 * (found["reconstruction"] + found["attributes"]) + found["cycle"]
    weighted += 0.25 * 5 * (found["identity"] + found["expression"]) + 0.5 * found["adversarial"]
    np.testing.assert_allclose(found["loss"], weighted, rtol=1e-4)
    # Half of the penalty, which counts for two steps
    np.testing.assert_allclose(total, weighted + against + 0.5 * 0.5 * 2 * slopes, rtol=1e-4)


def test_a_picture_is_made_as_it_is_by_the_identity_of_another_one_of_the_same_person(
    given, images
):
    task, state = given
    itself = neighbours(BATCH, 2)
    np.testing.assert_array_equal(itself["identity"], [1, 0, 3, 2, 5, 4, 7, 6])
    np.testing.assert_array_equal(neighbours(6, 3)["identity"], [2, 0, 1, 5, 3, 4])
    assert neighbours(BATCH, 1) == {}
    by = lenders(jax.random.key(0), BATCH, list(task.networks.frozen), 0.0)
    for lending in by.values():
        assert (lending // 2 != np.arange(BATCH) // 2).all()

    x, frozen = x_of(images), state.extras["features"]
    _, terms = jax.jit(partial(losses, task.networks, task.config.loss, False))(
        state.params, frozen, Pictures(x, LANDMARKS), Lending(by, itself), {}
    )
    own = task.networks.read(frozen, x)
    features = {**own, "identity": own["identity"][itself["identity"]]}
    maps = task.networks.encode(state.params, x, None)
    made = task.networks.generate(state.params, maps, features).images
    expected = ((2 * made - 2 * x) ** 2).mean() / 2
    np.testing.assert_allclose(terms["reconstruction"], expected, rtol=1e-3)
    made = task.networks.generate(state.params, maps, own).images
    by_own = ((2 * made - 2 * x) ** 2).mean() / 2
    assert abs(by_own / expected - 1) > 0.003

    # The step does so where people have two pictures.
    batch = {"image": images, "landmarks": LANDMARKS}
    for each, wanted in ((1, by_own), (2, expected)):
        stepping = Task(config(**{"data.pictures": each}))
        _, metrics = jax.jit(stepping.steps(task.phases[0])["train"])(state, batch)
        np.testing.assert_allclose(metrics["reconstruction"], wanted, rtol=1e-3)


def test_a_picture_is_made_of_the_attributes_of_another_one_who_has_the_same(given, images):
    task, state = given
    maps = [np.arange(BATCH)[:, None, None, None] * np.ones((1, side, side, 2)) for side in (2, 4)]
    for level in of_neighbours(maps, 2, 2):
        np.testing.assert_array_equal(level[:, 0, 0, 0], [2, 3, 0, 1, 6, 7, 4, 5])
    for level in of_neighbours(maps, 4, 1):
        np.testing.assert_array_equal(level[:, 0, 0, 0], [1, 2, 3, 0, 5, 6, 7, 4])
    for level, alone in zip(of_neighbours(maps, 1, 1), maps, strict=True):
        np.testing.assert_array_equal(level, alone)

    # So does the step, where they are side by side.
    x = x_of(images)
    own = task.networks.read(state.extras["features"], x)
    maps = of_neighbours(task.networks.encode(state.params, x, None), 2, 1)
    made = task.networks.generate(state.params, maps, own).images
    stepping = Task(config(**{"data.alike": 2}))
    _, metrics = jax.jit(stepping.steps(task.phases[0])["train"])(
        state, {"image": images, "landmarks": LANDMARKS}
    )
    expected = ((2 * made - 2 * x) ** 2).mean() / 2
    np.testing.assert_allclose(metrics["reconstruction"], expected, rtol=1e-3)


def test_people_have_so_many_pictures_in_a_batch():
    task = Task(with_identities(config(**{"data.pictures": 2})))
    (phase,) = task.phases
    batch = task.train_data(phase, 0, 1)[0]
    assert batch["image"].shape[0] == BATCH
    people = [record.split(":")[0] for record in batch["record"]]
    assert people[::2] == people[1::2]
    assert (batch["image"][::2] != batch["image"][1::2]).any((1, 2, 3)).all()
    with pytest.raises(
        InputError, match=r"8 images, of which 2 belong together, .* 8 hosts; .* multiple of 16"
    ):
        task.train_data(phase, 0, 8)
    assert task.eval_data(phase, 0, 1)[0]["image"].shape[0] == task.config.data.test


def test_attributes_are_not_read_where_features_shall_say_what_is_there(images):
    task = Task(config(**{"model.hidden": ("eyes", "mouth")}))
    networks, key = task.networks, jax.random.key(0)
    params = attribute.init(networks.generator, key)
    # A face that looks to the front: eyes at a third, the mouth at two thirds of the height
    landmarks = np.zeros((BATCH, 68, 2), np.float32)
    places = {RIGHT_EYE: (5, 5), LEFT_EYE: (10, 5), MOUTH_CORNERS: (7.5, 11), NOSE: (7.5, 8)}
    for points, place in places.items():
        landmarks[:, list(points)] = place

    mask = networks.mask(landmarks)
    before = networks.encode(params, x_of(images), mask)
    for x, y, is_seen in (
        (5, 4, False),
        (10, 4, False),
        (7, 11, False),
        (1, 1, True),
        (7, 7, True),
    ):
        changed = images.copy()
        changed[:, y, x] = 255 - changed[:, y, x]
        after = networks.encode(params, x_of(changed), mask)
        same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        assert not any(same) if is_seen else all(same), (x, y)


@pytest.mark.parametrize("yaw", [-25.0, 0.0, 25.0])
def test_the_outline_of_anybodys_jaw_is_hidden(yaw):
    side = 96
    places = [*PLACES["jaw"], *PLACES["mouth"]]
    for person in range(6):
        performance = Performance(yaw=yaw, mouth_open=0.2 * person)
        points = render(sample_persona(3, person), performance, Scene(), side).landmarks[None]
        mask = np.asarray(beside(points, face_sizes(points), places, side))[0]
        x, y = np.rint(points[0, 3:14]).astype(int).T
        within = (y < side) & (x >= 0) & (x < side)
        assert within.sum() > 8 and not mask[y[within], x[within]].any()
        # Between the nose and an eye there is skin to be seen.
        eyes = points[0, [RIGHT_EYE[0], LEFT_EYE[3]]]
        x, y = np.rint((points[0, NOSE_TIP] + eyes) / 2).astype(int).T
        assert mask[y, x].any() if yaw else mask[y, x].all()


def test_a_face_is_as_large_as_it_is_drawn_however_it_is_turned():
    def size(**changes):
        frame = render(sample_persona(3, 0), Performance(**changes), Scene(), SIDE)
        return float(face_sizes(frame.landmarks[None])[0])

    straight = size()
    for changes in ({"yaw": 30.0}, {"yaw": -30.0}, {"pitch": 15.0}, {"mouth_open": 1.0}):
        assert size(**changes) == pytest.approx(straight, rel=0.15), changes


def test_pictures_are_to_be_right_above_all_where_a_face_shows_who_it_is(given, images):
    task, state = given
    networks = task.networks
    x, by = x_of(images), lenders(jax.random.key(0), BATCH, list(task.networks.frozen), 0.0)
    mask = np.asarray(networks.outside(LANDMARKS, PLACES))
    assert 0 < mask.mean() < 1
    own = networks.read(state.extras["features"], x)
    itself = networks.generate(state.params, networks.encode(state.params, x, None), own).images
    squares = ((2 * itself - 2 * x) ** 2).mean(-1) / 2
    for more in (0.0, 9.0):
        c = task.config.loss.copy_and_resolve_references()
        c.places = more
        _, terms = jax.jit(partial(losses, networks, c, False))(
            state.params, state.extras["features"], Pictures(x, LANDMARKS), Lending(by, {}), {}
        )
        expected = (squares * np.where(mask == 0, 1 + more, 1)).mean()
        np.testing.assert_allclose(terms["reconstruction"], expected, rtol=1e-3)


def test_no_feature_is_asked_to_be_nearer_than_enough(given, images):
    """Each picture counts by itself."""
    task, state = given
    x = x_of(images)
    by = lenders(jax.random.key(0), BATCH, list(task.networks.frozen), 0.0)
    frozen = state.extras["features"]
    _, made = jax.jit(partial(by_hand, task))(state, x, by)
    told = task.networks.read(frozen, made)
    wanted = lent(task.networks.read(frozen, x), by)
    for role in ("identity", "expression"):
        distances = np.asarray(FEATURES[role].distance(told[role], wanted[role]))
        enough = float(np.median(distances))
        c = task.config.loss.copy_and_resolve_references()
        c.enough[role] = enough
        _, terms = jax.jit(partial(losses, task.networks, c, False))(
            state.params, frozen, Pictures(x, LANDMARKS), Lending(by, {}), {}
        )
        expected = np.maximum(distances - enough, 0).mean()
        assert 0 < expected < distances.mean() - enough / 2
        np.testing.assert_allclose(terms[role], expected, rtol=1e-3)


def terms_of(task, params, frozen, x, by):
    """Of a step without penalties, where pictures are made as they are by their own features."""
    faces, lending = Pictures(x, LANDMARKS), Lending(by, {})
    return losses(task.networks, task.config.loss, False, params, frozen, faces, lending, {})[1]


def test_each_side_goes_down_its_own_loss_alone(given, images):
    task, state = given
    by = lenders(jax.random.key(0), BATCH, list(task.networks.frozen), 0.0)

    def of(name, params):
        frozen = state.extras["features"]
        x = x_of(images)
        return terms_of(task, params, frozen, x, by)[name]

    gradients = jax.jit(jax.grad(partial(of, "discriminator")))(state.params)
    largest = {
        group: max(np.abs(g).max() for g in jax.tree.leaves(tree))
        for group, tree in gradients.items()
    }
    assert largest["discriminator"] > 1e-4 and largest["encoder"] == largest["generator"] == 0
    gradients = jax.jit(jax.grad(partial(of, "adversarial")))(state.params)
    largest = {
        group: max(np.abs(g).max() for g in jax.tree.leaves(tree))
        for group, tree in gradients.items()
    }
    assert largest["discriminator"] == 0 and min(largest["encoder"], largest["generator"]) > 1e-5


def test_the_encoder_learns_nothing_from_what_it_sees_of_attributes_itself(given, images):
    """But what it tells the generator, which is asked to keep them."""
    task, state = given
    model, x = task.networks.generator, x_of(images)
    by = lenders(jax.random.key(0), BATCH, list(task.networks.frozen), 0.0)
    frozen = state.extras["features"]

    def term(encoder):
        params = state.params | {"encoder": encoder}
        return terms_of(task, params, frozen, x, by)["attributes"]

    def of_generator(encoder):
        maps = attribute.encode(model, {"encoder": encoder}, x)
        made = task.networks.generate(state.params, maps, lent(task.networks.read(frozen, x), by))
        before = attribute.encode(model, state.params, x)
        after = attribute.encode(model, state.params, made.images)
        return attributes.unlike(before, after)

    found, expected = (jax.jit(jax.grad(f))(state.params["encoder"]) for f in (term, of_generator))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), found, expected)


@pytest.mark.parametrize("adversary", ["cross_entropy", "hinge"])
def test_without_cycle_and_expression_the_other_terms_remain(adversary, batch):
    changes = {"loss.cycle": 0.0, "features.expression": "", "loss.penalty": 0.0}
    task, state = task_and_state(
        **changes, **{"loss.adversary": adversary, "shapes": {"identity": IDENTITY}}
    )
    assert list(task.steps(task.phases[0])) == ["train"]
    _, metrics = jax.eval_shape(task.steps(task.phases[0])["train"], state, batch)
    assert set(metrics) == TERMS - {"cycle", "expression"} | {"loss", "discriminator", "told_apart"}


def test_without_an_identity_to_lend_it_makes_no_images_of_clips(given):
    task, _ = given
    others = Task(config(**{"features.identity": "", "shapes": {"expression": EXPRESSION}}))
    assert task.makes_images and not others.makes_images


def test_the_optimizer_is_adam_without_momentum():
    adam = optax.scale_by_adam(b1=0.0, b2=0.999)
    weights = np.zeros(5, np.float32)
    ours = OPTIMIZERS["adam"]
    states = [adam.init(weights), ours.init(weights)]
    for gradient in np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32):
        expected, states[0] = adam.update(gradient, states[0])
        found, states[1] = ours.update(gradient, states[1])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rates_fall_to_zero_over_the_final_steps_but_that_of_the_discriminator(batch):
    task, state = task_and_state(**{"steps": 4, "final_steps": 2, "optimizer": "muon"})
    step = jax.jit(task.steps(task.phases[0])["train"])

    def moved(at: int) -> dict[str, float]:
        """How far the weights of each network move in a step."""
        after, _ = step(replace(state, step=jnp.int32(at)), batch)
        apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.params, state.params)
        return {group: max(jax.tree.leaves(tree)) for group, tree in apart.items()}

    first, half, last = moved(0), moved(3), moved(4)
    for group in AVERAGED:
        assert first[group] > 0 and last[group] == 0, group
        assert half[group] == pytest.approx(first[group] / 2, rel=0.3), group
    assert last["discriminator"] == pytest.approx(first["discriminator"], rel=0.3)


def test_steps_move_all_networks_and_keep_a_mean_of_those_that_make_images(given, batch):
    task, state = given
    step = jax.jit(task.steps(task.phases[0])["train"])
    once, _ = step(state, batch)
    twice, _ = step(once, batch)
    # The first step goes as far as the learning rate, wherever there is a slope.
    for before, after in zip(state.params.values(), once.params.values(), strict=True):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after, before)
        assert max(jax.tree.leaves(moved)) == pytest.approx(0.01, rel=0.01)

    def mean(first, second):
        return second + (first - second) / 11

    expected = {
        name: jax.tree.map(mean, once.params[name], twice.params[name]) for name in AVERAGED
    }
    same = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(same, twice.extras["average"], expected)


def test_penalties_are_added_now_and_then(given):
    task, _ = given
    names = [task.step_name(task.phases[0], step) for step in range(3)]
    assert names == ["regularised", "train", "regularised"]


@pytest.mark.slow
def test_eight_devices_do_what_one_does(given, batch):
    """In a step that has all terms."""
    task, state = given
    step = jax.jit(task.steps(task.phases[0])["regularised"])
    ends = [
        (after.opt, metrics) for after, metrics in on_one_and_on_eight(step, state, batch, steps=1)
    ]
    # Adam's second moments tell the gradients; weights move by the learning rate, however small these are.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-2, atol=1e-6), *ends)
    assert ends[0][1]["penalty"] > 0


def test_it_learns_to_lend_identities(batch):
    """On four pictures that stay the same."""
    alone = {"batch": 4, "learning_rate": 2e-3, "loss.adversarial": 0.0}
    task, state = task_and_state(**alone, **{"model.levels": 3, "model.layers": 2})
    step = jax.jit(task.steps(task.phases[0])["train"])
    few = {name: array[:4] for name, array in batch.items()}
    found = []
    for _ in range(60):
        state, metrics = step(state, few)
        found.append(metrics)
    for name in ("identity", "expression", "reconstruction"):
        assert found[-1][name] < 0.7 * found[0][name], name


def test_scores_tell_attributes_and_features_apart(given, images, batch):
    task, state = given
    evaluator = task.evaluators(task.phases[0])[0]
    scores = jax.jit(evaluator.measure)(state, batch)
    roles = {"identity", "expression"}
    assert set(scores) == roles | {f"{role}/untouched" for role in roles} | {
        "psnr",
        "attributes",
        "identity/found",
    }
    own = FEATURES["identity"].read(
        task.networks.frozen["identity"], state.extras["features"]["identity"], x_of(images)
    )
    untouched = FEATURES["identity"].distance(own, np.roll(own, 4, 0)).mean()
    np.testing.assert_allclose(scores["identity/untouched"], untouched, rtol=1e-3)

    # Where neighbours have the same attributes, what is made of these has a truth.
    evaluator = Task(config(**{"data.alike": 2})).evaluators(task.phases[0])[0]
    scores = jax.jit(evaluator.measure)(state, batch)
    x = x_of(images)
    neighbour = x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)
    untouched = 10 * np.log10(1 / ((x - neighbour) ** 2).mean((1, 2, 3))).mean()
    np.testing.assert_allclose(scores["psnr/alike/untouched"], untouched, rtol=1e-3)
    assert scores["psnr/alike"] != scores["psnr"]


def test_the_preview_shows_roles_result_and_masks(given, images, batch):
    task, state = given
    shown = task.preview(task.phases[0])
    grid = jax.jit(shown.draw)(state, batch)
    rows = dict(zip(shown.rows, grid, strict=True))
    x = x_of(images)
    np.testing.assert_allclose(rows["attributes of"], x, atol=1e-6)
    np.testing.assert_allclose(rows["identity of"], np.roll(x, 4, 0), atol=1e-6)
    np.testing.assert_allclose(rows["expression of"], x[[2, 3, 0, 1, 6, 7, 4, 5]], atol=1e-6)
    for side in (8, 16):
        masks = rows[f"masks, {side} px"]
        np.testing.assert_allclose(masks.sum(-1), 1, atol=1e-5)
        squares = masks.reshape(BATCH, side, SIDE // side, side, SIDE // side, 3)
        assert np.ptp(squares, axis=(2, 4)).max() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features.identity": "", "features.expression": ""}, "config.features names no network"),
        ({"model.resolution": 20}, "config.model.resolution is 20; give a multiple of 8"),
        ({"batch": 6}, "config.batch is 6; give a multiple of 4"),
        (
            {"loss.adversary": "wasserstein"},
            "config.loss.adversary is 'wasserstein'; choose cross_",
        ),
        ({"loss.cycle": -1.0}, "config.loss.cycle is -1.0; give 0 or more"),
        ({"data.pictures": 0}, "config.data.pictures is 0; give 1 or more"),
        ({"data.pictures": 4}, "config.batch is 8; give a multiple of 16"),
        (
            {"data.pictures": 2, "features.identity": ""},
            "config.data.pictures is 2, but .* config.features.identity; set",
        ),
        (
            {"data.alike": 2, "features.expression": ""},
            "config.data.alike is 2, but who are alike differ in face and expression",
        ),
        ({"model.hidden": ("ears",)}, "config.model.hidden has 'ears'; the places are eyes, nose"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(InputError, match=message):
        Task(config(**changes))


def test_a_feature_that_is_not_known_is_refused():
    c = config()
    c.features.age = "runs/age"
    with pytest.raises(InputError, match=r"config\.features has 'age'; the features are ident"):
        Task(c)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with runs of both frozen networks."""
    folder = tmp_path_factory.mktemp("attribute")
    for role, write in WRITERS.items():
        write(folder / role)
    return folder


def of_runs(runs, **changes):
    """A config that names them, and knows nothing of their shapes yet."""
    names = {f"features.{role}": str(runs / role) for role in WRITERS}
    c = config(**names, **changes)
    c.shapes = {}
    return c


@pytest.fixture(scope="module")
def run(runs):
    assert train(of_runs(runs, **{"model.hidden": ("eyes",), "loss.places": 2.0}), runs / "run")
    return runs / "run"


def test_a_run_trains_on_some_people_and_is_scored_on_others(run):
    metrics = rows(run)
    assert [row["step"] for row in metrics] == [1, 2, 3]
    assert ["penalty" in row for row in metrics] == [True, False, True]
    assert rows(run, evaluation=True)[-1]["eval/identity"] > 0
    assert (run / "previews" / "step_0000003.png").exists()

    task = Task(configs.load(run / "config.json"))
    assert task.networks.frozen["identity"].embedding == 5
    phase = task.phases[0]
    for data, names in ((task.train_data, {0, 1, 2}), (task.eval_data, {3, 4})):
        people = {record.split(":")[0] for record in data(phase, 0, 1)[0]["record"]}
        assert people == {f"puppet{p:03}" for p in names}


def test_its_generator_puts_anybodys_identity_into_faces(run, images):
    generator = load(run)
    assert (generator.placement, generator.alignment) == ("blended", "eyes")
    assert generator.personas == () and generator.inputs == ("crops", "landmarks")
    who = generator.identity(Who(pictures=list(images[:2])))

    # The mean direction of the pictures
    task = Task(configs.load(run / "config.json"))
    frozen = task.networks.read(generator.variables["features"], x_of(images))
    mean = normalised(normalised(frozen["identity"][:2]).mean(0))
    np.testing.assert_allclose(who["identity"], mean * np.sqrt(5), rtol=1e-3)

    landmarks = LANDMARKS[2:5]
    made = generator(who, Faces(crops=images[2:5], landmarks=landmarks))
    params = generator.variables["params"]
    maps = task.networks.encode(params, x_of(images[2:5]), task.networks.mask(landmarks))
    features = [np.tile(who["identity"], (3, 1)), frozen["expression"][2:5]]
    expected = attribute.generate(task.networks.generator, params, maps, features).images
    np.testing.assert_allclose(made, 255 * expected, atol=1)
    with pytest.raises(InputError, match="knows nobody by name"):
        generator.identity(Who({"ada": 1.0}))


def test_what_is_lent_to_faces_takes_the_place_of_their_own_feature_alone(given, images):
    task, state = given
    use = task.synthesis(task.phases[0])
    assert use.roles == ("identity", "expression")
    variables = task.variables(task.phases[0], state)
    crops = images[:4]

    def made(identity, lent):
        return use.images(variables, identity, {"crops": crops, **lent}, None)

    own = {role: use.features(variables, role, crops) for role in use.roles}
    other = {role: use.features(variables, role, images[4:]) for role in use.roles}
    untouched = made({}, {})
    # To lend what is there already changes not one bit: so no other feature is another one.
    np.testing.assert_array_equal(made({}, {"expression": own["expression"]}), untouched)
    np.testing.assert_array_equal(made({"identity": own["identity"][0]}, {})[0], untouched[0])

    # One identity for all, an expression for each
    changed = made({"identity": other["identity"][0]}, {"expression": other["expression"]})
    maps = attribute.encode(task.networks.generator, variables["params"], x_of(crops))
    features = [np.tile(other["identity"][:1], (4, 1)), other["expression"]]
    expected = attribute.generate(task.networks.generator, variables["params"], maps, features)
    np.testing.assert_allclose(changed, expected.images, atol=1e-5)
    assert np.abs(changed - untouched).max() > 0.01
