"""LPIPS: the same distance as ONNX Runtime computes from a graph that is built here by hand, for both networks."""

import jax
import ml_collections
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from faceswap_jax.errors import InputError
from faceswap_jax.models.iresnet import IResNetConfig
from faceswap_jax.models.lpips import LPIPSConfig
from faceswap_jax.pretrained import embedder, lpips, perceptual
from tests.support.frozen import write_identity

SIDE, WIDTH = 72, 1 / 32

# As torchvision has them: channels, kernel, stride, padding; "M" and its side; "R" where a layer is told
ALEX = [
    (2, 11, 4, 2),
    "R",
    "M3",
    (6, 5, 1, 2),
    "R",
    "M3",
    (12, 3, 1, 1),
    "R",
    (8, 3, 1, 1),
    "R",
    (8, 3, 1, 1),
    "R",
]
VGG = [(2, 3, 1, 1), "", (2, 3, 1, 1), "R", "M2", (4, 3, 1, 1), "", (4, 3, 1, 1), "R", "M2"]
for channels, told in ((8, True), (16, True), (16, False)):
    VGG += [(channels, 3, 1, 1), "", (channels, 3, 1, 1), "", (channels, 3, 1, 1), "R"]
    VGG += ["M2"] if told else []
TABLES = {"alex": ALEX, "vgg": VGG}


def random_state(table):
    """Tensors by the names of the package `lpips`: modules are counted as torchvision has them, rectifiers too."""
    rng = np.random.default_rng(0)
    state, into, layer = {}, 3, 0
    # A rectifier is a module, whether its result is told or not.
    for module, entry in enumerate(table):
        if isinstance(entry, tuple):
            out, kernel, *_ = entry
            name = f"net.slice{layer + 1}.{module}"
            scale = np.sqrt(2 / (into * kernel**2))
            state[f"{name}.weight"] = rng.normal(0, scale, (out, into, kernel, kernel))
            state[f"{name}.bias"] = rng.normal(0, 0.3, out)
            into = out
        if entry == "R":
            state[f"lin{layer}.model.1.weight"] = rng.uniform(0, 1, (1, into, 1, 1))
            layer += 1
    state["scaling_layer.shift"] = np.zeros((1, 3, 1, 1))
    return {name: np.float32(tensor) for name, tensor in state.items()}


