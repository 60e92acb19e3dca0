"""Systems that are not trained here: their programs are the same in every format, for mixes and pictures too."""

from functools import partial

import jax
import numpy as np
import pytest

from experiments import attribute, tunable, x2face
from faceswap_jax.artifacts import archive, onnx, parity, stablehlo
from faceswap_jax.artifacts.export import compiled
from faceswap_jax.artifacts.programs import BATCH, Input, Program, programs
from faceswap_jax.artifacts.runtime import run_of
from faceswap_jax.inference.trained import TrainedGenerator
from faceswap_jax.models import blendshapes as model
from faceswap_jax.pretrained import blendshapes
from faceswap_jax.tasks.registry import load_task
from tests.support.drawn import drawn, drawn_state
from tests.support.frozen import EXPRESSION, IDENTITY
from tests.support.small_comb import one_device
from tests.support.tiny_latent import inversion_config, transfer_config

pytest.importorskip("jax2onnx")


def tunable_config():
    """Part encoders before a decoder whose first kernels are made of codes."""
    c = tunable.get_config()
    c.personas = ("a", "b", "c")
    c.model.update(width=1 / 64, latent=8, part_latent=4, tuning="weights", code=5, made=1)
    c.update(level_steps=(0, 4), final_steps=0)
    return c


def x2face_config():
    c = x2face.get_config()
    c.identities = ("a", "b")
    c.model.update(resolution=16, width=1 / 16, inner=8, vector=6)
    c.loss.embedder = ""
    c.update(steps=2, content_steps=0)
    return c


def attribute_config():
    c = attribute.get_config()
    c.identities = ("a", "b")
    c.model.update(resolution=16, levels=3, width=1 / 16)
    c.model.discriminator.update(halvings=2, scales=1, width=1 / 16)
    c.model.hidden = ("eyes", "mouth")
    c.features.expression = "given"
    c.shapes = {"identity": IDENTITY, "expression": EXPRESSION}
    return c


def untrained(config) -> TrainedGenerator:
    """Of weights that are nowhere zero."""
    task = load_task(config)
    phase = task.phases[-1]
    variables = jax.tree.map(np.asarray, task.variables(phase, drawn_state(task, phase)))
    return TrainedGenerator(task.synthesis(phase), variables, 1, one_device())


@pytest.mark.parametrize(
    "config",
    [tunable_config, x2face_config, attribute_config, inversion_config, transfer_config],
)
def test_programs_are_the_same_in_every_format(config, tmp_path):
    generator = untrained(config())
    made = programs(generator)
    reference = compiled(made, generator.variables)
    stored = archive.stored(generator.variables, "float32")
    archive.write(tmp_path, config(), stored)
    stablehlo.write(tmp_path, made, stored)
    onnx.write(tmp_path, made, stored, {})
    for kind in ("stablehlo", "onnx"):
        found = parity.differences(generator, made, reference, run_of(tmp_path, kind, list(made)))
        assert found.keys() == {*made, parity.WORST} and max(found.values()) < 1e-4


@pytest.mark.slow
def test_blendshapes_of_crops_are_the_same_in_onnx(tmp_path, monkeypatch):
    """A system that reads them off its faces takes them along; here a small one."""
    for name, small in {"SIDE": 64, "STAGES": (16, 32, 64), "BLOCKS": 1, "MIXINGS": 1}.items():
        monkeypatch.setattr(model, name, small)
    # A function of its own: JAX remembers what it has traced.
    params = drawn(lambda key: model.init(key), 0)
    read = partial(blendshapes.vectors, blendshapes.WINDOWS["eyes"])
    crops = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    program = Program(
        lambda variables, arrays: {"vectors": read(variables, arrays["crops"])},
        {"crops": Input((BATCH, *crops.shape[1:]), "float32")},
        ["vectors"],
    )
    onnx.write(tmp_path, {"read": program}, archive.stored(params, "float32"), {})
    found = run_of(tmp_path, "onnx", ["read"])("read", {"crops": crops})
    np.testing.assert_allclose(found["vectors"], jax.jit(read)(params, crops), atol=1e-3)
