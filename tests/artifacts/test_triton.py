"""The model repository for Triton, by what its configuration files say and by what the ONNX beside them is."""

import json

import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from faceswap_jax.artifacts.manifest import Artifact
from faceswap_jax.artifacts.triton import Tensor, config
from tests.support.artifacts import mean_artifact

FIELD = descriptor_pb2.FieldDescriptorProto

# What is used of Triton's model_config.proto, by its names: text with others does not parse.
TYPES = {"TYPE_UINT8": 2, "TYPE_FP32": 11}
OF_ONNX = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}
TENSOR = {"name": "string", "data_type": "DataType", "dims": "int64*"}
MESSAGES = {
    "ModelInput": TENSOR,
    "ModelOutput": TENSOR,
    "ModelParameter": {"string_value": "string"},
    "ModelDynamicBatching": {"max_queue_delay_microseconds": "uint64"},
    "ParametersEntry": {"key": "string", "value": "ModelParameter"},
    "ModelConfig": {
        "name": "string",
        "backend": "string",
        "max_batch_size": "int32",
        "input": "ModelInput*",
        "output": "ModelOutput*",
        "dynamic_batching": "ModelDynamicBatching",
        "parameters": "ParametersEntry*",
    },
}


@pytest.fixture(scope="module")
def read():
    """Reads a configuration strictly."""
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="t", syntax="proto3")
    kinds = file.enum_type.add(name="DataType")
    for name, number in ({"TYPE_INVALID": 0} | TYPES).items():
        kinds.value.add(name=name, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            kind, repeated = kind.removesuffix("*"), kind.endswith("*")
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if kind[0].islower():
                told = {"type": getattr(FIELD, f"TYPE_{kind.upper()}")}
            else:
                told = {"type_name": f".t.{kind}"}
            message.field.add(name=field, number=number, label=label, **told)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    class_ = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))
    return lambda text: text_format.Parse(text, class_())


def signature(values, batched: bool):
    """Name, type and lengths of the inputs or outputs of an ONNX file, as Triton counts them."""
    found = []
    for value in values:
        tensor = value.type.tensor_type
        dims = [-1 if d.HasField("dim_param") else d.dim_value for d in tensor.shape.dim]
        found.append((value.name, OF_ONNX[tensor.elem_type], dims[1:] if batched else dims))
    return found


def told(tensors):
    names = {number: name for name, number in TYPES.items()}
    return [(t.name, names[t.data_type], list(t.dims)) for t in tensors]


def test_configurations_say_what_the_onnx_beside_them_takes_and_gives(faceswap, read, tmp_path):
    artifact = mean_artifact(tmp_path / "mean")
    code, _, err = faceswap("triton", f"m={tmp_path / 'mean'}", f"--output={tmp_path / 'models'}")
    assert code == 0, err
    batches = {"m-encode": 8, "m-decode": 0}
    assert {path.name for path in (tmp_path / "models").iterdir()} == set(batches)
    for name, most in batches.items():
        folder = tmp_path / "models" / name
        made = read((folder / "config.pbtxt").read_text())
        model = onnx.load(folder / "1" / "model.onnx")
        assert (made.name, made.backend, made.max_batch_size) == (name, "onnxruntime", most)
        assert made.HasField("dynamic_batching") == bool(most)
        assert told(made.input) == signature(model.graph.input, bool(most))
        assert told(made.output) == signature(model.graph.output, bool(most))
        parameters = {entry.key: entry.value.string_value for entry in made.parameters}
        assert json.loads(parameters["personas"]) == artifact.description.personas
        assert parameters["digest"] == artifact.digest


def test_only_programs_whose_rows_all_belong_together_are_batched(read):
    crops = Tensor("crops", "tensor(uint8)", ["b", 4, 4, 3])
    images = Tensor("images", "tensor(float)", ["b", 4, 4, 3])
    weights = Tensor("weights", "tensor(float)", [2])
    pictures = Tensor("pictures", "tensor(uint8)", ["n", 4, 4, 3])
    for inputs, batched in (
        ([crops], True),
        ([crops, weights], False),
        ([pictures], False),
    ):
        made = read(config("m", inputs, [images], {}))
        assert (made.max_batch_size > 0) is batched
        assert list(made.input[0].dims) == ([4, 4, 3] if batched else [-1, 4, 4, 3])


def test_names_of_any_script_survive(read):
    names = json.dumps(['a"b\\', "Zoë", "明"])
    made = read(config("m", [], [Tensor("x", "tensor(float)", ["b"])], {"personas": names}))
    assert made.parameters[0].value.string_value == names


def test_what_cannot_be_laid_out_is_refused_and_leaves_nothing(faceswap, tmp_path):
    mean_artifact(tmp_path / "mean")
    code, _, err = faceswap("triton", tmp_path / "mean", f"--output={tmp_path}")
    assert code == 2 and "is there already" in err
    code, _, err = faceswap("triton", tmp_path, f"--output={tmp_path / 'models'}")
    assert code == 2 and "holds no artifact" in err

    artifact = Artifact.load(tmp_path / "mean")
    Artifact(**vars(artifact) | {"formats": {"safetensors": {}}}).save(tmp_path / "mean")
    code, _, err = faceswap("triton", tmp_path / "mean", f"--output={tmp_path / 'models'}")
    assert code == 2 and "has no onnx" in err
    assert not (tmp_path / "models").exists()
