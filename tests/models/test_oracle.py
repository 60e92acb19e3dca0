"""The oracle's network: what it sees, its size, what it can tell."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.models import oracle
from faceswap_jax.ops.masks import GREY, masked

CONFIG = oracle.OracleConfig(
    outputs=5,
    side=16,
    detail_side=16,
    stem=4,
    levels=(4, 8),
    detail_stem=4,
    detail_levels=(6,),
    squeeze=2,
    hidden=12,
)
GREY_DETAILS = jnp.full((1, 3, 16, 16, 3), GREY)


init = jax.jit(partial(oracle.init, CONFIG))
apply = jax.jit(partial(oracle.apply, CONFIG))


def noisy():
    """Weights that tell something: the last layer of a fresh network is zero."""
    noise = np.random.default_rng(0)
    return jax.tree.map(
        lambda w: w + 0.1 * noise.standard_normal(w.shape).astype(np.float32),
        init(jax.random.key(0)),
    )


def test_shapes_and_size():
    params = init(jax.random.key(0))
    values = apply(params, jnp.zeros((3, 16, 16, 3)), jnp.zeros((3, 3, 16, 16, 3)))
    assert values.shape == (3, 5) and values.dtype == jnp.float32
    assert set(params) == {"face", "eye", "mouth", "hidden", "values"}
    assert set(params["face"]) == {"stem", "level_0", "level_1", "squeeze"}
    assert set(params["eye"]) == set(params["mouth"]) == {"stem", "level_0", "squeeze"}


def test_the_default_has_four_fifths_of_a_million_weights():
    """Counted by hand: of each tower the levels' three convolutions and whatever lies around them; the flat layers."""
    params = jax.eval_shape(lambda: oracle.init(oracle.OracleConfig(outputs=40), jax.random.key(0)))
    weights = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))

    def tower(stem, one, two):
        level_0, level_1 = 9 * (stem + 2 * one) * one + 3 * one, 9 * (one + 2 * two) * two + 3 * two
        return (9 * 12 + 1) * stem + level_0 + level_1 + (two + 1) * 16

    flat = (8 * 8 + 3 * 6 * 6) * 16
    towers = tower(32, 48, 80) + 2 * tower(24, 48, 64)
    assert weights == towers + (flat + 1) * 96 + (96 + 1) * 40
    assert abs(weights - 0.79e6) < 0.01e6


def test_a_fresh_network_tells_the_middle_of_everything():
    x = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    details = jax.random.uniform(jax.random.key(1), (2, 3, 16, 16, 3))
    params = init(jax.random.key(0))
    assert (apply(params, x, details) == 0.5).all()


def test_every_look_counts():
    params = noisy()
    face = jnp.full((1, 16, 16, 3), GREY)
    plain = apply(params, face, GREY_DETAILS)
    told = [apply(params, face.at[:, 4:6, 4:6].set(1.0), GREY_DETAILS)]
    for look in range(3):
        shown = GREY_DETAILS.at[:, look, 4:6, 4:6].set(1.0)
        told.append(apply(params, face, shown))
    for number, values in enumerate(told):
        # Each otherwise than any other: the two eyes share weights, but not their place.
        for other in (plain, *told[:number]):
            assert jnp.abs(values - other).max() > 1e-3


def test_what_the_mask_hides_has_no_influence():
    x = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    mask = jnp.zeros((2, 16, 16)).at[:, 4:12, 4:12].set(1.0)
    other = x.at[:, :4].set(jax.random.uniform(jax.random.key(1), (2, 4, 16, 3)))
    np.testing.assert_array_equal(masked(x, mask), masked(other, mask))
    np.testing.assert_array_equal(masked(x, mask)[:, 4:12, 4:12], x[:, 4:12, 4:12])
    assert (masked(x, mask)[:, :4] == GREY).all()
    np.testing.assert_array_equal(masked(x, jnp.ones_like(mask)), x)


def test_it_tells_where_things_are():
    """Which an average over positions could not: the same picture, shifted, is told apart."""
    params = noisy()
    x = jnp.full((1, 16, 16, 3), GREY).at[:, 4:6, 4:6].set(1.0)
    one, other = (apply(params, jnp.roll(x, shift, 2), GREY_DETAILS) for shift in (0, 4))
    assert jnp.abs(one - other).max() > 1e-3
