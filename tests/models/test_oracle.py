"""The oracle's network: what it sees, its size, what it can tell."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.models import oracle
from faceswap_jax.ops.masks import GREY, masked

CONFIG = oracle.OracleConfig(outputs=5, side=16, stem=4, levels=(4, 8), squeeze=2)


def test_shapes_and_size():
    params = oracle.init(CONFIG, jax.random.key(0))
    values = oracle.apply(CONFIG, params, jnp.zeros((3, 16, 16, 3)))
    assert values.shape == (3, 5) and values.dtype == jnp.float32
    assert set(params) == {"stem", "level_0", "level_1", "squeeze", "values"}


def test_the_default_has_two_fifths_of_a_million_weights():
    """Counted by hand: each level's three convolutions, whatever lies around them, and the flat layer."""
    params = jax.eval_shape(lambda: oracle.init(oracle.OracleConfig(outputs=40), jax.random.key(0)))
    weights = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    level_0, level_1 = 9 * (32 + 2 * 64) * 64 + 3 * 64, 9 * (64 + 2 * 96) * 96 + 3 * 96
    assert weights == (9 * 12 + 1) * 32 + level_0 + level_1 + (96 + 1) * 32 + (8 * 8 * 32 + 1) * 40
    assert abs(weights - 0.40e6) < 0.01e6


def test_a_fresh_network_tells_the_middle_of_everything():
    x = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    assert (oracle.apply(CONFIG, oracle.init(CONFIG, jax.random.key(0)), x) == 0.5).all()


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
    params, noise = (
        oracle.init(CONFIG, jax.random.key(0)),
        np.random.default_rng(0),
    )  # whose last layer is zero
    params = jax.tree.map(
        lambda w: w + 0.1 * noise.standard_normal(w.shape).astype(np.float32), params
    )
    x = jnp.full((1, 16, 16, 3), GREY).at[:, 4:6, 4:6].set(1.0)
    one, other = (oracle.apply(CONFIG, params, jnp.roll(x, shift, 2)) for shift in (0, 4))
    assert jnp.abs(one - other).max() > 1e-3
