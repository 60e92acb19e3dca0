"""VGG-Face: the same features as ONNX Runtime computes from a graph that is built here by hand."""

import cv2
import jax
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from faceswap_jax.errors import InputError
from faceswap_jax.models import vgg
from faceswap_jax.pretrained import layers, vggface

# By the source's table: channels of the convolutions, M where there is a pooling
A = (4, "M", 5, "M", 6, 6, "M", 7, 7, "M", 7, 7, "M")
D = (4, 4, "M", 5, 5, "M", 6, 6, 6, "M", 7, 7, 7, "M", 7, 7, 7, "M")
SIDE = 64

# Counted through; of D those at the same places in their blocks
SAME = {"A": (2, 3, 4, 5, 7), "D": (3, 5, 6, 8, 11)}
OTHER = {"A": (6, 7), "D": (9, 11)}


def random_state(table):
    """Tensors by the names of `vgg_face_dag`, as PyTorch has them."""
    rng = np.random.default_rng(0)
    state, into, block, number = {}, 3, 1, 1
    for out in table:
        if out == "M":
            block, number = block + 1, 1
            continue
        scale = np.sqrt(2 / into) / (100 if into == 3 else 3)
        state[f"conv{block}_{number}.weight"] = rng.normal(0, scale, (out, into, 3, 3))
        state[f"conv{block}_{number}.bias"] = rng.normal(0, 0.3, out)
        into, number = out, number + 1
    state["fc6.weight"] = np.zeros((2, into * (SIDE // 32) ** 2))
    return {name: np.float32(tensor) for name, tensor in state.items()}


def expected(state, table, images):
    """What is behind each convolution, from the first to the last, [b, h, w, c]."""
    tensors = [numpy_helper.from_array(tensor, name) for name, tensor in state.items()]
    names = [name.removesuffix(".weight") for name in state if name.startswith("conv")][::2]
    nodes, x, found = [], "images", []
    for out in table:
        if out == "M":
            y = f"pool{len(nodes)}"
            nodes.append(helper.make_node("MaxPool", [x], [y], kernel_shape=[2, 2], strides=[2, 2]))
        else:
            name = names[len(found)]
            inputs = [x, f"{name}.weight", f"{name}.bias"]
            nodes.append(helper.make_node("Conv", inputs, [name], pads=[1] * 4))
            y = f"relu{len(nodes)}"
            nodes.append(helper.make_node("Relu", [name], [y]))
            found.append(y)
        x = y
    given = helper.make_tensor_value_info(
        "images", TensorProto.FLOAT, images.transpose(0, 3, 1, 2).shape
    )
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in found]
    graph = helper.make_graph(nodes, "vgg", [given], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    values = session.run(None, {"images": images.transpose(0, 3, 1, 2)})
    return [value.transpose(0, 2, 3, 1) for value in values]


def written(path, state):
    save = save_file if path.suffix == ".safetensors" else lambda s, p: np.savez(p, **s)
    save(state, path)
    return path


@pytest.mark.parametrize(("name", "suffix", "table"), [("A", "npz", A), ("D", "safetensors", D)])
def test_the_layers_of_a_file_see_what_onnx_runtime_sees(tmp_path, name, suffix, table):
    state = random_state(table)
    path = written(tmp_path / f"face.{suffix}", state)
    shape, weights = layers.load_for(str(path), "box")
    assert shape == vgg.VGGConfig(name, (4, 5, 6, 7, 7), SIDE)

    crops = np.random.default_rng(1).random((2, 40, 40, 3)).astype(np.float32)
    large = np.stack([cv2.resize(crop, (SIDE, SIDE)) for crop in crops])
    truth = expected(state, table, 255 * large - np.float32([129.1863, 104.7624, 93.594]))
    found = jax.jit(layers.features, static_argnums=0)(shape, weights, crops)
    counted = layers.counted(shape)
    for chosen, numbers in ((counted.same, SAME[name]), (counted.other, OTHER[name])):
        for i, number in zip(chosen, numbers, strict=True):
            assert np.abs(truth[number - 1]).mean() > 0.01
            np.testing.assert_allclose(found[i], truth[number - 1], rtol=1e-3, atol=1e-3)


def test_fresh_weights_have_the_layout_of_a_file(tmp_path):
    shape, weights = layers.load_for(str(written(tmp_path / "a.npz", random_state(A))), "eyes")
    fresh = jax.eval_shape(lambda: layers.init(shape, jax.random.key(0)))
    assert jax.tree.map(np.shape, fresh) == jax.tree.map(np.shape, weights)


def test_files_that_are_not_read(tmp_path):
    state = random_state(A)
    few = {name: state[name] for name in list(state)[:6]}
    wide = state | {"conv3_1.weight": np.zeros((6, 4, 3, 3), np.float32)}
    holes = state | {"conv3_2.bias": np.full(6, np.nan, np.float32)}
    unbiased = {name: state[name] for name in state if name != "conv2_1.bias"}
    pickled = state | {"conv1_1.bias": np.array([{}], object)}
    for changed, message in (
        (few, r"\[1, 1, 1, 0, 0\] convolutions"),
        (wide, r"'conv3_1.weight' has the shape \(6, 4, 3, 3\), not \(6, 5, 3, 3\)"),
        (holes, "'conv3_2.bias' is not finite"),
        (unbiased, "'conv2_1.bias' is missing"),
        (pickled, "allow_pickle"),
    ):
        path = written(tmp_path / "face.npz", changed)
        with pytest.raises(InputError, match=f"{path}' is no VGG-Face.*{message}.*conv1_1.weight"):
            vggface.read(path)
    path.write_bytes(b"noise")
    with pytest.raises(InputError, match="is no VGG-Face that can be used"):
        vggface.read(path)
    with pytest.raises(InputError, match=r"There is no file '.*none.npz'"):
        layers.load_for(str(tmp_path / "none.npz"), "box")
    # As other networks' are
    with pytest.raises(InputError, match=r"may be a pickle, .*safetensors.torch.save_file"):
        layers.load_for(str(tmp_path / "vgg_face_dag.pth"), "box")
