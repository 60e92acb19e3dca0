"""Minimal filtering against lax's convolutions: values, gradients, and what it makes devices exchange."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax.models import comb
from faceswap_jax.models.autoencoder import persona
from faceswap_jax.ops import convolution
from faceswap_jax.ops.convolution import conv_general_dilated as convolve
from faceswap_jax.ops.resample import upsample
from faceswap_jax.parallel.mesh import make_mesh

NHWC = convolution.NHWC


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    """Small pictures are worth it too."""
    monkeypatch.setattr(convolution, "LEAST_WORK", 16 * 16 * 4)
    monkeypatch.setattr(convolution, "LEAST_WORK_ENLARGED", 16 * 16 * 4)


def laxs(x, kernel, strides, padding, **options):
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)


def laxs_of_upsampled(x, *rest, **options):
    return laxs(upsample(x), *rest, **options)


OURS = {laxs: convolve, laxs_of_upsampled: partial(convolve, upsampled=True)}


def arrays(shape, features, scale=1):
    """An input, a kernel and a gradient of the output, `scale` times as large as the input."""
    b, h, w, c = shape
    shapes = shape, (3, 3, c, features), (b, scale * h, scale * w, features)
    draw = np.random.default_rng(0)
    return tuple(draw.normal(size=s).astype(np.float32) for s in shapes)


def value_and_gradients(convolve, x, kernel, g):
    y, pull = jax.vjp(
        lambda x, kernel: convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC), x, kernel
    )
    return y, *pull(g)


def relative(found, expected):
    found, expected = (np.asarray(a, np.float64) for a in (found, expected))
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("reference", OURS)
@pytest.mark.parametrize(
    "features", [5, 520]
)  # below and above the limit from which the output is filtered too
def test_values_and_gradients_are_laxs(reference, features):
    given = arrays((2, 16, 24, 8), features, scale=2 if reference is laxs_of_upsampled else 1)
    found, expected = (
        jax.jit(partial(value_and_gradients, f))(*given) for f in (OURS[reference], reference)
    )
    assert max(map(relative, found, expected)) < 5e-5


@pytest.mark.parametrize(
    ("side", "kernel_side", "stride", "padding"),
    [
        (2, 3, 1, "SAME"),
        (4, 4, 2, ((1, 1), (1, 1))),
        (2, 4, 2, ((1, 1), (1, 1))),
        (3, 2, 1, "VALID"),
    ],
)
def test_results_of_few_pixels_are_laxs(side, kernel_side, stride, padding):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(3, side, side, 5)).astype(np.float32)
    kernel = draw.normal(size=(kernel_side, kernel_side, 5, 6)).astype(np.float32)
    options = {"dimension_numbers": NHWC}

    def both(convolve):
        def loss(x, kernel):
            y = convolve(x, kernel, (stride, stride), padding, **options)
            return (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum(), y

        (_, y), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, kernel)
        return y, *gradients

    assert max(map(relative, both(convolve), both(laxs))) < 1e-5
    compiled = jax.jit(lambda x, k: convolve(x, k, (stride, stride), padding, **options))
    assert "convolution" not in compiled.lower(x, kernel).as_text()


def test_gradients_of_few_channels_are_laxs(monkeypatch):
    monkeypatch.setattr(convolution, "LEAST_WORK", 2**24)
    given = arrays((2, 6, 10, 8), 3)
    found, expected = (value_and_gradients(f, *given) for f in (convolve, laxs))
    assert max(map(relative, found, expected)) < 1e-5


def test_the_algorithm_is_exact_and_drops_points():
    """Of integers; and an enlarged picture has 5 of 6 points along an axis, in both directions."""
    draw, f = np.random.default_rng(0), convolution.PLAIN
    window, kernel = draw.integers(-9, 9, 6), draw.integers(-9, 9, 3)
    points = (24 * f.kernel).round().astype(int) @ kernel * (f.window.astype(int) @ window)
    np.testing.assert_array_equal(
        f.tile.astype(int) @ points, 24 * np.correlate(window, kernel, "valid")
    )
    assert len(convolution.ENLARGED.window) == len(convolution.REDUCED.window) == 5


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((1, 16, 16, 4), (3, 3, 4, 2), {"window_strides": (2, 2)}),
        ((1, 16, 16, 4), (3, 3, 4, 2), {"rhs_dilation": (2, 2)}),
        ((1, 16, 16, 4), (3, 3, 2, 2), {"feature_group_count": 2}),
        ((1, 16, 16, 4), (3, 3, 4, 2), {"padding": "VALID"}),
        ((1, 16, 18, 4), (3, 3, 4, 2), {}),
        ((1, 4, 4, 4), (3, 3, 4, 2), {}),
        ((1, 16, 16, 4), (4, 4, 4, 2), {}),
    ],
)
def test_other_convolutions_are_left_to_lax(shape, kernel, options):
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC} | options
    x, kernel = np.ones(shape, np.float32), np.ones(kernel, np.float32)
    found, expected = (f(x, kernel, **options) for f in (convolve, lax.conv_general_dilated))
    np.testing.assert_array_equal(found, expected)


def test_other_platforms_and_types_are_left_to_lax():
    def primitives(dtype):
        x, kernel = jnp.ones((1, 8, 8, 4), dtype), jnp.ones((3, 3, 4, 4), dtype)
        options = {
            "window_strides": (1, 1),
            "padding": "SAME",
            "dimension_numbers": NHWC,
            "upsampled": True,
        }
        return str(jax.make_jaxpr(partial(convolve, **options))(x, kernel))

    assert "conv_general_dilated" not in primitives(jnp.float32)
    assert "conv_general_dilated" in primitives(jnp.bfloat16)
    # A mesh of devices that this process need not have
    gpu = jax.sharding.AbstractDevice("H100", None, platform="gpu")
    mesh = jax.sharding.AbstractMesh((8,), ("data",), abstract_device=gpu)
    with jax.sharding.use_abstract_mesh(mesh):
        assert "conv_general_dilated" in primitives(jnp.float32)


def test_a_batch_over_devices_is_not_gathered():
    given, mesh = arrays((16, 16, 16, 4), 7), make_mesh()
    spread, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    compiled = (
        jax.jit(
            partial(value_and_gradients, convolve),
            in_shardings=(spread, whole, spread),
            out_shardings=(spread, spread, whole),
        )
        .lower(*given)
        .compile()
    )
    exchanged = r"= (\S+) (?:all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\("
    sizes = [re.sub("{.*", "", shape) for shape in re.findall(exchanged, compiled.as_text())]
    assert sizes in (
        ["f32[36,4,7]"],
        ["f32[9,28]"],
        ["f32[3,3,4,7]"],
    )  # the kernel's gradient, at its points or done
    found = compiled(*jax.device_put(given, (spread, whole, spread)))
    expected = value_and_gradients(laxs, *given)
    assert max(map(relative, found, expected)) < 5e-5


@pytest.mark.parametrize("images", [6, 7])
def test_the_gradient_of_a_narrow_kernel_is_the_sum_of_parts(images, monkeypatch):
    """Of two images at a time, which the cache holds here; 7 cannot be dealt out like that."""
    monkeypatch.setattr(convolution, "CACHED", 2 * 6 * 10 * 5)
    given = arrays((images, 6, 10, 4), 5)
    found, expected = (jax.jit(partial(value_and_gradients, f))(*given) for f in (convolve, laxs))
    assert max(map(relative, found, expected)) < 1e-5


def test_parts_of_a_batch_over_devices_are_not_gathered(monkeypatch):
    monkeypatch.setattr(convolution, "CACHED", 1)
    mesh = make_mesh()
    spread = NamedSharding(mesh, P("data"))
    whole = NamedSharding(mesh, P())
    x, kernel, g = arrays((16, 6, 6, 4), 5)
    with jax.set_mesh(mesh):
        compiled = (
            jax.jit(
                partial(value_and_gradients, convolve),
                in_shardings=(spread, whole, spread),
                out_shardings=(spread, spread, whole),
            )
            .lower(x, kernel, g)
            .compile()
        )
    program = compiled.as_text()
    assert len(re.findall(r" all-reduce(?:-start)?\(", program)) == 1
    assert not re.search(r" (?:all-gather|all-to-all|collective-permute)(?:-start)?\(", program)

    found = compiled(*jax.device_put((x, kernel, g), (spread, whole, spread)))
    expected = value_and_gradients(laxs, x, kernel, g)
    assert max(map(relative, found, expected)) < 1e-5


def test_devices_with_inputs_of_their_own_add_up_the_gradient_of_a_shared_kernel():
    x, kernel, _ = arrays((8, 16, 16, 4), 4)

    def loss(convolve, x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)))

    def over_devices(x, kernel):
        each = jax.shard_map(
            lambda x, kernel: loss(convolve, x, kernel)[None],
            in_specs=(P("persona"), P()),
            out_specs=P("persona"),
            axis_names={"persona"},
        )
        return each(x, kernel).sum()

    with jax.set_mesh(make_mesh(persona=8)):
        found = jax.jit(jax.grad(over_devices, (0, 1)))(x, kernel)
    expected = jax.jit(jax.grad(partial(loss, laxs), (0, 1)))(x, kernel)
    assert max(map(relative, found, expected)) < 5e-5


def test_the_comb_network_is_the_same(monkeypatch):
    """Its gradient too, with most of its convolutions filtered."""
    config = comb.CombConfig(level=2, personas=1, channels=(8,) * 3, latent=16)
    params = comb.init(config, jax.random.key(0))
    own = persona(params["personas"], 0)
    x = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))

    def loss(params, own):
        y = comb.decode(
            config, params["tied"], own, comb.encode(config, params["encoder"], x, 0.5), 0.5
        )
        return jnp.square(y - x).mean()

    def convolutions_and_gradient():
        gradient = jax.value_and_grad(loss, (0, 1))
        return str(jax.make_jaxpr(gradient)(params, own)).count("conv_general_dilated["), jax.jit(
            gradient
        )(params, own)

    few, found = convolutions_and_gradient()
    monkeypatch.setattr(convolution, "LEAST_WORK", np.inf)
    many, expected = convolutions_and_gradient()
    assert few < many
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max()), found, expected
    )
