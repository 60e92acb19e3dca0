"""The comb task: schedules, updates against a plain reference, meshes against one device."""

import math
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from safetensors.numpy import save_file

from experiments import comb as experiment
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Who
from faceswap_jax.losses import reconstruction
from faceswap_jax.models import comb, iresnet
from faceswap_jax.models.autoencoder import persona
from faceswap_jax.models.iresnet import IResNetConfig
from faceswap_jax.ops import augmentation as augment
from faceswap_jax.ops.masks import masked
from faceswap_jax.ops.schedules import growth
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import AXES, make_mesh
from faceswap_jax.pretrained import embedder
from faceswap_jax.tasks.autoencoder import AUGMENTATION, Task
from faceswap_jax.tasks.autoencoder_losses import SWAPPED
from faceswap_jax.tasks.base import abstract_state
from tests.pretrained.test_insightface import random_state
from tests.support import tiny_run


def config(**changes) -> ml_collections.ConfigDict:
    c = experiment.get_config()
    c.personas = ("a", "b", "c", "d")
    c.model.update(width=1 / 64, latent=8)
    c.update(level_steps=(0, 0, 4, 10), final_steps=3, batch=2, learning_rate=1e-3)
    c.loss.l1 = 0.5
    c.update_from_flattened_dict(changes)
    return c


AUGMENTED = {
    "augment.brightness": 0.1,
    "augment.contrast": 0.2,
    "augment.saturation": 0.3,
    "augment.hue": 0.05,
}


@pytest.fixture(scope="module")
def batch():
    image = jax.random.randint(jax.random.key(0), (4, 2, 16, 16, 3), 0, 256).astype(jnp.uint8)
    mask = jnp.zeros((4, 2, 16, 16), jnp.uint8).at[:, :, 3:14, 2:13].set(255)
    return {
        "image": np.asarray(image),
        "encoder_input": np.asarray(image[..., ::-1]),
        "mask": np.asarray(mask),
    }


@pytest.fixture(autouse=True)
def one_device():
    with jax.set_mesh(
        jax.make_mesh((1, 1), AXES, devices=jax.devices()[:1], axis_types=make_mesh().axis_types)
    ):
        yield


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


def plain_loss(task, phase, params, p, seen, x, mask):
    """Loss of persona p, written out for one persona at a time."""
    model = task.network(phase).config
    y = comb.decode(
        model,
        params["tied"],
        persona(params["personas"], p),
        comb.encode(model, params["encoder"], seen),
    )
    f = reconstruction.dissimilarity(x * mask, y * mask) + 0.5 * jnp.abs((x - y) * mask).sum(
        (1, 2, 3)
    ) / (3 * mask.sum((1, 2, 3)))
    return f.mean()


def plain(**changes):
    task = Task(config(**changes))
    return task, *start(task)


def start(task):
    phase = task.phases[0]
    state = task.init_state(phase, jax.random.key(1))
    return phase, replace(state, step=jnp.int32(2))


def test_joint_update_is_adam_on_the_mean_loss_of_augmented_input(batch):
    task = Task(config(**AUGMENTED))
    phase, state = start(task)
    plain, x, mask = (
        batch["encoder_input"] / np.float32(255),
        batch["image"] / 255,
        batch["mask"][..., None] / 255,
    )
    step = jax.jit(task.steps(phase)["train"])

    @jax.jit
    def reference(params, opt, seen):
        loss, gradient = jax.value_and_grad(
            lambda params: (
                sum(plain_loss(task, phase, params, p, seen[p], x[p], mask[p]) for p in range(4))
                / 4
            )
        )(params)
        updates, opt = adam.update(gradient, opt)
        return optax.apply_updates(params, updates), opt, loss

    adam, params, views = optax.adam(1e-3), state.params, []
    opt = adam.init(params)
    for number in (2, 3):
        key = jax.random.fold_in(jax.random.fold_in(state.key, AUGMENTATION), number)
        views.append(augment.photometric(key, plain, task.config.augment))
        params, opt, loss = reference(params, opt, views[-1])
        state, metrics = step(state, batch)
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), state.params, params)
    assert int(state.step) == 4
    assert np.abs(views[0] - plain).max() > 0.1 and np.abs(views[0] - views[1]).max() > 0.1


