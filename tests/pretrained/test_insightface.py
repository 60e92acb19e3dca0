"""Published weights: the same embeddings as ONNX Runtime computes from graphs that are built here by hand."""

import json
import struct

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from faceswap_jax.errors import InputError
from faceswap_jax.models import iresnet
from faceswap_jax.pretrained import insightface

BLOCKS, CHANNELS, STEM, EMBEDDING, SIDE = (1, 3, 2), (4, 6, 8), 5, 7, 24
EPS, OPSET = 1e-5, helper.make_opsetid("", 11)


def random_state(seed=0):
    """Tensors as `arcface_torch` names and shapes them."""
    rng = np.random.default_rng(seed)
    state = {}

    def conv(name, out, into, kernel):
        state[f"{name}.weight"] = rng.normal(
            0, (kernel * kernel * into) ** -0.5, (out, into, kernel, kernel)
        )

    def norm(name, n):
        state[f"{name}.weight"], state[f"{name}.bias"] = (
            rng.uniform(0.5, 1.5, n),
            rng.normal(0, 0.5, n),
        )
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = (
            rng.normal(0, 0.5, n),
            rng.uniform(0.3, 2, n),
        )
        state[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

    conv("conv1", STEM, 3, 3)
    norm("bn1", STEM)
    state["prelu.weight"] = rng.uniform(-0.5, 0.5, STEM)
    into = STEM
    for i, (blocks, out) in enumerate(zip(BLOCKS, CHANNELS, strict=True), 1):
        for j in range(blocks):
            name = f"layer{i}.{j}"
            norm(f"{name}.bn1", into)
            conv(f"{name}.conv1", out, into, 3)
            norm(f"{name}.bn2", out)
            state[f"{name}.prelu.weight"] = rng.uniform(-0.5, 0.5, out)
            conv(f"{name}.conv2", out, out, 3)
            norm(f"{name}.bn3", out)
            if j == 0:
                conv(f"{name}.downsample.0", out, into, 1)
                norm(f"{name}.downsample.1", out)
            into = out
    norm("bn2", into)
    flat = into * (SIDE // 2 ** len(BLOCKS)) ** 2
    state["fc.weight"], state["fc.bias"] = (
        rng.normal(0, flat**-0.5, (EMBEDDING, flat)),
        rng.normal(0, 1, EMBEDDING),
    )
    norm("features", EMBEDDING)
    return {name: t if t.dtype == np.int64 else t.astype(np.float32) for name, t in state.items()}


def graph(state, folded, operator=None):
    """The network as a graph: with names, or as the public files are, names gone and batch norms in convolutions.

    `operator(op, inputs, attributes) -> (op, inputs, attributes)` may change every node.
    """
    nodes, tensors = [], []

    def constant(name, value):
        name = str(700 + len(tensors)) if folded else name
        tensors.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(op, *inputs, **attributes):
        if operator:
            op, inputs, attributes = operator(op, inputs, attributes)
        nodes.append(helper.make_node(op, list(inputs), [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def norm(x, name, eps=EPS):
        parts = [
            constant(f"{name}.{kind}", state[f"{name}.{kind}"])
            for kind in ("weight", "bias", "running_mean", "running_var")
        ]
        return node("BatchNormalization", x, *parts, epsilon=eps)

    def conv_norm(x, conv, norm_name, stride=1):
        w = state[f"{conv}.weight"]
        k = w.shape[-1]
        attributes = {
            "kernel_shape": [k, k],
            "strides": [stride] * 2,
            "pads": [k // 2] * 4,
            "dilations": [1, 1],
            "group": 1,
        }
        if not folded:
            return norm(node("Conv", x, constant(f"{conv}.weight", w), **attributes), norm_name)
        a = state[f"{norm_name}.weight"] / np.sqrt(state[f"{norm_name}.running_var"] + EPS)
        b = state[f"{norm_name}.bias"] - a * state[f"{norm_name}.running_mean"]
        return node(
            "Conv", x, constant("", w * a[:, None, None, None]), constant("", b), **attributes
        )

    def prelu(x, name):
        return node("PRelu", x, constant(f"{name}.weight", state[f"{name}.weight"][:, None, None]))

    x = prelu(conv_norm("input.1", "conv1", "bn1"), "prelu")
    for i, blocks in enumerate(BLOCKS, 1):
        for j in range(blocks):
            name, stride = f"layer{i}.{j}", 1 if j else 2
            h = conv_norm(norm(x, f"{name}.bn1"), f"{name}.conv1", f"{name}.bn2")
            h = conv_norm(prelu(h, f"{name}.prelu"), f"{name}.conv2", f"{name}.bn3", stride)
            short = x if j else conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = node("Add", h, short)
    x = node("Flatten", norm(x, "bn2"), axis=1)
    weight, bias = constant("fc.weight", state["fc.weight"]), constant("fc.bias", state["fc.bias"])
    x = norm(node("Gemm", x, weight, bias, alpha=1.0, beta=1.0, transB=1), "features")
    given = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    result = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", EMBEDDING])
    whole = helper.make_graph(nodes, "iresnet", [given], [result], tensors)
    return helper.make_model(whole, opset_imports=[OPSET], ir_version=6)


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).uniform(0, 1, (2, SIDE, SIDE, 3)).astype(np.float32)


_apply = jax.jit(iresnet.apply, static_argnums=0)


def embeddings(path, pictures):
    config, params, statistics = insightface.read(path)
    assert config == iresnet.IResNetConfig(BLOCKS, CHANNELS, STEM, EMBEDDING, SIDE)
    return np.asarray(_apply(config, params, statistics, pictures)[0])


def by_runtime(model, pictures):
    x = ((pictures - 0.5) / 0.5).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"input.1": x})[0]


def same(result, expected):
    return np.abs(result - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("folded", [False, True])
def test_onnx_gives_the_embeddings_of_onnx_runtime(state, pictures, tmp_path, folded):
    model = graph(state, folded)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "net.onnx")
    expected = by_runtime(model, pictures)
    assert same(embeddings(tmp_path / "net.onnx", pictures), expected)
    assert not same(
        embeddings(tmp_path / "net.onnx", pictures[..., ::-1]), expected
    )  # the order of colours matters


def test_safetensors_give_the_same(state, pictures, tmp_path):
    save_file(state, tmp_path / "net.safetensors")
    expected = by_runtime(graph(state, folded=False), pictures)
    assert same(embeddings(tmp_path / "net.safetensors", pictures), expected)
    halves = {
        name: t.astype(np.float16) if t.dtype == np.float32 else t for name, t in state.items()
    }
    save_file(halves, tmp_path / "half.safetensors")
    result = embeddings(tmp_path / "half.safetensors", pictures)
    assert (
        result.dtype == np.float32
        and np.abs(result - expected).max() < 0.02 * np.abs(expected).max()
    )


def test_what_exporters_write_differently(state, pictures, tmp_path):
    """Another epsilon, nodes that do nothing, an untransposed layer, a bias beside a batch normalisation."""

    def other(op, inputs, attributes):
        return op, inputs, {"epsilon": 1e-2} if op == "BatchNormalization" else attributes

    model = graph(state, folded=False, operator=other)
    nodes = model.graph.node
    gemm = next(node for node in nodes if node.op_type == "Gemm")
    gemm.attribute.remove(next(a for a in gemm.attribute if a.name == "transB"))
    tensors = {t.name: t for t in model.graph.initializer}
    tensors["fc.weight"].CopyFrom(numpy_helper.from_array(state["fc.weight"].T.copy(), "fc.weight"))
    flat = gemm.input[0]
    gemm.input[0] = "dropped"
    nodes.insert(list(nodes).index(gemm), helper.make_node("Dropout", [flat], ["dropped"]))
    # Exporters store equal tensors once, and reach them through Identity.
    conv = nodes[0]
    nodes.insert(0, helper.make_node("Identity", [conv.input[1]], ["once"]))
    conv.input[1] = "once"
    model.graph.initializer.append(
        numpy_helper.from_array(np.linspace(-1, 1, STEM, dtype=np.float32), "conv1.bias")
    )
    conv.input.append("conv1.bias")
    nodes[1].CopyFrom(conv)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "net.onnx")
    assert same(embeddings(tmp_path / "net.onnx", pictures), by_runtime(model, pictures))


def changed(state, **changes):
    """The state with some tensors replaced, None: left out; dots are written as double underscores."""
    changes = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: t for name, t in (state | changes).items() if t is not None}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"layer2__1__bn3__bias": None}, "the tensor 'layer2.1.bn3.bias' is missing"),
        (
            {"layer3__0__downsample__0__weight": None},
            "the tensor 'layer3.0.downsample.0.weight' is missing",
        ),
        ({"layer2__1__conv1__weight": None}, "the tensor 'layer2.1.conv1.weight' is missing"),
        ({"fc__weight": None}, "the tensor 'fc.weight' is missing"),
        ({"conv1__weight": None}, "the tensor 'conv1.weight' is missing"),
        (
            {"layer1__0__se__fc1__weight": np.zeros((2, 2))},
            "no IResNet has the tensor 'layer1.0.se.fc1.weight'",
        ),
        ({"prelu__weight": np.zeros(1)}, r"'prelu.weight' has the shape \(1,\), not \(5,\)"),
        (
            {"conv1__weight": np.zeros((5, 3, 7, 7))},
            r"'conv1.weight' has the shape \(5, 3, 7, 7\), not \(5, 3, 3, 3\)",
        ),
        (
            {"fc__weight": np.zeros((7, 80))},
            r"the tensor 'fc.weight' has the shape \(7, 80\), not \(7, 72\)",
        ),
        ({"bn2__running_mean": np.full(8, np.nan)}, "the tensor 'bn2.running_mean' is not finite"),
        ({"features__weight": np.zeros(3)}, "'features.weight' has the shape"),
    ],
)
def test_tensors_that_do_not_fit(state, tmp_path, changes, message):
    path = tmp_path / "net.safetensors"
    save_file(changed(state, **changes), path)
    with pytest.raises(
        InputError, match=f"net.safetensors' is not an IResNet that can be used .*{message}"
    ):
        insightface.read(path)


