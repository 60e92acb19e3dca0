"""The embedding network: its size, its statistics, what it is sensitive to. test_insightface.py has its numbers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.models import iresnet

CONFIG = iresnet.IResNetConfig((2, 1), (6, 8), stem=4, embedding=5, side=8)


@pytest.fixture(scope="module")
def network():
    return jax.jit(iresnet.init, static_argnums=0)(CONFIG, jax.random.key(0))


@pytest.fixture(scope="module")
def pictures():
    return jax.random.uniform(jax.random.key(1), (4, 8, 8, 3))


use = jax.jit(iresnet.apply, static_argnums=(0, 4))


@pytest.mark.parametrize(
    "name, millions", [("iresnet18", 24.03), ("iresnet50", 43.59), ("iresnet100", 65.16)]
)
def test_the_published_networks_have_their_size(name, millions):
    config = iresnet.IResNetConfig(iresnet.BLOCKS[name])
    params, _ = jax.eval_shape(lambda key: iresnet.init(config, key), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6 == pytest.approx(
        millions, abs=0.005
    )


def test_shapes_and_types(network, pictures):
    for dtype in (jnp.float32, jnp.bfloat16):
        embeddings, statistics = use(replace(CONFIG, dtype=dtype), *network, pictures, True)
        assert embeddings.shape == (4, 5) and embeddings.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves((network, statistics))} == {
            jnp.dtype("float32")
        }
    assert set(network[0]["block_0_0"]) - set(network[0]["block_0_1"]) == {
        "shortcut",
        "shortcut_norm",
    }
    assert jax.tree.structure(statistics) == jax.tree.structure(network[1])


def test_in_use_every_picture_stands_alone(network, pictures):
    params, statistics = network
    whole, unchanged = use(CONFIG, params, statistics, pictures)
    alone, _ = use(CONFIG, params, statistics, pictures[2:3])
    np.testing.assert_allclose(alone[0], whole[2], rtol=1e-4, atol=1e-6)
    for before, after in zip(*map(jax.tree.leaves, (statistics, unchanged)), strict=True):
        np.testing.assert_array_equal(before, after)
    together, _ = use(CONFIG, params, statistics, pictures, True)
    two, _ = use(CONFIG, params, statistics, pictures[1:3], True)
    assert np.abs(together[2] - two[1]).max() > 0.1


def test_running_statistics_move_a_tenth_of_the_way(network, pictures):
    params, statistics = network
    statistics = jax.tree.map(lambda s: s + 1.0, statistics)
    _, moved = use(CONFIG, params, statistics, pictures, True)
    # The stem by hand: every pixel's neighbourhood, beyond the border zeros, times the kernel.
    padded = np.pad(2 * np.asarray(pictures) - 1, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = np.stack([padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)], -2)
    stem = np.einsum(
        "bhwkc,kco->bhwo", patches, np.asarray(params["stem"]["kernel"]).reshape(9, 3, 4)
    )
    np.testing.assert_allclose(
        moved["stem_norm"]["mean"], 0.9 * 1.0 + 0.1 * stem.mean((0, 1, 2)), rtol=1e-4
    )
    np.testing.assert_allclose(
        moved["stem_norm"]["var"], 0.9 * 2.0 + 0.1 * stem.var((0, 1, 2)), rtol=1e-4
    )
    assert all(
        (a != b).all() for a, b in zip(*map(jax.tree.leaves, (statistics, moved)), strict=True)
    )


def test_the_statistics_of_a_batch_seen_often_are_those_it_is_trained_with(network, pictures):
    params, statistics = network
    for _ in range(150):
        trained, statistics = use(CONFIG, params, statistics, pictures, True)
    np.testing.assert_allclose(
        use(CONFIG, params, statistics, pictures)[0], trained, rtol=1e-3, atol=1e-4
    )


def test_gradients_reach_every_pixel_and_every_weight(network, pictures):
    params, statistics = network

    def loss(x, params):
        return jnp.sin(3 * iresnet.apply(CONFIG, params, statistics, x)[0]).sum()

    for gradient in jax.jit(jax.grad(loss, (0, 1)))(pictures, params):
        assert all(
            jnp.isfinite(g).all() and (g != 0).mean() > 0.95 for g in jax.tree.leaves(gradient)
        )


def test_slopes_are_per_channel():
    x = jnp.float32([[[[-2.0, -2.0, 3.0]]]])
    slopes = {"params": {"slope": jnp.float32([0.1, -0.5, 7.0])}}
    np.testing.assert_allclose(iresnet.PReLU().apply(slopes, x)[0, 0, 0], [-0.2, 1.0, 3.0])


def test_features_of_all_stages_lead_to_the_embedding(network, pictures):
    params, statistics = network
    found = iresnet.features(CONFIG, params, statistics, pictures)
    assert [x.shape for x in found] == [(4, 4, 4, 6), (4, 2, 2, 8)]

    # What comes behind the last stage, written out
    x = found[-1]
    for name in ("norm", "embed", "embed_norm"):
        weights = params[name]
        if name == "embed":
            x = x.transpose(0, 3, 1, 2).reshape(4, -1) @ weights["kernel"] + weights["bias"]
            continue
        seen = statistics[name]
        x = (x - seen["mean"]) / np.sqrt(seen["var"] + iresnet.EPSILON)
        x = x * weights.get("scale", 1.0) + weights["bias"]
    expected, _ = use(CONFIG, params, statistics, pictures)
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)