def test_sequential_update_is_one_adam_step_per_persona_in_random_order(batch):
    task = Task(config(update_order="sequential"))
    phase, state = start(task)
    seen, x, mask = batch["encoder_input"] / 255, batch["image"] / 255, batch["mask"][..., None] / 255
    step = jax.jit(task.steps(phase)["train"])
    adam = optax.adam(1e-3)
    shared = {name: state.params[name] for name in ("encoder", "tied")}
    own = [persona(state.params["personas"], p) for p in range(4)]
    shared_opt, own_opt = adam.init(shared), [adam.init(o) for o in own]

    @jax.jit
    def gradients(shared, one, seen, x, mask):
        def loss(shared, one):
            return plain_loss(
                task,
                phase,
                {**shared, "personas": jax.tree.map(lambda a: a[None], one)},
                0,
                seen,
                x,
                mask,
            )

        return jax.grad(loss, argnums=(0, 1))(shared, one)

    orders = []
    for _ in range(2):
        order = [
            int(p) for p in jax.random.permutation(jax.random.fold_in(state.key, state.step), 4)
        ]
        orders.append(order)
        for p in order:
            g_shared, g_own = gradients(shared, own[p], seen[p], x[p], mask[p])
            updates, shared_opt = adam.update(g_shared, shared_opt)
            shared = optax.apply_updates(shared, updates)
            updates, own_opt[p] = adam.update(g_own, own_opt[p])
            own[p] = optax.apply_updates(own[p], updates)
        state, _ = step(state, batch)
    expected = {**shared, "personas": jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)}
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), state.params, expected)
    assert orders[0] != orders[1]
    counts = {
        group: {int(adam.count) for adam in modules.values()}
        for group, modules in state.opt.items()
    }
    assert counts == {"encoder": {8}, "tied": {8}, "personas": {2}}


SHAPE = {"blocks": [1], "channels": [8], "stem": 8, "embedding": 12, "side": 16}  # as JSON has it
EMBEDDER = IResNetConfig(**SHAPE | {"blocks": (1,), "channels": (8,)})
WEIGHTS = {"loss.l1": 0.5, "loss.identity": 0.3, "loss.cycle": 0.7, "loss.latent_cycle": 0.2}


def swapping(**changes):
    """A task with every loss, and a state that has the embedder."""
    task = Task(config(**WEIGHTS, **changes, **{"loss.embedder": "given", "embedder": SHAPE}))
    phase, state = start(task)
    params, statistics = iresnet.init(EMBEDDER, jax.random.key(5))
    return (
        task,
        phase,
        replace(state, extras={"embedder": {"params": params, "statistics": statistics}}),
    )


