"""X2Face's networks: the released layout, how they begin, several sources, the driving vector, statistics."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.models import x2face
from faceswap_jax.ops.sampling import sample

CONFIG = x2face.X2FaceConfig(channels=(4, 6, 8), inner=8, vector=5)
SIDE = 16
NETWORKS = ("embedding", "driving")


init = jax.jit(partial(x2face.init, CONFIG))
reenact = jax.jit(partial(x2face.reenact, CONFIG))


@pytest.fixture(scope="module")
def weights():
    """Parameters that move pixels, and statistics."""
    params, statistics = init(jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), 2))
    for network in NETWORKS:
        last = params[network]["up"]["conv_3"]
        last["kernel"] = 0.05 * jax.random.normal(next(keys), last["kernel"].shape)
    return params, statistics


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 4, SIDE, SIDE, 3), np.float32)


@pytest.fixture(scope="module")
def trained(weights, images):
    return jax.jit(partial(x2face.reenact, CONFIG, train=True))(
        *weights, images[:, :2], images[:, 2:]
    )


def test_the_default_is_the_released_layout():
    config = x2face.X2FaceConfig()
    assert config.resolution == 256 and x2face.channels_of(256, 1.0) == config.channels
    params, _ = jax.eval_shape(partial(x2face.init, config), jax.random.key(0))
    for network, inner, out in (("embedding", 512, 3), ("driving", 128, 2)):
        down, up = params[network]["down"], params[network]["up"]
        shapes = [down[f"conv_{i}"]["kernel"].shape for i in range(8)]
        assert [shape[:2] for shape in shapes] == [(4, 4)] * 8
        assert [shape[3] for shape in shapes] == [64, 128, 256, 512, 512, 512, 512, inner]
        assert {name for name in down if "norm" in name} == {f"norm_{i}" for i in range(1, 7)}
        assert all("bias" not in down[f"conv_{i}"] for i in range(8))
        shapes = [up[f"conv_{i}"]["kernel"].shape for i in range(8)]
        assert [shape[:2] for shape in shapes] == [(3, 3)] * 8
        assert [shape[3] for shape in shapes] == [512, 512, 512, 512, 256, 128, 64, out]
        assert {name for name in up if "norm" in name} == {f"norm_{i}" for i in range(7)}
    # Skips double what comes in.
    assert params["embedding"]["up"]["conv_7"]["kernel"].shape[2] == 128
    assert params["driving"]["up"]["conv_7"]["kernel"].shape[2] == 64


def test_smaller_images_are_halved_less_often():
    assert x2face.channels_of(64, 0.5) == (32, 64, 128, 256, 256)
    assert x2face.X2FaceConfig(channels=x2face.channels_of(64, 0.5)).resolution == 64


def test_an_untrained_network_shows_the_source_as_it_is(images):
    shown = images[:, :1].repeat(2, 1)
    made = reenact(*init(jax.random.key(0)), shown, images[:, 2:])
    np.testing.assert_allclose(made.images, shown, atol=1e-5)
    np.testing.assert_allclose(made.embedded, shown[:, 0], atol=1e-5)


def test_sources_count_by_their_confidence(weights, images):
    faces, counts, _ = jax.jit(partial(x2face.embed_each, CONFIG))(*weights, images[0])
    assert counts.min() >= np.exp(-1) + 0.1 and counts.max() <= np.exp(1) + 0.1
    assert np.ptp(counts) > 0.01
    together = x2face.merged(faces[None], counts[None])[0]
    np.testing.assert_allclose(together, np.average(faces, 0, np.tile(counts, 3)), atol=1e-6)
    alone = x2face.merged(faces[None, :1], counts[None, :1])[0]
    np.testing.assert_allclose(alone, faces[0], atol=1e-6)


def test_all_that_reaches_the_result_of_the_driving_image_is_its_vector(weights, images):
    made = reenact(*weights, images[:, :2], images[:, 2:])
    vectors, _ = jax.jit(partial(x2face.encode, CONFIG))(*weights, images[:, 3])
    assert vectors.shape == (2, 5)
    places, _ = jax.jit(partial(x2face.drive, CONFIG))(*weights, vectors)
    np.testing.assert_allclose(sample(made.embedded, places), made.images[:, 1], atol=1e-5)
    assert jnp.abs(made.images[:, 1] - made.embedded).max() > 1e-3


def test_training_moves_every_statistic_towards_those_of_the_batch(weights, trained):
    for network in NETWORKS:
        before = jax.tree.leaves(weights[1][network])
        after = jax.tree.leaves(trained.statistics[network])
        assert len(before) == len(after) == 2 * (2 + 3)  # means and variances
        assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_every_weight_has_a_part_in_the_result(weights, images):
    def loss(params):
        made = x2face.reenact(CONFIG, params, weights[1], images[:, :2], images[:, 2:], train=True)
        return (made.images**2).sum()

    gradients = jax.jit(jax.grad(loss))(weights[0])
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


def test_half_precision_computes_in_half_and_samples_in_full(weights, images):
    config = x2face.X2FaceConfig(CONFIG.channels, CONFIG.inner, CONFIG.vector, jnp.bfloat16)
    made = jax.eval_shape(
        partial(x2face.reenact, config, train=True), *weights, images[:, :1], images[:, 1:]
    )
    assert made.images.dtype == made.embedded.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(made.statistics)} == {jnp.dtype("float32")}
