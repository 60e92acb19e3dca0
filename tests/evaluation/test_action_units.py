"""A network of the user's that reads action units."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from data_pipelines.puppets import samples
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.action_units import ActionUnits
from faceswap_jax.faces import align
from tests.support.artifacts import model_of

SIDE = 24


def write_network(path, side=SIDE, batch=1, second=()):
    """Tells the mean of each colour, and the whole face as a second output."""
    nodes = [
        helper.make_node("ReduceMean", ["face", "axes"], ["units"], keepdims=0),
        helper.make_node("Identity", ["face"], ["copy"]),
    ]
    shape = [batch, 3, side, side]
    inputs = [helper.make_tensor_value_info("face", TensorProto.FLOAT, shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in second]
    outputs = [helper.make_tensor_value_info("units", TensorProto.FLOAT, [batch, 3])]
    outputs += [helper.make_tensor_value_info("copy", TensorProto.FLOAT, shape)]
    onnx.save(model_of(nodes, inputs, outputs, {"axes": np.array([2, 3])}), path)
    return path


@pytest.mark.parametrize("batch", [1, "b"])
def test_it_reads_faces_as_imagenet_has_them_and_none_where_none_is_seen(tmp_path, batch):
    units = ActionUnits(write_network(tmp_path / "units.onnx", batch=batch))
    frames = [samples.sample_frame(7, number, 64) for number in (2, 7)]
    images = np.stack([frame.image for frame in frames])
    landmarks = np.stack([frame.landmarks for frame in frames])
    landmarks[1] = np.nan
    read = units(images, landmarks)
    crop = align.cut_face(images[0], landmarks[0], SIDE, "ffhq") / 255
    expected = (crop.mean((0, 1)) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(read[0], expected, rtol=1e-4)
    assert read.shape == (2, 3) and np.isnan(read[1]).all()
    assert np.isnan(units(images, np.full_like(landmarks, np.nan))).all()


@pytest.mark.parametrize("given", [{"side": "s"}, {"batch": 4}, {"second": ("more",)}])
def test_other_networks_are_refused(tmp_path, given):
    path = write_network(tmp_path / "units.onnx", **given)
    with pytest.raises(InputError, match=rf"{path}.* takes \[.*give a network from a face"):
        ActionUnits(path)


def test_what_is_no_network_is_refused(tmp_path):
    path = tmp_path / "units.onnx"
    path.write_text("nothing")
    with pytest.raises(InputError, match=str(path)):
        ActionUnits(path)
