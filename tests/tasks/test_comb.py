"""The comb task: schedules, updates against a plain reference, meshes against one device."""

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

from experiments import comb as experiment
from faceswap_jax import augment
from faceswap_jax.errors import InputError
from faceswap_jax.losses import reconstruction
from faceswap_jax.models import comb
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import AXES, make_mesh
from faceswap_jax.tasks.base import abstract_state, phase_of
from faceswap_jax.tasks.comb import AUGMENTATION, Task


def config(**changes) -> ml_collections.ConfigDict:
    c = experiment.get_config()
    c.personas = ("a", "b", "c", "d")
    c.model.update(width=1 / 64, latent=8)
    c.update(level_steps=(0, 0, 4, 10), final_steps=3, batch=2, learning_rate=1e-3)
    c.loss.l1 = 0.5
    c.update_from_flattened_dict(changes)
    return c


AUGMENTED = {"augment.brightness": 0.1, "augment.contrast": 0.2, "augment.saturation": 0.3, "augment.hue": 0.05}


@pytest.fixture(scope="module")
def batch():
    image = jax.random.randint(jax.random.key(0), (4, 2, 16, 16, 3), 0, 256).astype(jnp.uint8)
    mask = jnp.zeros((4, 2, 16, 16), jnp.uint8).at[:, :, 3:14, 2:13].set(255)
    return {"image": np.asarray(image), "input": np.asarray(image[..., ::-1]), "mask": np.asarray(mask)}


@pytest.fixture(autouse=True)
def one_device():
    with jax.set_mesh(jax.make_mesh((1, 1), AXES, devices=jax.devices()[:1], axis_types=make_mesh().axis_types)):
        yield


def test_schedule_is_a_pure_function_of_the_step():
    task = Task(config())
    first, second = task.phases
    assert [(p.start, p.stop, p.stage) for p in task.phases] == [(0, 4, 2), (4, 17, 3)]
    alphas = [float(task.schedule(second, jnp.int32(s))[0]) for s in range(4, 17)]
    np.testing.assert_allclose(alphas, [0, 0.2, 0.4, 0.6, 0.8] + [1] * 8, atol=1e-6)
    rates = [float(task.schedule(second, jnp.int32(s))[1]) for s in (4, 13, 14, 16)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-5, 1e-5])
    assert float(task.schedule(first, jnp.int32(0))[0]) == 1
    assert [phase_of(task, s).stage for s in (0, 4, 5, 17)] == [2, 2, 3, 3]


def plain_loss(task, phase, params, p, seen, x, mask):
    """Loss of persona p, written out for one persona at a time."""
    model = task.model(phase)
    y = comb.decode(
        model, params["tied"], comb.persona(params["personas"], p), comb.encode(model, params["encoder"], seen)
    )
    f = reconstruction.dissimilarity(x * mask, y * mask) + 0.5 * jnp.abs((x - y) * mask).sum((1, 2, 3)) / (
        3 * mask.sum((1, 2, 3))
    )
    return f.mean()


def start(task):
    phase = task.phases[0]
    state = task.init_state(phase, jax.random.key(1))
    return phase, replace(state, step=jnp.int32(3))


def test_joint_update_is_adam_on_the_mean_loss_of_augmented_input(batch):
    task = Task(config(**AUGMENTED))
    phase, state = start(task)
    plain, x, mask = batch["input"] / np.float32(255), batch["image"] / 255, batch["mask"][..., None] / 255
    step = jax.jit(partial(task.train_step, phase))

    @jax.jit
    def reference(params, opt, seen):
        loss, gradient = jax.value_and_grad(
            lambda params: sum(plain_loss(task, phase, params, p, seen[p], x[p], mask[p]) for p in range(4)) / 4
        )(params)
        updates, opt = adam.update(gradient, opt)
        return optax.apply_updates(params, updates), opt, loss

    adam, params, views = optax.adam(1e-3), state.params, []
    opt = adam.init(params)
    for number in (3, 4):
        key = jax.random.fold_in(jax.random.fold_in(state.key, AUGMENTATION), number)
        views.append(augment.photometric(key, plain, task.config.augment))
        params, opt, loss = reference(params, opt, views[-1])
        state, metrics = step(state, batch)
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), state.params, params)
    assert int(state.step) == 5
    assert np.abs(views[0] - plain).max() > 0.1 and np.abs(views[0] - views[1]).max() > 0.1