def test_losses_of_swapped_pictures_are_those_of_a_plain_loop(batch):
    task, phase, state = swapping()
    model, seen, x, mask = (
        task.network(phase).config,
        *(jnp.array(batch[n] / np.float32(255)) for n in ("encoder_input", "image", "mask")),
    )
    mask = mask[..., None]
    _, metrics = jax.jit(task.steps(phase)["train"])(state, batch)
    encode = partial(comb.encode, model, state.params["encoder"])

    def decode(p, z):
        return comb.decode(model, state.params["tied"], persona(state.params["personas"], p), z)

    def embed(x, mask):
        shown = masked(embedder.view(x, EMBEDDER.side), embedder.view(mask, EMBEDDER.side)[..., 0])
        e, _ = iresnet.apply(EMBEDDER, **state.extras["embedder"], x=shown)
        return e / jnp.linalg.norm(e, axis=-1, keepdims=True)

    found = {}
    for shift in (1, 2, 3):  # the step has drawn one of them
        identity, cycle, latent = [], [], []
        for p in range(4):
            q = (p + shift) % 4
            z = encode(seen[q])
            swapped = decode(p, z)
            person = embed(x[p], mask[p]).mean(0)
            identity.append(
                1 - (embed(swapped, mask[q]) @ (person / jnp.linalg.norm(person))).mean()
            )
            back = encode(swapped)
            cycle.append(
                (jnp.abs(decode(q, back) - x[q]) * mask[q]).sum((1, 2, 3))
                / (3 * mask[q].sum((1, 2, 3)))
            )
            latent.append(jnp.abs(back - z))
        found[shift] = [np.mean(jnp.array(terms)) for terms in (identity, cycle, latent)]
    terms = [float(metrics[f"term/{name}"]) for name in ("identity", "cycle", "latent_cycle")]
    best = min(found, key=lambda shift: np.abs(np.subtract(found[shift], terms)).max())
    np.testing.assert_allclose(terms, found[best], rtol=1e-4)
    assert (
        sorted(np.abs(np.subtract(found[s], terms)).max() for s in found)[1] > 1e-4
    )  # the drawn one alone agrees
    total = metrics["term/reconstruction"] + sum(
        WEIGHTS[f"loss.{n}"] * metrics[f"term/{n}"] for n in ("l1", *SWAPPED)
    )
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


def test_the_embedder_comes_from_its_file_and_the_run_keeps_its_shape(data, tmp_path):
    path = tmp_path / "face.safetensors"
    save_file(random_state(), path)
    c = tiny_run.experiment(data)
    c.loss.update(identity=0.1, embedder=str(path))
    stored = ml_collections.ConfigDict(configs.plain(Task.resolve(c)))
    task = Task(stored)
    frozen, abstract = task.frozen_inputs(), abstract_state(task, task.phases[0]).extras
    assert jax.tree.map(np.shape, frozen) == jax.tree.map(np.shape, abstract) and frozen
    path.unlink()  # the state has the network now
    assert Task(stored).embedder == task.embedder
    with pytest.raises(InputError, match=r"There is no file .*face.safetensors"):
        Task.resolve(c)


def test_identity_and_cycles_are_for_joint_updates_and_identity_needs_an_embedder():
    with pytest.raises(InputError, match=r"config.loss.cycle compares personas.*set it to joint"):
        Task(config(**{"loss.cycle": 1.0, "update_order": "sequential"}))
    with pytest.raises(InputError, match=r"config.loss.identity needs a face embedder"):
        Task(config(**{"loss.identity": 1.0}))