def expected(state, table, x, y):
    """The published sum, from what ONNX Runtime makes of images in [-1, 1]."""
    tensors = [numpy_helper.from_array(tensor, name) for name, tensor in state.items()]
    names = iter(
        name.removesuffix(".weight")
        for name in state
        if name.startswith("net.") and "weight" in name
    )
    nodes, h, told = [], "images", []
    for i, entry in enumerate(table):
        out = f"t{i}"
        if isinstance(entry, tuple):
            _, _, stride, pad = entry
            name = next(names)
            inputs = [h, f"{name}.weight", f"{name}.bias"]
            nodes.append(
                helper.make_node("Conv", inputs, [out], strides=[stride] * 2, pads=[pad] * 4)
            )
        elif entry.startswith("M"):
            side = int(entry[1])
            nodes.append(
                helper.make_node("MaxPool", [h], [out], kernel_shape=[side] * 2, strides=[2, 2])
            )
        else:
            nodes.append(helper.make_node("Relu", [h], [out]))
            told += [out] if entry == "R" else []
        h = out
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [None, 3, SIDE, SIDE])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in told]
    graph = helper.make_graph(nodes, "lpips", [given], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())

    def layers(images):
        scaled = (2 * images - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        return session.run(None, {"images": np.float32(scaled.transpose(0, 3, 1, 2))})

    total = 0
    for i, (a, b) in enumerate(zip(layers(x), layers(y), strict=True)):
        a, b = (maps / (np.linalg.norm(maps, axis=1, keepdims=True) + 1e-10) for maps in (a, b))
        total += (state[f"lin{i}.model.1.weight"] * (a - b) ** 2).sum(1).mean((1, 2))
    return total


def written(path, state):
    save = save_file if path.suffix == ".safetensors" else lambda s, p: np.savez(p, **s)
    save(state, path)
    return path


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    x = rng.random((2, SIDE, SIDE, 3))
    y = (x + rng.normal(0, [[[[0.1]]], [[[0.5]]]], x.shape)).clip(0, 1)
    return np.float32(x), np.float32(y)


distance = jax.jit(perceptual.distance, static_argnums=0)


@pytest.mark.parametrize(("name", "suffix"), [("alex", "npz"), ("vgg", "safetensors")])
def test_the_distance_by_a_file_is_that_of_an_independent_construction(
    tmp_path, images, name, suffix
):
    state = random_state(TABLES[name])
    path = written(tmp_path / f"lpips.{suffix}", state)
    shape, weights = perceptual.load_for(str(path), "ffhq")
    assert shape == LPIPSConfig(name, WIDTH) and perceptual.name(shape) == "lpips"
    assert perceptual.described_shape(_config(shape)) == shape

    found = distance(shape, weights, *images)
    truth = expected(state, TABLES[name], *images)
    assert truth[1] > truth[0] > 0.01
    np.testing.assert_allclose(found, truth, rtol=1e-3)
    np.testing.assert_allclose(distance(shape, weights, images[0], images[0]), 0, atol=1e-9)

    fresh = jax.eval_shape(lambda: perceptual.init(shape, jax.random.key(0)))
    assert jax.tree.map(np.shape, fresh) == jax.tree.map(np.shape, weights)


def _config(shape):
    """As a run keeps it."""
    return ml_collections.ConfigDict(embedder.described(shape))


def test_without_a_file_a_face_network_tells_a_distance_of_its_own_name(tmp_path, images):
    write_identity(tmp_path / "identity", alignment="ffhq")
    shape, weights = perceptual.load_for(str(tmp_path / "identity"), "ffhq")
    assert isinstance(shape, IResNetConfig) and perceptual.name(shape) == "features"
    assert perceptual.described_shape(_config(shape)) == shape
    small, large = distance(shape, weights, *images)
    assert 0 < small < large < 4
    slope = jax.grad(lambda x: perceptual.distance(shape, weights, x, images[0]).sum())(images[0])
    assert np.isfinite(slope).all()
    with pytest.raises(InputError, match="knows faces aligned as 'ffhq'"):
        perceptual.load_for(str(tmp_path / "identity"), "eyes")


def test_files_that_are_not_read(tmp_path):
    state = random_state(ALEX)
    few = {name: state[name] for name in list(state)[:7]}
    wide = state | {"net.slice3.6.weight": np.zeros((12, 5, 3, 3), np.float32)}
    headless = {name: state[name] for name in state if name != "lin3.model.1.weight"}
    holes = state | {"net.slice2.3.bias": np.full(6, np.nan, np.float32)}
    odd = state | {lpips.FIRST: np.zeros((2, 3, 7, 7), np.float32)}
    for changed, message in (
        (few, "it has 3 convolutions, not 5"),
        (wide, r"'net.slice3.6.weight' has the shape \(12, 5, 3, 3\), not \(12, 6, 3, 3\)"),
        (headless, "'lin3.model.1.weight' is missing"),
        (holes, "'net.slice2.3.bias' is not finite"),
        (odd, r"'net.slice1.0.weight' has the shape \(2, 3, 7, 7\)"),
        ({"a": state[lpips.FIRST]}, "'net.slice1.0.weight' is missing"),
    ):
        path = written(tmp_path / "lpips.npz", changed)
        with pytest.raises(InputError, match=f"{path}' is no LPIPS that can be used.*{message}"):
            lpips.read(path)
    with pytest.raises(InputError, match=r"There is no file '.*none.npz'"):
        lpips.read(tmp_path / "none.npz")
    # Other files are what other networks are read from.
    assert not lpips.is_lpips(path) and not lpips.is_lpips(tmp_path / "run")
    with pytest.raises(InputError, match=r"may be a pickle"):
        perceptual.load_for(str(tmp_path / "lpips.pth"), "box")
