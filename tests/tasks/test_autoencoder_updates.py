"""Updates of the autoencoder task: against a plain reference, and meshes against one device."""

import math
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding

from faceswap_jax.models.autoencoder import persona
from faceswap_jax.ops import augmentation as augment
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.autoencoder import AUGMENTATION, Task
from faceswap_jax.tasks.autoencoder_start import AVERAGE
from faceswap_jax.tasks.autoencoder_updates import init_optimizers
from tests.support.small_comb import AUGMENTED, config, plain, plain_loss, start, swapping

pytestmark = pytest.mark.usefixtures("one_device")


def test_joint_update_is_adam_on_the_mean_loss_of_augmented_input(noise):
    task = Task(config(**AUGMENTED))
    phase, state = start(task)
    plain = noise["encoder_input"] / np.float32(255)
    x, mask = noise["image"] / 255, noise["mask"][..., None] / 255
    step = jax.jit(task.steps(phase)["train"])

    @jax.jit
    def reference(params, opt, encoder_input):
        def mean_loss(params):
            losses = [
                plain_loss(task, phase, params, p, encoder_input[p], x[p], mask[p])
                for p in range(4)
            ]
            return sum(losses) / 4

        loss, gradient = jax.value_and_grad(mean_loss)(params)
        updates, opt = adam.update(gradient, opt)
        return optax.apply_updates(params, updates), opt, loss

    adam, params, views = optax.adam(1e-3), state.params, []
    opt = adam.init(params)
    for number in (2, 3):
        key = jax.random.fold_in(jax.random.fold_in(state.key, AUGMENTATION), number)
        views.append(augment.photometric(key, plain, task.config.augment))
        params, opt, loss = reference(params, opt, views[-1])
        state, metrics = step(state, noise)
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), state.params, params)
    assert int(state.step) == 4
    assert np.abs(views[0] - plain).max() > 0.1 and np.abs(views[0] - views[1]).max() > 0.1


def test_the_personas_own_weights_have_a_rate_of_their_own(noise):
    def moved(**changes):
        task, phase, state = plain(**changes)
        new, _ = jax.jit(task.steps(phase)["train"])(state, noise)
        return jax.tree.map(lambda after, before: after - before, new.params, state.params)

    alike, slower = moved(), moved(persona_rate=0.25)
    for group in ("encoder", "tied", "personas"):
        rate = 0.25 if group == "personas" else 1.0
        jax.tree.map(
            lambda a, b, rate=rate: np.testing.assert_allclose(rate * a, b, atol=2e-5),
            alike[group],
            slower[group],
        )


def test_sequential_update_is_one_adam_step_per_persona_in_random_order(noise):
    task = Task(config(update_order="sequential"))
    phase, state = start(task)
    encoder_input, x, mask = (
        noise["encoder_input"] / 255,
        noise["image"] / 255,
        noise["mask"][..., None] / 255,
    )
    step = jax.jit(task.steps(phase)["train"])
    adam = optax.adam(1e-3)
    shared = {name: state.params[name] for name in ("encoder", "tied")}
    own = [persona(state.params["personas"], p) for p in range(4)]
    shared_opt, own_opt = adam.init(shared), [adam.init(o) for o in own]

    @jax.jit
    def gradients(shared, one, encoder_input, x, mask):
        def loss(shared, one):
            params = {**shared, "personas": jax.tree.map(lambda a: a[None], one)}
            return plain_loss(task, phase, params, 0, encoder_input, x, mask)

        return jax.grad(loss, argnums=(0, 1))(shared, one)

    orders = []
    for _ in range(2):
        key = jax.random.fold_in(state.key, state.step)
        order = [int(p) for p in jax.random.permutation(key, 4)]
        orders.append(order)
        for p in order:
            g_shared, g_own = gradients(shared, own[p], encoder_input[p], x[p], mask[p])
            updates, shared_opt = adam.update(g_shared, shared_opt)
            shared = optax.apply_updates(shared, updates)
            updates, own_opt[p] = adam.update(g_own, own_opt[p])
            own[p] = optax.apply_updates(own[p], updates)
        state, _ = step(state, noise)
    expected = {**shared, "personas": jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)}
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), state.params, expected)
    assert orders[0] != orders[1]
    counts = {
        group: {int(adam.count) for adam in modules.values()}
        for group, modules in state.opt.items()
    }
    assert counts == {"encoder": {8}, "tied": {8}, "personas": {2}}


@pytest.mark.parametrize(
    ("persona_axis", "make", "large"),
    [
        (4, lambda: plain(learning_rate=1e-4), rules.LARGE),
        # Every tensor of the encoder is sharded over data.
        (2, lambda: plain(learning_rate=1e-4, **AUGMENTED), 0),
        (4, lambda: swapping(learning_rate=1e-4), rules.LARGE),
    ],
    ids=["reconstruction", "augmented, fsdp", "every loss"],
)
def test_a_mesh_computes_what_one_device_does_without_gathering_decoders(
    noise, persona_axis, make, large, monkeypatch
):
    monkeypatch.setattr(rules, "LARGE", large)
    task, phase, state = make()
    # Two images of each persona do not divide over data = 4.
    wide = jax.tree.map(lambda a: np.concatenate([a] * 2, 1), noise)
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


def test_of_some_personas_a_step_the_others_stay_bit_for_bit(noise):
    task, phase, state = plain(personas_per_step=2)
    # The batch shows personas 3 and 1.
    batch = jax.tree.map(lambda leaf: leaf[np.array([3, 1])], noise)
    new, metrics = jax.jit(task.steps(phase)["train"])(state, batch)
    moved = [
        any(
            bool((old[p] != own[p]).any())
            for old, own in zip(
                jax.tree.leaves(state.params["personas"]),
                jax.tree.leaves(new.params["personas"]),
                strict=True,
            )
        )
        for p in range(4)
    ]
    assert moved == [False, True, False, True]

    # As a training of these two alone has it
    task, phase, _ = plain(personas=("d", "b"))
    own = jax.tree.map(lambda leaf: leaf[np.array([3, 1])], state.params["personas"])
    params = {**state.params, "personas": own}
    opt = init_optimizers(task.optimizer, params)
    _, alone = jax.jit(task.steps(phase)["train"])(replace(state, params=params, opt=opt), batch)
    np.testing.assert_allclose(metrics["loss"], alone["loss"], rtol=1e-5)


def test_the_running_mean_follows_the_weights_slowly_and_is_what_is_used(noise):
    task, phase, state = plain(average=0.9)
    step = jax.jit(task.steps(phase)["train"])
    state = replace(state, step=jnp.int32(1000))
    new, _ = step(state, noise)

    def between(old, average, trained):
        np.testing.assert_allclose(average, 0.9 * old + 0.1 * trained, atol=1e-6)

    jax.tree.map(between, state.params, new.extras[AVERAGE], new.params)
    used = task.variables(phase, new)
    jax.tree.map(
        np.testing.assert_array_equal,
        used["weights"]["encoder"],
        new.extras[AVERAGE]["encoder"],
    )
