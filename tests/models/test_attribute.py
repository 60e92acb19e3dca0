"""The networks of MC-AAD: public code's shapes, a layer against plain NumPy, masks, any number of features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.models import attribute
from faceswap_jax.models.attribute import AttributeConfig, Denormalisation
from tests.support.drawn import drawn

CONFIG = AttributeConfig(features=(5, 3), resolution=16, levels=4, width=1 / 8)
BATCH = 2


def shapes(config: AttributeConfig):
    """Of parameters, maps, and what is generated, of one image."""
    images = jax.ShapeDtypeStruct((1, config.resolution, config.resolution, 3), jnp.float32)
    features = [jax.ShapeDtypeStruct((1, length), jnp.float32) for length in config.features]
    params = jax.eval_shape(partial(attribute.init, config), jax.random.key(0))
    maps = jax.eval_shape(partial(attribute.encode, config), params, images)
    made = jax.eval_shape(partial(attribute.generate, config), params, maps, features)
    return params, maps, made


def inputs(config: AttributeConfig):
    """Weights, images and features."""
    rng = np.random.default_rng(1)
    params = drawn(partial(attribute.init, config), seed=0)
    images = rng.random((BATCH, config.resolution, config.resolution, 3), np.float32)
    features = [rng.normal(size=(BATCH, d)).astype(np.float32) for d in config.features]
    return params, images, features


def make(config: AttributeConfig, params, images, features) -> attribute.Generated:
    """Images with their own attributes and with these features."""
    return attribute.generate(config, params, attribute.encode(config, params, images), features)


@pytest.fixture(scope="module")
def made():
    return jax.jit(partial(make, CONFIG))(*inputs(CONFIG))


def test_the_default_is_public_code_at_256_px():
    params, maps, made = shapes(AttributeConfig())
    assert [m.shape[1:] for m in maps] == [
        (2, 2, 1024),
        (4, 4, 2048),
        (8, 8, 1024),
        (16, 16, 512),
        (32, 32, 256),
        (64, 64, 128),
        (128, 128, 64),
        (256, 256, 64),
    ]
    encoder, generator = params["encoder"], params["generator"]
    down = [encoder[f"down_{i}"]["kernel"].shape for i in range(7)]
    assert [shape[3] for shape in down] == [32, 64, 128, 256, 512, 1024, 1024]
    assert {shape[:2] for shape in down} == {(4, 4)}
    blocks = [generator[f"block_{k}"]["conv_1"]["kernel"].shape for k in range(8)]
    assert [shape[2] for shape in blocks] == [1024, 1024, 1024, 1024, 512, 256, 128, 64]
    assert [shape[3] for shape in blocks] == [1024, 1024, 1024, 512, 256, 128, 64, 3]
    assert {k for k in range(8) if "bypass" in generator[f"block_{k}"]} == {3, 4, 5, 6, 7}
    assert made.images.shape == (1, 256, 256, 3)


def test_width_levels_and_resolution_scale_all():
    params, maps, made = shapes(AttributeConfig((128,), resolution=64, levels=6, width=1 / 4))
    assert [m.shape[1:] for m in maps] == [
        (2, 2, 128),
        (4, 4, 128),
        (8, 8, 64),
        (16, 16, 32),
        (32, 32, 16),
        (64, 64, 16),
    ]
    kernels = [params["generator"][f"block_{k}"]["conv_0"]["kernel"].shape[2] for k in range(6)]
    assert kernels == [256, 256, 128, 64, 32, 16]
    assert made.images.shape == (1, 64, 64, 3)

    # Fewer levels begin at a larger side.
    _, maps, made = shapes(AttributeConfig((128,), resolution=64, levels=4, width=1 / 4))
    assert [m.shape[1] for m in maps] == [8, 16, 32, 64] and made.images.shape == (1, 64, 64, 3)


@pytest.mark.parametrize(("count", "kind"), [(1, "each"), (2, "each"), (3, "each"), (2, "one")])
def test_a_layer_is_what_the_equations_say(count, kind):
    rng = np.random.default_rng(count)
    h = rng.normal(2, 3, (2, 4, 4, 6))
    given = rng.normal(size=(2, 4, 4, 5))
    features = [rng.normal(size=(2, 3 + i)) for i in range(count)]
    layer = Denormalisation(kind, jnp.float32)
    params = drawn(lambda key: layer.init(key, h, given, features)["params"], seed=count)
    out, masks = layer.apply({"params": params}, h, given, features)

    def dense(name, x):
        return x @ np.float64(params[name]["kernel"]) + np.float64(params[name]["bias"])

    normalised = (h - h.mean((1, 2), keepdims=True)) / h.std((1, 2), keepdims=True)
    told = [dense("attributes", given)]
    told += [dense(f"feature_{i}", z)[:, None, None] for i, z in enumerate(features)]
    wanted = [(1 + t[..., :6]) * normalised + t[..., 6:] for t in told]
    logits = dense("masks", normalised)
    if count == 1 or kind == "one":
        first = 1 / (1 + np.exp(-logits))
        expected = np.concatenate([first, *[(1 - first) / count] * count], -1)
    else:
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(masks, expected, atol=1e-4)
    summed = sum(expected[..., i : i + 1] * e for i, e in enumerate(wanted))
    np.testing.assert_allclose(out, summed, atol=1e-3)


def test_where_the_mask_is_a_features_own_it_is_denormalised_by_that_alone():
    """Instance normalisation with the feature's scale and shift, as AdaIN has it."""
    rng = np.random.default_rng(0)
    h, given = rng.normal(2, 3, (2, 4, 4, 6)), rng.normal(size=(2, 4, 4, 5))
    z = rng.normal(size=(2, 3))
    layer = Denormalisation("each", jnp.float32)
    params = drawn(lambda key: layer.init(key, h, given, [z])["params"], seed=0)
    params["masks"]["bias"] = np.float32([-100])
    out, masks = layer.apply({"params": params}, h, given, [z])
    assert np.all(masks[..., 1] == 1)

    told = z @ params["feature_0"]["kernel"] + params["feature_0"]["bias"]
    np.testing.assert_allclose(out.mean((1, 2)), told[:, 6:], atol=1e-4)
    np.testing.assert_allclose(out.std((1, 2)), np.abs(1 + told[:, :6]), rtol=1e-3, atol=1e-4)


