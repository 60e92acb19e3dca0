"""The encoder into W+: its size, its statistics, and its numbers, as ONNX Runtime computes them by a graph of here."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceswap_jax.models import psp

CONFIG = psp.EncoderConfig(
    styles=3, latent=5, inputs=6, side=16, blocks=(2, 1), channels=(6, 8), stem=6
)

use = jax.jit(psp.apply, static_argnums=(0, 4))


@pytest.fixture(scope="module")
def network():
    """Weights and statistics, drawn so that all of them count."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name == "var":
            return rng.uniform(0.3, 2, leaf.shape).astype(np.float32)
        scale = 1.5 / np.sqrt(np.prod(leaf.shape[:-1])) if name == "kernel" else 0.3
        shift = float(name == "scale")
        return np.float32(shift + rng.normal(0, scale, leaf.shape))

    fresh = jax.eval_shape(lambda: psp.init(CONFIG, jax.random.key(0)))
    return jax.tree_util.tree_map_with_path(draw, fresh)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).random((2, 16, 16, 6)).astype(np.float32)


def graph(params, statistics):
    """The published network, written down once more: shortcuts that subsample by pooling, squeeze, excite, heads."""
    nodes, tensors = [], []

    def constant(value):
        name = f"c{len(tensors)}"
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(op, *inputs, **attributes):
        nodes.append(helper.make_node(op, list(inputs), [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def conv(x, weights, stride=1):
        kernel = weights["kernel"].transpose(3, 2, 0, 1)
        pad = kernel.shape[-1] // 2
        bias = [constant(weights["bias"])] if "bias" in weights else []
        return node("Conv", x, constant(kernel), *bias, strides=[stride] * 2, pads=[pad] * 4)

    def norm(x, weights, seen):
        parts = (weights["scale"], weights["bias"], seen["mean"], seen["var"])
        return node("BatchNormalization", x, *map(constant, parts), epsilon=1e-5)

    def prelu(x, weights):
        return node("PRelu", x, constant(weights["slope"][:, None, None]))

    x = conv("pictures", params["stem"])
    x = prelu(norm(x, params["stem_norm"], statistics["stem_norm"]), params["stem_slope"])
    for name in (name for name in params if name.startswith("block_")):
        p, s = params[name], statistics[name]
        stride = 2 if name.endswith("_0") else 1
        h = norm(x, p["norm"], s["norm"])
        h = prelu(conv(h, p["conv_1"]), p["slope"])
        h = norm(conv(h, p["conv_2"], stride), p["conv_norm"], s["conv_norm"])
        weights = node("Relu", conv(node("GlobalAveragePool", h), p["squeeze"]))
        weights = node("Sigmoid", conv(weights, p["excite"]))
        h = node("Mul", h, weights)
        if "shortcut" in p:
            short = norm(conv(x, p["shortcut"], stride), p["shortcut_norm"], s["shortcut_norm"])
        else:
            short = node("MaxPool", x, kernel_shape=[1, 1], strides=[stride] * 2)
        x = node("Add", h, short)

    styles = []
    for k in range(CONFIG.styles):
        h, p = x, params[f"style_{k}"]
        for n in range(CONFIG.halvings):
            h = node("LeakyRelu", conv(h, p[f"conv_{n}"], 2), alpha=0.01)
        h = node("Flatten", h)
        kernel = constant(p["styles"]["kernel"] / np.sqrt(CONFIG.latent))
        h = node("Gemm", h, kernel, constant(p["styles"]["bias"]))
        styles.append(node("Reshape", h, "shape"))
    tensors.append(numpy_helper.from_array(np.array([-1, 1, CONFIG.latent]), "shape"))
    result = node("Concat", *styles, axis=1)
    given = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [None, 6, 16, 16])
    made = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    whole = helper.make_graph(nodes, "encoder", [given], [made], tensors)
    opset = helper.make_opsetid("", 11)
    return helper.make_model(whole, opset_imports=[opset], ir_version=6)


def test_the_styles_are_those_of_an_independent_construction(network, pictures):
    session = onnxruntime.InferenceSession(graph(*network).SerializeToString())
    given = (2 * pictures - 1).transpose(0, 3, 1, 2)
    (expected,) = session.run(None, {"pictures": given})
    styles, _ = use(CONFIG, *network, pictures)
    assert styles.shape == (2, 3, 5) and np.abs(expected).mean() > 0.1
    np.testing.assert_allclose(styles, expected, rtol=1e-3, atol=1e-4)


def test_the_published_body_has_its_size():
    """IR-SE-50, up to its last map: 43.8 M weights with its embedding layer."""
    config = psp.EncoderConfig(inputs=3)
    params, _ = jax.eval_shape(lambda: psp.init(config, jax.random.key(0)))
    body = {name: weights for name, weights in params.items() if not name.startswith("style_")}
    embedding = 512 * 7 * 7 * 512 + 512 + 2 * (512 + 512)
    size = sum(leaf.size for leaf in jax.tree.leaves(body))
    assert (size + embedding) / 1e6 == pytest.approx(43.8, abs=0.05)
    assert config.halvings == 4 and len(params) - len(body) == 18
    head = params["style_0"]
    assert sum(leaf.size for leaf in jax.tree.leaves(head)) == 4 * (9 * 512**2 + 512) + 512**2 + 512


def test_a_fresh_encoder_stays_near_where_it_starts_from(pictures):
    fresh = jax.jit(psp.init, static_argnums=0)(CONFIG, jax.random.key(0))
    styles, statistics = use(CONFIG, *fresh, pictures, True)
    assert np.abs(styles).mean() < 0.3
    assert jax.tree.structure(statistics) == jax.tree.structure(fresh[1])


def test_deltas_count_from_the_first_style_and_begin_as_nothing(network, pictures):
    config = replace(CONFIG, deltas=True)
    plain, _ = use(CONFIG, *network, pictures)
    styles, _ = use(config, *network, pictures)
    np.testing.assert_allclose(styles[:, 0], plain[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(styles[:, 1:], plain[:, 1:] + plain[:, :1], rtol=1e-4, atol=1e-5)

    fresh, _ = jax.jit(psp.init, static_argnums=0)(config, jax.random.key(0))
    same, _ = use(config, fresh, network[1], pictures)
    np.testing.assert_array_equal(same, np.broadcast_to(same[:, :1], same.shape))
    assert np.abs(same).max() > 0


def test_running_statistics_move_and_in_use_every_picture_stands_alone(network, pictures):
    params, statistics = network
    _, moved = use(CONFIG, params, statistics, pictures, True)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), statistics, moved)
    assert not any(jax.tree.leaves(same))
    whole, unchanged = use(CONFIG, params, statistics, pictures)
    jax.tree.map(np.testing.assert_array_equal, unchanged, statistics)
    alone, _ = use(CONFIG, params, statistics, pictures[1:])
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_pixel_and_every_weight(network, pictures):
    """But for blocks whose one squeezed channel is rectified away."""
    params, statistics = network

    def loss(x, params):
        return jnp.sin(3 * psp.apply(CONFIG, params, statistics, x)[0]).sum()

    of_pictures, of_params = jax.jit(jax.grad(loss, (0, 1)))(pictures, params)
    assert (of_pictures != 0).mean() > 0.99
    reached = {}
    for path, gradient in jax.tree_util.tree_leaves_with_path(of_params):
        assert jnp.isfinite(gradient).all()
        reached.setdefault(path[-2].key, []).append(bool((gradient != 0).any()))
    weighing = {name: reached.pop(name) for name in ("squeeze", "excite")}
    assert all(map(all, reached.values())) and all(map(any, weighing.values()))


def test_what_travels_is_float32_whatever_it_computes_in(network, pictures):
    narrow = replace(CONFIG, dtype=jnp.bfloat16)
    styles, statistics = jax.eval_shape(partial(psp.apply, narrow, train=True), *network, pictures)
    types = {leaf.dtype for leaf in jax.tree.leaves((styles, statistics))}
    assert types == {jnp.dtype("float32")}
