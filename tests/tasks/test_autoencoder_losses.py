"""Losses of swapped images, against a plain loop, and their embedder."""

from functools import partial

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from safetensors.numpy import save_file

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.losses import expression
from faceswap_jax.models import comb, iresnet
from faceswap_jax.models.autoencoder import persona
from faceswap_jax.ops.masks import masked
from faceswap_jax.pretrained import embedder
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.autoencoder_losses import READING, SWAPPED
from faceswap_jax.tasks.base import abstract_state
from tests.pretrained.test_insightface import random_state
from tests.support import tiny_run
from tests.support.small_comb import EMBEDDER, WEIGHTS, config, plain, swapping

pytestmark = pytest.mark.usefixtures("one_device")


def test_losses_of_swapped_images_are_those_of_a_plain_loop(noise):
    task, phase, state = swapping()
    model = task.network(phase).config
    encoder_input, x, mask = (
        jnp.array(noise[name] / np.float32(255)) for name in ("encoder_input", "image", "mask")
    )
    mask = mask[..., None]
    _, metrics = jax.jit(task.steps(phase)["train"])(state, noise)
    encode = partial(comb.encode, model, state.params["encoder"])

    def decode(p, z):
        return comb.decode(model, state.params["tied"], persona(state.params["personas"], p), z)

    def embed(x, mask):
        shown = masked(embedder.view(x, EMBEDDER.side), embedder.view(mask, EMBEDDER.side)[..., 0])
        e, _ = iresnet.apply(EMBEDDER, **state.extras["embedder"], x=shown)
        return e / jnp.linalg.norm(e, axis=-1, keepdims=True)

    def swapped_terms(p, q):
        """Of persona p with the performance of q."""
        z = encode(encoder_input[q])
        swapped = decode(p, z)
        person = embed(x[p], mask[p]).mean(0)
        cosine = embed(swapped, mask[q]) @ (person / jnp.linalg.norm(person))
        again = encode(swapped)
        difference = (jnp.abs(decode(q, again) - x[q]) * mask[q]).sum((1, 2, 3))
        cycle = difference / (3 * mask[q].sum((1, 2, 3)))
        return (1 - cosine).mean(), cycle.mean(), jnp.abs(again - z).mean()

    terms = [float(metrics[f"term/{name}"]) for name in ("identity", "cycle", "latent_cycle")]
    errors = []
    for offset in (1, 2, 3):  # the step has drawn one of them, which alone agrees
        expected = np.mean([swapped_terms(p, (p + offset) % 4) for p in range(4)], 0)
        errors.append(np.abs(expected - terms).max())
    best, second, _ = sorted(errors)
    assert best < 1e-4 * max(terms) and second > 1e-4

    total = metrics["term/reconstruction"] + sum(
        WEIGHTS[f"loss.{name}"] * metrics[f"term/{name}"] for name in ("l1", *SWAPPED)
    )
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


def test_every_other_image_is_made_of_anothers_latent_where_personas_perform_together(noise):
    task, phase, state = plain(**{"data.together": True})
    model = task.network(phase).config
    x, mask = noise["image"] / np.float32(255), noise["mask"][..., None] / np.float32(255)
    z = comb.encode(
        model, state.params["encoder"], noise["encoder_input"].reshape(-1, 16, 16, 3) / 255
    )
    z = z.reshape(4, 2, -1)
    _, metrics = jax.jit(task.steps(phase)["train"])(state, noise)

    def l1(offset):
        shown = jnp.stack([jnp.roll(z, -offset, axis=0)[:, 0], z[:, 1]], axis=1)
        own = [persona(state.params["personas"], p) for p in range(4)]
        y = jnp.stack(
            [comb.decode(model, state.params["tied"], own[p], shown[p]) for p in range(4)]
        )
        return float((jnp.abs(y - x) * mask).sum() / (3 * mask.sum()))

    # The step has drawn one of these offsets; another one, or none, gives something else.
    none, *offsets = (abs(l1(offset) - float(metrics["term/l1"])) for offset in range(4))
    best, second, _ = sorted(offsets)
    assert best < 1e-6 and min(none, second) > 1e-5


def test_the_expression_is_read_from_latents_and_what_reads_it_learns(noise):
    task, phase, state = plain(**{"loss.expression": 0.2})
    irises = np.random.default_rng(0).uniform(2, 13, (4, 2, 2, 2)).astype(np.float32)
    noise = noise | {"irises": irises}
    step = jax.jit(task.steps(phase)["train"])
    after, metrics = step(state, noise)

    # Nothing is read at first, so that all of each persona's variance is left.
    found = np.array(expression.measures(noise["landmarks"], irises))
    scaled = found / np.array(list(expression.MEASURES.values()))
    left = ((scaled - scaled.mean(1, keepdims=True)) ** 2).mean()
    np.testing.assert_allclose(metrics["term/expression"], left, rtol=1e-4)

    assert np.abs(after.params[READING]["linear"]["kernel"]).max() > 0
    _, later = step(after, noise)
    assert later["term/expression"] < metrics["term/expression"]


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


def test_an_embedder_of_another_alignment_is_refused(data, tmp_path):
    path = tmp_path / "face.safetensors"
    save_file(random_state(), path)
    c = tiny_run.experiment(data)
    c.loss.update(identity=0.1, embedder=str(path))
    c.alignment = "stable"
    with pytest.raises(InputError, match=r"'stable'.*face.safetensors.*config.alignment=eyes"):
        Task.resolve(c)


def test_identity_and_cycles_are_for_joint_updates_and_identity_needs_an_embedder():
    with pytest.raises(InputError, match=r"config.loss.cycle compares personas.*set it to joint"):
        Task(config(**{"loss.cycle": 1.0, "update_order": "sequential"}))
    with pytest.raises(InputError, match=r"config.data.together.*set it to joint"):
        Task(config(**{"data.together": True, "update_order": "sequential"}))
    with pytest.raises(InputError, match=r"config.loss.identity needs a face embedder"):
        Task(config(**{"loss.identity": 1.0}))