def test_masks_sum_to_one_at_every_pixel_of_every_level(made):
    assert [m.shape for m in made.masks] == [(BATCH, s, s, 3) for s in (2, 4, 8, 16)]
    for masks in made.masks:
        assert masks.min() > 0 and np.ptp(masks) > 0.01
        np.testing.assert_allclose(masks.sum(-1), 1, atol=1e-6)


def test_images_are_in_0_to_1_and_depend_on_every_role(made):
    params, images, features = inputs(CONFIG)
    assert made.images.min() >= 0 and made.images.max() <= 1 and np.ptp(made.images) > 0.1
    run = jax.jit(partial(make, CONFIG))
    for changed in ((1 - images, features), (images, [features[0], 1 - features[1]])):
        other = run(params, *changed)
        assert np.abs(other.images - made.images).max() > 1e-2


def test_fresh_networks_make_pale_images_and_their_own_attributes_have_slopes():
    """Strong ones have none behind tanh, and those of images of one colour are infinite."""
    config = AttributeConfig((5,), resolution=64, levels=6, width=1 / 16)
    params = jax.jit(partial(attribute.init, config))(jax.random.key(0))
    _, images, features = inputs(config)

    def loss(params):
        made = make(config, params, images, features).images
        seen = attribute.encode(config, params, made)
        return sum((level**2).mean() for level in seen), made

    gradients, made = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert 0.01 < made.std() < 0.15
    largest = max(np.abs(g).max() for g in jax.tree.leaves(gradients))
    assert 1e-3 < largest < 1e3


def test_every_weight_has_a_part_in_the_result():
    params, images, features = inputs(CONFIG)

    def loss(params):
        return (make(CONFIG, params, images, features).images ** 2).sum()

    gradients = jax.jit(jax.grad(loss))(params)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


def test_half_precision_makes_full_images_and_masks():
    config = AttributeConfig((5,), resolution=16, levels=4, width=1 / 8, dtype=jnp.bfloat16)
    params, maps, made = shapes(config)
    assert {m.dtype for m in maps} == {jnp.dtype("bfloat16")}
    assert made.images.dtype == made.masks[0].dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
