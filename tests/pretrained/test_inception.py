"""Inception: the same features as ONNX Runtime computes from a graph that is built here by hand."""

from dataclasses import replace
from functools import partial

import jax
import ml_collections
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceswap_jax.errors import InputError
from faceswap_jax.models.inception import InceptionConfig
from faceswap_jax.pretrained import embedder, inception, set_features
from tests.support.frozen import write_identity

WIDTH, SIDE = 1 / 16, 80


class Graph:
    """The network as PyTorch's code has it, module by module; draws weights as it goes."""

    def __init__(self):
        self.state, self.nodes, self.tensors = {}, [], []
        self._rng = np.random.default_rng(0)

    def node(self, op, *inputs, **attributes):
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def conv(self, name, x, into, out, kernel, stride=1, pad=(0, 0)):
        """Convolution, batch normalisation and rectifier; channels as published."""
        rng, (into, out) = self._rng, (into if into == 3 else into // 16, out // 16)
        weight = rng.normal(0, np.sqrt(2 / (into * np.prod(kernel))), (out, into, *kernel))
        drawn = {
            f"{name}.conv.weight": weight,
            f"{name}.bn.weight": rng.uniform(0.5, 1.5, out),
            f"{name}.bn.bias": rng.normal(0, 0.3, out),
            f"{name}.bn.running_mean": rng.normal(0, 0.3, out),
            f"{name}.bn.running_var": rng.uniform(0.5, 2, out),
        }
        drawn = {key: np.float32(tensor) for key, tensor in drawn.items()}
        self.state |= drawn
        self.tensors += [numpy_helper.from_array(tensor, key) for key, tensor in drawn.items()]
        first, *rest = drawn
        x = self.node("Conv", x, first, strides=[stride] * 2, pads=[*pad, *pad])
        return self.node("Relu", self.node("BatchNormalization", x, *rest, epsilon=1e-3))

    def same(self, name, x, into, out, kernel):
        return self.conv(name, x, into, out, kernel, pad=[k // 2 for k in kernel])

    def pool(self, op, x, stride=1, **attributes):
        pad = 0 if stride == 2 else 1
        return self.node(
            op, x, kernel_shape=[3, 3], strides=[stride] * 2, pads=[pad] * 4, **attributes
        )

    def join(self, *parts):
        return self.node("Concat", *parts, axis=1)

    def a(self, m, x, into, pooled):
        one = self.same(f"{m}.branch1x1", x, into, 64, (1, 1))
        five = self.same(f"{m}.branch5x5_1", x, into, 48, (1, 1))
        five = self.same(f"{m}.branch5x5_2", five, 48, 64, (5, 5))
        three = self.same(f"{m}.branch3x3dbl_1", x, into, 64, (1, 1))
        three = self.same(f"{m}.branch3x3dbl_2", three, 64, 96, (3, 3))
        three = self.same(f"{m}.branch3x3dbl_3", three, 96, 96, (3, 3))
        mean = self.pool("AveragePool", x, count_include_pad=0)
        return self.join(
            one, five, three, self.same(f"{m}.branch_pool", mean, into, pooled, (1, 1))
        )

    def b(self, m, x, into):
        three = self.conv(f"{m}.branch3x3", x, into, 384, (3, 3), 2)
        double = self.same(f"{m}.branch3x3dbl_1", x, into, 64, (1, 1))
        double = self.same(f"{m}.branch3x3dbl_2", double, 64, 96, (3, 3))
        double = self.conv(f"{m}.branch3x3dbl_3", double, 96, 96, (3, 3), 2)
        return self.join(three, double, self.pool("MaxPool", x, 2))

    def c(self, m, x, inner):
        one = self.same(f"{m}.branch1x1", x, 768, 192, (1, 1))
        seven = self.same(f"{m}.branch7x7_1", x, 768, inner, (1, 1))
        seven = self.same(f"{m}.branch7x7_2", seven, inner, inner, (1, 7))
        seven = self.same(f"{m}.branch7x7_3", seven, inner, 192, (7, 1))
        double = self.same(f"{m}.branch7x7dbl_1", x, 768, inner, (1, 1))
        for number, kernel in ((2, (7, 1)), (3, (1, 7)), (4, (7, 1))):
            double = self.same(f"{m}.branch7x7dbl_{number}", double, inner, inner, kernel)
        double = self.same(f"{m}.branch7x7dbl_5", double, inner, 192, (1, 7))
        mean = self.pool("AveragePool", x, count_include_pad=0)
        return self.join(one, seven, double, self.same(f"{m}.branch_pool", mean, 768, 192, (1, 1)))

    def d(self, m, x):
        three = self.same(f"{m}.branch3x3_1", x, 768, 192, (1, 1))
        three = self.conv(f"{m}.branch3x3_2", three, 192, 320, (3, 3), 2)
        seven = self.same(f"{m}.branch7x7x3_1", x, 768, 192, (1, 1))
        seven = self.same(f"{m}.branch7x7x3_2", seven, 192, 192, (1, 7))
        seven = self.same(f"{m}.branch7x7x3_3", seven, 192, 192, (7, 1))
        seven = self.conv(f"{m}.branch7x7x3_4", seven, 192, 192, (3, 3), 2)
        return self.join(three, seven, self.pool("MaxPool", x, 2))

    def e(self, m, x, into, pooled):
        one = self.same(f"{m}.branch1x1", x, into, 320, (1, 1))
        three = self.same(f"{m}.branch3x3_1", x, into, 384, (1, 1))
        three = self.join(
            self.same(f"{m}.branch3x3_2a", three, 384, 384, (1, 3)),
            self.same(f"{m}.branch3x3_2b", three, 384, 384, (3, 1)),
        )
        double = self.same(f"{m}.branch3x3dbl_1", x, into, 448, (1, 1))
        double = self.same(f"{m}.branch3x3dbl_2", double, 448, 384, (3, 3))
        double = self.join(
            self.same(f"{m}.branch3x3dbl_3a", double, 384, 384, (1, 3)),
            self.same(f"{m}.branch3x3dbl_3b", double, 384, 384, (3, 1)),
        )
        return self.join(
            one, three, double, self.same(f"{m}.branch_pool", pooled, into, 192, (1, 1))
        )

    def whole(self, x):
        x = self.conv("Conv2d_1a_3x3", x, 3, 32, (3, 3), 2)
        x = self.conv("Conv2d_2a_3x3", x, 32, 32, (3, 3))
        x = self.pool("MaxPool", self.same("Conv2d_2b_3x3", x, 32, 64, (3, 3)), 2)
        x = self.conv("Conv2d_3b_1x1", x, 64, 80, (1, 1))
        x = self.pool("MaxPool", self.conv("Conv2d_4a_3x3", x, 80, 192, (3, 3)), 2)
        x = self.a("Mixed_5b", x, 192, 32)
        x = self.a("Mixed_5c", x, 256, 64)
        x = self.a("Mixed_5d", x, 288, 64)
        x = self.b("Mixed_6a", x, 288)
        for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True):
            x = self.c(f"Mixed_6{letter}", x, inner)
        x = self.d("Mixed_7a", x)
        x = self.e("Mixed_7b", x, 1280, self.pool("AveragePool", x, count_include_pad=0))
        x = self.e("Mixed_7c", x, 2048, self.pool("MaxPool", x))
        return self.node("Flatten", self.node("GlobalAveragePool", x))


@pytest.fixture(scope="module")
def given():
    """A graph with its weights, and what it makes of images."""
    graph = Graph()
    result = graph.whole("images")
    into = helper.make_tensor_value_info("images", TensorProto.FLOAT, [None, 3, SIDE, SIDE])
    out = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    whole = helper.make_graph(graph.nodes, "inception", [into], [out], graph.tensors)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    images = np.random.default_rng(1).random((2, SIDE, SIDE, 3)).astype(np.float32)
    (features,) = session.run(None, {"images": (2 * images - 1).transpose(0, 3, 1, 2)})
    return graph.state, images, features


def test_the_features_of_a_file_are_those_of_an_independent_construction(given, tmp_path):
    state, images, expected = given
    path = tmp_path / "inception.npz"
    np.savez(path, **state)
    shape, weights = set_features.load_for(str(path), "ffhq")
    assert shape == InceptionConfig(WIDTH) and set_features.name(shape) == "inception"
    values = ml_collections.ConfigDict(embedder.described(shape))
    assert set_features.described_shape(values) == shape
    fresh = jax.eval_shape(partial(set_features.init, shape), jax.random.key(0))
    assert jax.tree.map(np.shape, fresh) == jax.tree.map(np.shape, weights)

    found = jax.jit(set_features.vectors, static_argnums=0)(
        replace(shape, side=SIDE), weights, images
    )
    assert found.shape == (2, 128) and np.abs(expected).mean() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_published_network_tells_2048_numbers():
    shape = InceptionConfig()
    params = jax.eval_shape(lambda: set_features.init(shape, jax.random.key(0)))
    # Without the classifier, and batch normalisations are two numbers a channel fewer
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 21_768_352
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    told = jax.eval_shape(partial(set_features.vectors, shape), params, images)
    assert told.shape == (1, 2048)


def test_without_a_file_a_face_network_tells_features_of_another_name(tmp_path):
    write_identity(tmp_path / "identity")
    shape, weights = set_features.load_for(str(tmp_path / "identity"), "eyes")
    assert set_features.name(shape) == "feature_distance"
    crops = np.zeros((3, 16, 16, 3), np.float32)
    told = jax.eval_shape(partial(set_features.vectors, shape), weights, crops)
    assert told.shape == (3, sum(shape.channels))


def test_files_that_are_not_read(given, tmp_path):
    state, _, _ = given
    lacking = {name: state[name] for name in state if name != "Mixed_7c.branch1x1.bn.bias"}
    wide = state | {"Mixed_6a.branch3x3.conv.weight": np.zeros((24, 5, 3, 3), np.float32)}
    path = tmp_path / "inception.npz"
    for changed, message in (
        (lacking, "'Mixed_7c.branch1x1.bn.bias' is missing"),
        (wide, r"'Mixed_6a.branch3x3.conv.weight' has the shape \(24, 5, 3, 3\)"),
    ):
        np.savez(path, **changed)
        with pytest.raises(
            InputError, match=f"{path}' is no Inception that can be used.*{message}"
        ):
            inception.read(path)
    with pytest.raises(InputError, match=r"There is no file '.*none.npz'"):
        inception.read(tmp_path / "none.npz")
    assert not inception.is_inception(tmp_path / "run")
