"""The comb network against its source's numbers and its own invariants."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from faceswap_jax.models import comb
from faceswap_jax.models.autoencoder import grow, persona
from faceswap_jax.ops.resample import downsample, upsample
from tests.support.drawn import drawn

CHANNELS = comb.scaled(comb.CHANNELS, 1 / 64)


def config(level, **changes):
    return comb.CombConfig(
        **({"level": level, "personas": 3, "channels": CHANNELS, "latent": 16} | changes)
    )


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameter_counts_of_the_finished_network_are_the_sources():
    full = comb.CombConfig(level=8, personas=5, fading=False)
    params = jax.eval_shape(lambda key: comb.init(full, key), jax.random.key(0))
    assert count(params["encoder"]) == 23_072_016
    assert count(params["tied"]) + count(params["personas"]) // 5 == 23_071_507


def test_levels_below_two_are_tied_and_the_others_are_not():
    params = comb.init(config(3), jax.random.key(0))
    assert set(params["tied"]) == {"level_0", "level_1"}
    assert set(params["personas"]) == {"level_2", "level_3", "to_rgb_2", "to_rgb_3"}
    assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(params["personas"]))
    kernels = params["personas"]["level_2"]["conv_0"]["conv"]["kernel"]
    assert not np.allclose(kernels[0], kernels[1])


def test_a_mean_decoder_belongs_to_all_and_at_first_personas_differ_from_it_in_nothing():
    params = comb.init(config(3, mean_decoder=True), jax.random.key(0))
    assert set(params["mean"]) == set(params["personas"])
    assert not any(leaf.any() for leaf in jax.tree.leaves(params["personas"]))

    # A persona is decoded by the sum of both, as by weights of its own
    network = comb.Network(config(3, mean_decoder=True))
    plain = comb.Network(config(3))
    rng = np.random.default_rng(1)
    own = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape[1:])), params["personas"])
    z = np.float32(rng.normal(size=(2, 16)))
    shared, _ = network.split(params)
    together = jax.tree.map(np.add, params["mean"], own)
    of_sum, of_weights = jax.jit(network.decode), jax.jit(plain.decode)
    np.testing.assert_allclose(
        of_sum(shared, own, z, 1.0), of_weights(shared, together, z, 1.0), atol=1e-6
    )


def test_channels_are_the_given_ones_times_the_width():
    assert comb.scaled((96, 64, 16), 0.5) == (48, 32, 8)
    assert comb.scaled((96, 64, 16), 0.01) == (4, 4, 4)


@partial(jax.jit, static_argnums=0)
def run(c, params, x, alpha):
    z = comb.encode(c, params["encoder"], x, alpha)
    return comb.decode(c, params["tied"], persona(params["personas"], 1), z, alpha)


def weights(c, seed):
    return drawn(partial(comb.init, c), seed)


def test_growing_changes_nothing_at_alpha_zero_at_any_level():
    old, params = config(0), weights(config(0), 0)
    for level in range(1, comb.MAX_LEVEL + 1):
        new = config(level)
        x = jax.random.uniform(jax.random.key(2), (1, new.resolution, new.resolution, 3))
        grown = grow(params, weights(new, level))
        # Alpha of the old network is 1: its own fade-in is over.
        before = upsample(run(old, params, downsample(x), 1.0))
        np.testing.assert_allclose(
            run(new, grown, x, 0.0), before, atol=1e-6, err_msg=f"level {level}"
        )
        assert np.abs(run(new, grown, x, 1.0) - before).max() > 1e-3
        old, params = new, grown


# XLA's CPU backend merges what is computed twice with what was to be forgotten, unless told to leave out this pass.
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}


def test_blocks_computed_twice_give_the_same_gradients_with_less_memory():
    params = weights(config(4), 0)
    x = jax.random.uniform(jax.random.key(2), (2, 64, 64, 3))

    def gradients(remat):
        gradient = jax.jit(
            jax.grad(
                lambda params: jnp.mean((run(config(4, remat=remat), params, x, 0.5) - x) ** 2)
            )
        )
        compiled = gradient.lower(params).compile(KEEP_BARRIERS)
        return compiled(params), compiled.memory_analysis().temp_size_in_bytes

    (kept, much), (again, little) = gradients("none"), gradients("blocks")
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-8), again, kept)
    # Patches of the images' gradients take a part of it that wider networks do not notice.
    assert little < 0.8 * much


def test_growing_keeps_learned_weights_and_drops_rgb_layers_no_longer_used():
    params = weights(config(2), 1)
    grown = grow(params, weights(config(3), 3))
    assert "from_rgb_1" in params["encoder"] and "from_rgb_1" not in grown["encoder"]
    np.testing.assert_array_equal(
        grown["encoder"]["level_2"]["conv_0"]["conv"]["kernel"],
        params["encoder"]["level_2"]["conv_0"]["conv"]["kernel"],
    )
    np.testing.assert_array_equal(
        grown["personas"]["to_rgb_2"]["kernel"], params["personas"]["to_rgb_2"]["kernel"]
    )


def test_without_fading_the_network_is_the_faded_one_at_alpha_one():
    params = weights(config(3), 0)
    x = jax.random.uniform(jax.random.key(2), (2, 32, 32, 3))
    np.testing.assert_allclose(
        run(config(3, fading=False), params, x, 1.0), run(config(3), params, x, 1.0), atol=1e-6
    )


def test_shapes_ranges_and_types():
    c = config(2, dtype=jnp.bfloat16)
    params = weights(c, 0)
    x = jax.random.uniform(jax.random.key(2), (2, 16, 16, 3))
    z = jax.jit(partial(comb.encode, c))(params["encoder"], x)
    y = run(c, params, x, 0.5)
    assert z.shape == (2, 16) and z.dtype == jnp.float32
    assert y.shape == (2, 16, 16, 3) and y.dtype == jnp.float32
    assert y.min() > 0 and y.max() < 1
    fresh = jax.eval_shape(partial(comb.init, c), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}


TPU = jax.sharding.AbstractDevice("TPU v5 lite", 1, "tpu")


def test_the_network_for_tpus_folds_large_images_and_is_the_same():
    """Traced for a TPU, run here: its two largest levels have folded squares, one of them as the images come in."""
    c = config(5, channels=(8, 8, 8, 8, 6, 4))
    params = drawn(partial(comb.init, c), 0)
    own = persona(params["personas"], 1)
    x = jax.random.uniform(jax.random.key(1), (2, 128, 128, 3))

    def images(params, own, x):
        z = comb.encode(c, params["encoder"], x, 0.3)
        return comb.decode(c, params["tied"], own, z, 0.3)

    def gradient(params, own, x):
        return jax.grad(lambda *weights: (images(*weights, x) ** 2).mean(), (0, 1))(params, own)

    mesh = jax.sharding.AbstractMesh((1,), ("data",), abstract_device=TPU)
    for function in (images, gradient):
        with jax.sharding.use_abstract_mesh(mesh):
            traced = jax.make_jaxpr(function)(params, own, x)
        assert "[2,64,64,16]" in str(traced) and "[2,32,32,24]" in str(traced)
        found = jax.jit(jaxpr_as_fun(traced))(*jax.tree.leaves((params, own, x)))
        expected = jax.tree.leaves(jax.jit(function)(params, own, x))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())