def test_sequential_update_is_one_adam_step_per_persona_in_random_order(batch):
    task = Task(config(update_order="sequential"))
    phase, state = start(task)
    seen, x, mask = batch["input"] / 255, batch["image"] / 255, batch["mask"][..., None] / 255
    step = jax.jit(partial(task.train_step, phase))
    adam = optax.adam(1e-3)
    shared = {name: state.params[name] for name in ("encoder", "tied")}
    own = [comb.persona(state.params["personas"], p) for p in range(4)]
    shared_opt, own_opt = adam.init(shared), [adam.init(o) for o in own]

    @jax.jit
    def gradients(shared, one, seen, x, mask):
        def loss(shared, one):
            return plain_loss(
                task, phase, {**shared, "personas": jax.tree.map(lambda a: a[None], one)}, 0, seen, x, mask
            )

        return jax.grad(loss, argnums=(0, 1))(shared, one)

    orders = []
    for _ in range(2):
        order = [int(p) for p in jax.random.permutation(jax.random.fold_in(state.key, state.step), 4)]
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
    counts = {group: {int(adam.count) for adam in modules.values()} for group, modules in state.opt.items()}
    assert counts == {"encoder": {8}, "tied": {8}, "personas": {2}}


@pytest.mark.parametrize(("persona_axis", "changes"), [(4, {}), (2, AUGMENTED)])
def test_a_mesh_computes_what_one_device_does_without_gathering_decoders(batch, persona_axis, changes):
    task = Task(config(**changes))
    phase, state = start(task)
    wide = jax.tree.map(lambda a: np.concatenate([a] * 2, 1), batch)  # two a persona do not divide over data = 4
    single, values = jax.jit(partial(task.train_step, phase))(state, wide)

    mesh = make_mesh(persona_axis)
    with jax.set_mesh(mesh):
        layout = rules.shardings(abstract_state(task, phase), mesh)
        step = jax.jit(partial(task.train_step, phase), out_shardings=(layout, None))
        arguments = jax.device_put(state, layout), jax.device_put(wide, NamedSharding(mesh, task.batch_spec))
        program = step.lower(*arguments).compile()
        sharded, sharded_values = program(*arguments)
    np.testing.assert_allclose(sharded_values["loss"], values["loss"], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(single.params), jax.tree.leaves(sharded.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    text = program.as_text()
    assert not re.findall(r"all-gather(?:-start)?\(", text)
    assert set(re.findall(r"feature_group_count=(\d+)", text)) <= {"1"}
    kernel = sharded.params["personas"]["level_2"]["conv_0"]["conv"]["kernel"]
    assert kernel.addressable_shards[0].data.shape[0] == 4 // persona_axis


def test_growth_keeps_weights_and_moments_and_starts_those_of_the_new_level(batch):
    task = Task(config())
    phase, state = start(task)
    state, _ = jax.jit(partial(task.train_step, phase))(state, batch)
    grown = task.enter(task.phases[1], state)
    for old, new in ((state.params, grown.params), (state.opt, grown.opt)):
        for group in ("encoder", "tied", "personas"):
            kept = old[group].keys() & new[group].keys()
            jax.tree.map(np.testing.assert_array_equal, *({n: t[group][n] for n in kept} for t in (old, new)))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grown.opt["personas"]["level_3"]))
    assert int(grown.opt["personas"]["level_2"].count) == 1
    assert int(grown.step) == 4
    abstract = abstract_state(task, task.phases[1])
    assert jax.tree.map(lambda a: (a.shape, a.dtype), grown) == jax.tree.map(lambda a: (a.shape, a.dtype), abstract)


def test_preview_shows_input_reconstruction_and_every_swap(batch):
    task = Task(config())
    phase, state = start(task)
    grid = jax.jit(partial(task.preview, phase))(state, batch)
    assert grid.shape == (6, 8, 16, 16, 3)
    np.testing.assert_allclose(grid[0], batch["image"].reshape(8, 16, 16, 3) / 255, atol=1e-6)
    for p in range(4):  # a reconstruction is the swap to oneself
        np.testing.assert_allclose(grid[1, 2 * p : 2 * p + 2], grid[2 + p, 2 * p : 2 * p + 2], atol=1e-5)
    swapped = task.swap(phase, state, batch["image"][0], 2)
    np.testing.assert_allclose(swapped / 255, grid[4, :2], atol=0.003)


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