def instead(old, new, **more):
    return lambda op, inputs, attributes: (
        new if op == old else op,
        inputs,
        attributes | (more if op == old else {}),
    )


@pytest.mark.parametrize(
    "operator, message",
    [
        (instead("PRelu", "Mul"), "is followed by Mul where PRelu is expected"),
        (instead("Flatten", "Softmax"), "is followed by Softmax where Flatten is expected"),
        (instead("PRelu", "LeakyRelu"), "reading fails: .*LeakyRelu"),
        (
            instead("Conv", "Conv", dilations=[2, 2]),
            r"the convolution 'conv1' has dilations \[2, 2\], not \[1, 1\]",
        ),
        (
            instead("Conv", "Conv", strides=[1, 1]),
            r"'layer1.0.conv2' has strides \[1, 1\], not \[2, 2\]",
        ),
        (instead("Conv", "Conv", auto_pad="VALID"), "'conv1' has auto_pad b'VALID'"),
        (instead("Gemm", "Gemm", alpha=0.5), "its fully connected layer scales or transposes"),
        (instead("Add", "Mul"), "is followed by Mul where Add is expected"),
    ],
)
def test_graphs_of_other_networks(state, tmp_path, operator, message):
    path = tmp_path / "net.onnx"
    onnx.save(graph(state, folded=True, operator=operator), path)
    with pytest.raises(InputError, match=message):
        insightface.read(path)


