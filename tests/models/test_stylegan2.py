"""StyleGAN2's networks: against plain NumPy, styles and noise, widths of the published ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.models import residual, stylegan2
from faceswap_jax.models.residual import GROUP, deviation_over_groups
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.pretrained.stylegan2 import load
from tests.support import plain_stylegan2 as plain
from tests.support.drawn import drawn

CONFIG = StyleGAN2Config(resolution=16, latent=6, width=5 / 2048, mapping_layers=2, most=3000)
CHANNELS = {4: 7, 8: 7, 16: 5}
BATCH = 4


@pytest.fixture(scope="module")
def tensors():
    return plain.random_tensors(16, CHANNELS, latent=6, layers=2)


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory):
    """The same, imported."""
    path = tmp_path_factory.mktemp("stylegan2") / "weights.npz"
    np.savez(path, **tensors)
    return load(path)


@pytest.fixture(scope="module")
def latents():
    return np.random.default_rng(1).normal(size=(BATCH, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def made(weights, latents):
    """Styles, those of two latents for each image, and its image."""

    @jax.jit
    def make(params, z):
        w = stylegan2.styles(weights.config, params, z)
        both = [
            stylegan2.everywhere(weights.config, w),
            stylegan2.everywhere(weights.config, w[::-1]),
        ]
        mixed = stylegan2.mixed(*both, jnp.array([1, 3, 5, 6]))
        return w, mixed, stylegan2.synthesize(weights.config, params, mixed)

    return make(weights.params, latents)


def test_styles_are_those_of_plain_numpy(tensors, latents, made):
    np.testing.assert_allclose(made[0], plain.styles(tensors, latents), rtol=1e-4, atol=1e-5)


def test_images_are_those_of_plain_numpy(tensors, made):
    _, mixed, images = made
    for i in range(BATCH):
        expected = plain.synthesize(tensors, np.float64(mixed[i])).transpose(1, 2, 0)
        np.testing.assert_allclose(2 * images[i] - 1, expected, rtol=1e-3, atol=1e-3)


def test_verdicts_are_those_of_plain_numpy(tensors, weights):
    images = np.random.default_rng(2).random((BATCH, 16, 16, 3), np.float32)
    found = jax.jit(partial(residual.apply, weights.config))(weights.discriminator, images)
    expected = plain.judge(tensors, np.float64(2 * images - 1).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_styles_mix_from_a_layer_on(made):
    w, mixed, _ = made
    same = partial(np.testing.assert_allclose, rtol=1e-5)
    for i, begins in enumerate([1, 3, 5, 6]):
        same(mixed[i, :begins], np.tile(w[i], (begins, 1)))
        same(mixed[i, begins:], np.tile(w[-1 - i], (6 - begins, 1)))


def test_truncation_moves_styles_towards_their_mean():
    w = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    mean = np.arange(6, dtype=np.float32)
    np.testing.assert_allclose(stylegan2.truncated(w, mean, 1.0), w, atol=1e-6)
    np.testing.assert_allclose(stylegan2.truncated(w, mean, 0.0), np.tile(mean, (3, 1)))
    np.testing.assert_allclose(stylegan2.truncated(w, mean, 0.5), (w + mean) / 2, atol=1e-6)


def test_noise_is_drawn_or_that_of_the_parameters(weights, made):
    _, mixed, fixed = made
    make = jax.jit(partial(stylegan2.synthesize, weights.config))
    params = {name: weights.params[name] for name in ("mapping", "synthesis")}
    first, again, other = (make(params, mixed, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01 and np.abs(first - fixed).max() > 0.01
    # Each image has noise of its own.
    same = np.broadcast_to(mixed[:1], mixed.shape)
    images = make(params, same, jax.random.key(0))
    assert np.abs(images[0] - images[1]).max() > 0.01


def test_the_default_is_config_f():
    config = StyleGAN2Config()
    assert config.layers == 18 and StyleGAN2Config(resolution=64).layers == 10
    widths = {side: config.channels(side) for side in config.sides}
    assert widths == {4: 512, 8: 512, 16: 512, 32: 512, 64: 512} | {
        128: 256,
        256: 128,
        512: 64,
        1024: 32,
    }
    params = jax.eval_shape(partial(stylegan2.init, config), jax.random.key(0))
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(params[name])) for name in params}
    # As the source's code counts them, without noise
    assert sizes["mapping"] + sizes["synthesis"] == 30_370_060
    judge = jax.eval_shape(partial(residual.init, config), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(judge)) == 29_012_513
    # ADA's below 512 px: half of the width, but for the smallest sides
    half = StyleGAN2Config(resolution=256, width=0.5, most=1024)
    assert [half.channels(side) for side in (4, 32, 64, 128, 256)] == [512, 512, 256, 128, 64]


def test_fresh_images_are_of_a_usual_strength():
    config = StyleGAN2Config(resolution=32, latent=16, width=1 / 64, mapping_layers=2, most=2048)

    @jax.jit
    def make(key):
        params = stylegan2.init(config, key)
        w = stylegan2.styles(config, params, jax.random.normal(key, (8, 16)))
        return stylegan2.synthesize(config, params, stylegan2.everywhere(config, w), key), w

    images, w = make(jax.random.key(0))
    assert images.shape == (8, 32, 32, 3)
    assert 0.2 < images.std() < 3 and 0.3 < w.std() < 3


def test_every_weight_has_a_part_in_image_and_verdict(latents):
    params = drawn(partial(stylegan2.init, CONFIG), seed=0)
    judge = drawn(partial(residual.init, CONFIG), seed=1)

    def loss(params, judge):
        w = stylegan2.styles(CONFIG, params, latents)
        images = stylegan2.synthesize(CONFIG, params, stylegan2.everywhere(CONFIG, w))
        return residual.apply(CONFIG, judge, images).sum()

    gradients = jax.jit(jax.grad(loss, (0, 1)))(params, judge)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


def test_deviations_are_of_groups_of_neighbours():
    x = np.random.default_rng(0).normal(size=(2 * GROUP, 3, 3, 5)).astype(np.float32)
    found = deviation_over_groups(x)
    for i in range(2):
        group = x[GROUP * i : GROUP * (i + 1)]
        np.testing.assert_allclose(
            found[GROUP * i : GROUP * (i + 1)], group.std(0).mean(), rtol=1e-5
        )
    # Of one image there is none.
    assert deviation_over_groups(x[:1]).max() < 1e-3


def test_half_precision_makes_full_images_and_verdicts():
    config = StyleGAN2Config(16, 6, 5 / 2048, 2, 3000, jnp.bfloat16)
    params = jax.eval_shape(partial(stylegan2.init, config), jax.random.key(0))
    judge = jax.eval_shape(partial(residual.init, config), jax.random.key(0))
    w = jax.ShapeDtypeStruct((4, config.layers, 6), jnp.float32)
    images = jax.eval_shape(partial(stylegan2.synthesize, config), params, w)
    verdicts = jax.eval_shape(partial(residual.apply, config), judge, images)
    assert images.dtype == verdicts.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((params, judge))} == {jnp.dtype("float32")}
