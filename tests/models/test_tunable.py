"""The tunable decoder: whom it shows is coefficients alone, which mix; and it grows as the comb's decoder does."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from experiments import comb as comb_experiment
from experiments import tunable as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.models import comb, tunable
from faceswap_jax.models.autoencoder import grow, persona
from faceswap_jax.ops.resample import upsample
from tests.support.drawn import drawn

# "code" has the convolutions of the first and the dense layers of the second.
KINDS = ("persona", "weights")
SIZES = {"model.width": 1 / 64, "model.latent": 8, "model.parts": (), "model.code": 5}
SIZES |= {"level_steps": (1,) * 9}


def network(kind, level=3, personas=3, sizes=SIZES, **changes):
    c = experiment.get_config()
    c.update_from_flattened_dict(sizes | {f"model.{name}": v for name, v in changes.items()})
    c.model.tuning = kind
    return tunable.Network.build(c, level, personas, jnp.float32)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(net):
    return jax.eval_shape(net.init, jax.random.key(0))


@cache
def trained(kind, level=3):
    """A network, and weights with personas that differ."""
    net = network(kind, level)
    params = net.init(jax.random.key(level))
    keys = iter(jax.random.split(jax.random.key(9), 200))

    def vary(leaf):
        return leaf + 0.3 * jax.random.normal(next(keys), leaf.shape)

    return net, params | {"personas": jax.tree.map(vary, params["personas"])}


def latents(*shape):
    return jax.random.normal(jax.random.key(5), (*shape, 8))


@partial(jax.jit, static_argnums=0)
def decode(net, shared, own, z, alpha=1.0):
    return net.decode(shared, own, z, alpha)


@partial(jax.jit, static_argnums=0)
def decode_each(net, params, z, alpha=1.0):
    shared, own = net.split(params)
    return net.decode_each(shared, own, z, alpha)


@pytest.mark.parametrize("upsampled", [False, True])
def test_a_tuned_convolution_is_convolution_normalisation_scale_shift_and_leaky_relu(upsampled):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 4, 4, 3)).astype(np.float32)
    scale, shift = rng.normal(size=(2, 3, 5)).astype(np.float32)
    conv = tunable.TunedConv(5, 3, jnp.float32, upsampled=upsampled)
    params = conv.init(jax.random.key(1), x)["params"]
    found = conv.apply({"params": params, "tuning": {"scale": scale, "shift": shift}}, x)

    kernel = np.float64(params["conv"]["kernel"])
    for number, image in enumerate(x):
        if upsampled:
            image = np.kron(image, np.ones((2, 2, 1)))
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        for channel in range(5):
            y = correlate(padded, kernel[..., channel], "valid")[..., 0]
            y = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
            # Personas take turns in a batch.
            y = scale[number % 3, channel] * y + shift[number % 3, channel]
            y = np.where(y < 0, 0.2 * y, y)
            np.testing.assert_allclose(found[number, ..., channel], y, atol=1e-5)


@pytest.mark.parametrize(("side", "kernel", "padding"), [(1, 4, 3), (4, 3, "SAME"), (8, 3, "SAME")])
def test_every_image_is_convolved_with_its_personas_kernel(side, kernel, padding):
    x = jax.random.normal(jax.random.key(0), (6, side, side, 3))
    kernels = jax.random.normal(jax.random.key(1), (2, kernel, kernel, 3, 5))
    found = tunable.convolve_each(x, kernels, padding)
    pads = padding if padding == "SAME" else [(padding, padding)] * 2
    for number in range(6):
        wanted = jax.lax.conv_general_dilated(
            x[number, None],
            kernels[number % 2],
            (1, 1),
            pads,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        np.testing.assert_allclose(found[number, None], wanted, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_all_personas_at_once_are_each_of_them_alone(kind):
    net, params = trained(kind)
    shared, own = net.split(params)
    z = latents(3, 2)
    images = decode_each(net, params, z)
    for p in range(3):
        alone = decode(net, shared, persona(own, p), z[p])
        np.testing.assert_allclose(images[p], alone, atol=1e-5)
    same = decode_each(net, params, jnp.stack([z[0]] * 3))
    assert all(jnp.abs(same[p] - same[0]).max() > 0.01 for p in (1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_weight_one_of_a_persona_is_that_persona_to_the_bit(kind):
    net, params = trained(kind)
    shared, own = net.split(params)
    z = latents(2)
    alone = decode(net, shared, persona(own, 1), z)
    mixed = net.mix(own, jnp.array([0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(decode(net, shared, mixed, z), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_are_affine_in_the_weights_of_a_mix(kind):
    net, params = trained(kind)
    shared, own = net.split(params)
    weights = jnp.array([0.5, 0.2, 0.3])
    mix = jax.tree.map(lambda leaf: leaf[None], net.mix(own, weights))

    def mixed(each, found):
        wanted = jnp.tensordot(weights, each, 1)
        np.testing.assert_allclose(found[0], wanted, atol=1e-5)

    jax.tree.map(mixed, net.coefficients(shared, own), net.coefficients(shared, mix))


@pytest.mark.parametrize("kind", KINDS)
def test_images_change_smoothly_with_the_weights_of_a_mix(kind):
    net, params = trained(kind)
    shared, own = net.split(params)
    z = latents(2)

    def largest_step(count):
        mixes = [jnp.array([1 - i / count, 0, i / count]) for i in range(count + 1)]
        images = [decode(net, shared, net.mix(own, weights), z) for weights in mixes]
        return np.abs(np.diff(np.stack(images), axis=0)).max()

    # Half the step in weights is about half the step in images: no jump anywhere.
    assert largest_step(32) < 0.6 * largest_step(16)


@pytest.mark.parametrize("kind", KINDS)
def test_growing_changes_nothing_at_alpha_zero(kind):
    z = latents(3, 2)
    old, params = network(kind, 0), None
    params = drawn(old.init, 0)
    for level in range(1, 4):
        new = network(kind, level)
        grown = grow(params, drawn(new.init, level))
        before = decode_each(old, params, z)
        enlarged = jnp.stack([upsample(images) for images in before])
        np.testing.assert_allclose(decode_each(new, grown, z, 0.0), enlarged, atol=1e-5)
        assert np.abs(decode_each(new, grown, z, 1.0) - enlarged).max() > 1e-3
        old, params = new, grown


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_weight(kind):
    net, params = trained(kind)
    image = jax.random.uniform(jax.random.key(2), (2, 32, 32, 3))

    @jax.jit
    @jax.grad
    def gradient(params):
        shared, own = net.split(params)
        z = net.encode(shared, {"image": image}, 0.5)
        y = net.decode_each(shared, own, jnp.stack([z] * 3), 0.5)
        return jnp.square(y - image).mean()

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert np.isfinite(leaf).all() and np.any(leaf), jax.tree_util.keystr(path)
    own = jax.tree.leaves(gradient(params)["personas"])
    assert all(np.any(leaf[p]) for leaf in own for p in range(3))


@pytest.mark.parametrize("kind", KINDS)
def test_latents_of_zeros_have_finite_gradients(kind):
    """All pixels of the smallest maps are then the same."""
    net, params = trained(kind)
    gradient = jax.jit(jax.grad(lambda z: decode_each(net, params, z).sum()))
    assert np.isfinite(gradient(jnp.zeros((3, 2, 8)))).all()


def test_how_large_a_latent_is_shows():
    net, params = trained("persona")
    shared, own = net.split(params)
    z = latents(2)
    small, large = (decode(net, shared, persona(own, 0), size * z) for size in (1, 2))
    assert np.abs(small - large).max() > 0.01


def test_at_the_published_sizes_a_persona_adds_ten_thousand_numbers_or_its_code():
    # Two convolutions of two coefficients a channel, at every level
    coefficients = 2 * 2 * sum(comb.CHANNELS)
    assert coefficients == 10_176
    for kind, more in (("persona", coefficients), ("code", 32), ("weights", 32)):
        own = [count(shapes(network(kind, 8, p, sizes={}))["personas"]) for p in (2, 3)]
        assert own[1] - own[0] == more


def test_beside_biases_and_coefficients_the_decoder_is_as_large_as_one_of_the_comb():
    c = comb_experiment.get_config()
    c.level_steps = (0,) * 8 + (1,)  # without fading
    one = comb.Network.build(c, 8, 1, jnp.float32).config
    decoder = jax.eval_shape(partial(comb.init, one), jax.random.key(0))
    kernels = count(decoder["tied"]) + count(decoder["personas"]) - 2 * sum(comb.CHANNELS)
    c = experiment.get_config()
    c.level_steps = (0,) * 8 + (1,)
    tuned = tunable.Network.build(c, 8, 1, jnp.float32)
    assert count(shapes(tuned)["decoder"]) == kernels


def test_made_kernels_are_those_of_the_smallest_levels():
    params = shapes(network("weights", made=2))
    assert set(params["decoder"]) == {"level_2", "level_3", "to_rgb_2", "to_rgb_3"}
    made = [sorted(params["tuning"][f"level_{n}"]["bias"]["conv_0"]) for n in range(4)]
    assert made == [["bias", "kernel"]] * 2 + [["scale", "shift"]] * 2
    assert set(params["personas"]) == {"code"}


@pytest.mark.parametrize("kind", KINDS)
def test_known_personas_are_adopted_and_new_ones_begin_as_the_mean(kind):
    net, params = trained(kind)
    found = net.adopted(jax.tree.map(np.asarray, params), [2, None])
    shared, own = net.split(params)
    z = latents(2)
    for place, weights in enumerate(jnp.array([[0, 0, 1], [1 / 3] * 3])):
        adopted = persona(found["personas"], place)
        wanted = decode(net, shared, net.mix(own, weights), z)
        np.testing.assert_allclose(decode(net, shared, adopted, z), wanted, atol=1e-4)


def test_of_a_comb_the_encoder_is_adopted():
    net, _ = trained("persona")
    given = drawn(partial(comb.init, net.front.config), 0)
    assert net.adopted(given, [None, 0]) == {"encoder": given["encoder"]}


def test_part_encoders_stand_before_it_where_parts_are_named():
    net = network("persona", parts=("mouth", "eyes"), part_latent=4)
    assert net.inputs == ("image", "landmarks") and net.latent == 16
    assert network("persona").inputs == ("image",)
    names = shapes(net)["encoder"]
    assert {name.split("_level")[0] for name in names if "level" in name} == {
        "mouth",
        "eyes",
        "remainder",
    }


@pytest.mark.parametrize(
    ("field", "value"), [("tuning", "wieghts"), ("code", 0), ("made", 0), ("made", 4)]
)
def test_values_that_make_no_decoder_are_refused(field, value):
    with pytest.raises(InputError, match=rf"config.model.{field} is '?{value}"):
        c = experiment.get_config()
        c.model[field] = value
        tunable.Network.build(c, 3, 2, jnp.float32)


def test_types_of_the_arithmetic():
    c = experiment.get_config()
    c.update_from_flattened_dict(SIZES | {"model.tuning": "weights"})
    net = tunable.Network.build(c, 2, 3, jnp.bfloat16)
    params = drawn(net.init, 0)
    y = decode_each(net, params, latents(3, 2))
    assert y.dtype == jnp.float32 and y.shape == (3, 2, 16, 16, 3)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes(net))} == {jnp.dtype("float32")}