def test_graphs_with_parts_missing(state, tmp_path):
    path, model = tmp_path / "net.onnx", graph(state, folded=True)
    lost = model.graph.initializer.pop()
    onnx.save(model, path)
    with pytest.raises(InputError, match=f"reading fails: .*{lost.name}"):
        insightface.read(path)
    onnx.save(
        helper.make_model(helper.make_graph([], "nothing", [], [], []), opset_imports=[OPSET]), path
    )
    with pytest.raises(InputError, match="it has 0 inputs, not one"):
        insightface.read(path)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_damaged_files(state, tmp_path, suffix):
    """Cut anywhere, empty, or of noise: always one sentence."""
    path = tmp_path / f"net{suffix}"
    if suffix == ".onnx":
        onnx.save(graph(state, folded=True), path)
    else:
        save_file(state, path)
    whole = path.read_bytes()
    header = json.dumps(
        {"conv1.weight": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}
    ).encode()
    others = [b"", b"noise" * 100, struct.pack("<Q", len(header)) + header + b"\0" * 4]
    for content in [whole[: len(whole) * i // 20] for i in range(1, 20)] + others:
        path.write_bytes(content)
        with pytest.raises(
            InputError, match=rf"net{suffix}' is not an IResNet that can be used"
        ) as error:
            insightface.read(path)
        assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_files_that_are_not_read(tmp_path):
    for name, message in (
        ("backbone.pth", "may be a pickle, .*safetensors.torch.save_file"),
        ("net.npz", "holds no face network; give a file that ends in .onnx or .safetensors"),
        ("net.onnx", "There is no file '.*net.onnx'"),
    ):
        with pytest.raises(InputError, match=message):
            insightface.read(tmp_path / name)


def test_a_library_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"needs onnx to be read: pip install 'faceswap-jax\[insightface\]'"
    ):
        insightface.read(tmp_path / "net.onnx")