@pytest.mark.parametrize(
    ("persona_axis", "make", "large"),
    [
        (4, lambda: plain(learning_rate=1e-4), rules.LARGE),
        (
            2,
            lambda: plain(learning_rate=1e-4, **AUGMENTED),
            0,
        ),  # every tensor of the encoder is sharded over data
        (4, lambda: swapping(learning_rate=1e-4), rules.LARGE),
    ],
    ids=["reconstruction", "augmented, fsdp", "every loss"],
)
def test_a_mesh_computes_what_one_device_does_without_gathering_decoders(
    batch, persona_axis, make, large, monkeypatch
):
    monkeypatch.setattr(rules, "LARGE", large)
    task, phase, state = make()
    wide = jax.tree.map(
        lambda a: np.concatenate([a] * 2, 1), batch
    )  # two a persona do not divide over data = 4
    alone = jax.jit(task.steps(phase)["train"]).lower(state, wide).compile()
    single, values = alone(state, wide)

    mesh = make_mesh(persona_axis)
    with jax.set_mesh(mesh):
        layout = rules.shardings(jax.eval_shape(lambda: state), mesh)
        step = jax.jit(task.steps(phase)["train"], out_shardings=(layout, None))
        arguments = (
            jax.device_put(state, layout),
            jax.device_put(wide, NamedSharding(mesh, task.batch_spec)),
        )
        program = step.lower(*arguments).compile()
        sharded, sharded_values = program(*arguments)
    np.testing.assert_allclose(sharded_values["loss"], values["loss"], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(single.params), jax.tree.leaves(sharded.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert program.cost_analysis()["flops"] < 1.02 / 8 * alone.cost_analysis()["flops"]
    text = program.as_text()
    assert set(re.findall(r"feature_group_count=(\d+)", text)) <= {"1"}
    gathered = re.findall(r"= \(?\w+\[([\d,]*)\]\S* all-gather(?:-start)?\(", text)
    allowed = (
        {leaf.size for leaf in jax.tree.leaves(state.params["encoder"])} if not large else set()
    )
    if state.extras:  # latents and masks that the personas lend each other
        allowed = {n * 4 * size for n in (1, 4) for size in (8, 16 * 16)}
    assert {math.prod(map(int, shape.split(","))) for shape in gathered} <= allowed
    assert bool(gathered) is bool(allowed)
    kernel = sharded.params["personas"]["level_2"]["conv_0"]["conv"]["kernel"]
    assert kernel.addressable_shards[0].data.shape[0] == 4 // persona_axis


def test_growth_keeps_weights_and_moments_and_starts_those_of_the_new_level(batch):
    task = Task(config())
    phase, state = start(task)
    state, _ = jax.jit(task.steps(phase)["train"])(state, batch)
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


def test_preview_shows_input_reconstruction_and_every_swap(batch):
    task = Task(config())
    phase, state = start(task)
    grid = jax.jit(task.preview(phase).draw)(state, batch)
    assert grid.shape == (6, 8, 16, 16, 3)
    np.testing.assert_allclose(grid[0], batch["image"].reshape(8, 16, 16, 3) / 255, atol=1e-6)
    for p in range(4):  # a reconstruction is the swap to oneself
        np.testing.assert_allclose(
            grid[1, 2 * p : 2 * p + 2], grid[2 + p, 2 * p : 2 * p + 2], atol=1e-5
        )
    made = task.synthesis(phase, state)
    identity = made.identity(Who(personas={"c": 1.0}))
    swapped = made.images(made.variables, identity, {"crops": batch["image"][0]})
    np.testing.assert_allclose(swapped / 255, grid[4, :2], atol=0.003)


def test_preview_says_what_its_rows_and_columns_show():
    preview = Task(config()).preview(Task(config()).phases[0])
    assert preview.rows == ("input", "reconstruction", "as a", "as b", "as c", "as d")
    assert preview.columns == ["a", "a", "b", "b", "c", "c", "d", "d"]


@pytest.mark.parametrize(
    ("who", "message"),
    [
        (Who(personas={"zoe": 1.0}), "no persona 'zoe'.*a, b, c, d"),
        (Who(personas={"a": 0.5, "b": 0.5}), "mixes no personas"),
        (Who(personas={"a": 0.5}), "with weight 1"),
        (Who(pictures=[np.zeros((16, 16, 3), np.uint8)]), "trained on"),
    ],
)
def test_it_shows_one_persona_that_it_was_trained_on(who, message):
    task = Task(config())
    phase, state = start(task)
    with pytest.raises(InputError, match=message):
        task.synthesis(phase, state).identity(who)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level_steps", (0, 0)),
        ("level_steps", (5, 5)),
        ("level_steps", (0, 0, -4, 4)),
        ("level_steps", (0, 0, 4, 0, 4)),
        ("level_steps", (1,) * 10),
        ("update_order", "both"),
        ("precision", "float16"),
        ("batch", 0),
        ("seed", -1),
        ("final_steps", -5),
        ("model.width", -1.0),
        ("model.remat", "all"),
        ("alignment", "nose"),
        ("model.network", "no_such_module"),
        ("data.validation", 2.0),
        ("data.warp", -0.1),
        ("data.jitter.rotation", -1.0),
        ("data.jitter.scale", 1.0),
        ("augment.hue", -0.1),
        ("loss.masking", "none"),
    ],
)
def test_wrong_values_are_named(field, value):
    c = config()
    c.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=field):
        Task(c)
