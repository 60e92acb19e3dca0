"""Tests of the random light and colour."""

import colorsys
import re
from types import SimpleNamespace

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from faceswap_jax.ops.augmentation import photometric
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh

NONE = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
ALL = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.4, "hue": 0.1}


def strengths(**changes) -> SimpleNamespace:
    return SimpleNamespace(**NONE | changes)


def noise(*shape: int):
    return jax.random.uniform(jax.random.key(7), (*shape, 3), minval=0.3, maxval=0.7)


def test_zero_changes_nothing_and_leaves_no_trace_in_the_program():
    pictures = noise(2, 3, 8, 8)
    assert photometric(jax.random.key(0), pictures, strengths()) is pictures

    def program(function):
        return jax.jit(function).lower(jax.random.key(0), pictures).compile().as_text()

    def without(key, pictures):
        return 2 * pictures

    def with_zero(key, pictures):
        return 2 * photometric(jax.random.fold_in(key, 3), pictures, strengths())

    plain, augmented = (
        re.findall(r" = \S+ ([\w-]+)\(", program(function)) for function in (without, with_zero)
    )
    assert plain == augmented and "multiply" in plain


@pytest.mark.parametrize("name", NONE)
def test_each_property_changes_by_up_to_its_strength(name):
    """Measured on a constant colour: value, distance from the mean, saturation, hue."""
    colour = np.array([0.6, 0.45, 0.3])
    pictures = jnp.broadcast_to(jnp.float32(colour), (400, 4, 4, 3))
    if name == "contrast":
        pictures = pictures.at[:, :2].add(0.1).at[:, 2:].add(-0.1)
    changed = np.asarray(photometric(jax.random.key(1), pictures, strengths(**{name: 0.15})))
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in changed[:, 0, 0].astype(float)])
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    amount = {
        "brightness": changed[:, 0, 0, 1] - colour[1],
        "contrast": np.ptp(changed, axis=1)[:, 0, 0] / 0.2 - 1,
        "saturation": hsv[:, 1] / saturation - 1,
        "hue": (hsv[:, 0] - hue + 0.5) % 1 - 0.5,
    }[name]
    assert (
        -0.1501 < amount.min() < -0.14
        and 0.14 < amount.max() < 0.1501
        and abs(amount.mean()) < 0.02
    )
    if name in ("saturation", "hue"):
        np.testing.assert_allclose(hsv[:, 2], value, atol=1e-5)


def test_pictures_stay_pictures_and_the_key_decides():
    pictures = jnp.concatenate([noise(4, 8, 8), jnp.zeros((1, 8, 8, 3)), jnp.ones((1, 8, 8, 3))])
    first, again, other = (
        photometric(jax.random.key(k), pictures, SimpleNamespace(**ALL)) for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert first.shape == pictures.shape and float(first.min()) >= 0 and float(first.max()) <= 1


@pytest.mark.parametrize(
    "colour",
    [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (1, 1, 0), (0, 1, 1), (0.2, 0.2, 0.7)],
)
def test_grey_and_saturated_pictures_have_finite_values_and_gradients(colour):
    pictures = jnp.broadcast_to(jnp.float32(colour), (2, 4, 4, 3))

    def loss(pictures):
        return jnp.square(photometric(jax.random.key(0), pictures, SimpleNamespace(**ALL))).sum()

    value, gradient = jax.value_and_grad(loss)(pictures)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if len(set(colour)) == 1:  # grey has no hue to turn
        turned = photometric(jax.random.key(0), pictures, strengths(hue=0.4, saturation=0.9))
        np.testing.assert_allclose(turned, pictures, atol=1e-6)


def test_every_picture_has_an_amount_of_its_own_and_none_mixes_with_another():
    pictures = noise(2, 3, 8, 8)
    changed = photometric(jax.random.key(3), pictures, strengths(brightness=0.2))
    amounts = (changed - pictures).mean((2, 3, 4))
    assert len(np.unique(np.round(amounts, 5))) == 6
    other = photometric(jax.random.key(3), pictures.at[0, 0].set(0.9), SimpleNamespace(**ALL))
    whole = photometric(jax.random.key(3), pictures, SimpleNamespace(**ALL))
    np.testing.assert_array_equal(other.reshape(6, -1)[1:], whole.reshape(6, -1)[1:])


def test_amounts_are_those_of_dm_pix():
    picture = noise(1, 8, 8)
    for name, adjust in (("saturation", dm_pix.adjust_saturation), ("hue", dm_pix.adjust_hue)):
        key = jax.random.split(jax.random.key(5), 4)[list(NONE).index(name)]
        amount = jax.random.uniform(key, (1,), minval=-0.2, maxval=0.2)[0]
        expected = adjust(picture[0], 1 + amount if name == "saturation" else amount)
        changed = photometric(jax.random.key(5), picture, strengths(**{name: 0.2}))
        np.testing.assert_allclose(changed[0], expected, atol=1e-6)


def test_sharded_pictures_stay_sharded_and_get_the_same_amounts():
    mesh, pictures = make_mesh(2), noise(4, 8, 8, 8)
    single = photometric(jax.random.key(2), pictures, SimpleNamespace(**ALL))
    sharding = NamedSharding(mesh, rules.BATCH)
    with jax.set_mesh(mesh):
        arguments = jax.random.key(2), jax.device_put(pictures, sharding)
        function = jax.jit(lambda key, pictures: photometric(key, pictures, SimpleNamespace(**ALL)))
        program = function.lower(*arguments).compile()
        sharded = program(*arguments)
    assert sharded.sharding.is_equivalent_to(sharding, sharded.ndim)
    np.testing.assert_allclose(sharded, single, atol=1e-6)
    assert not re.findall(
        r"(all-gather|all-to-all|all-reduce|collective-permute)(?:-start)?\(", program.as_text()
    )
