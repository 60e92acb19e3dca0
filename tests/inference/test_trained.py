"""Generators from the folders of runs."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Edit, Faces, Who
from faceswap_jax.inference.trained import TrainedGenerator, load
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.base import Synthesis
from tests.support import toy
from tests.support.tiny_run import RESOLUTION


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, RESOLUTION, RESOLUTION, 3), np.uint8)


def test_a_generator_needs_no_data(run, crops, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["path"] = str(tmp_path / "gone")
    (workdir / "config.json").write_text(json.dumps(config))
    generator = load(workdir)
    assert (generator.resolution, generator.placement, generator.step) == (RESOLUTION, "blended", 8)
    ada, ben = (generator.identity(Who({name: 1.0})) for name in ("ada", "ben"))
    images = generator(ada, Faces(crops=crops))
    assert images.shape == crops.shape and images.dtype == np.uint8
    assert (images != generator(ben, Faces(crops=crops))).any()


def test_an_earlier_checkpoint(run, crops):
    earlier, newest = load(run, 6), load(run)
    assert (earlier.step, newest.step) == (6, 8)
    ada = newest.identity(Who({"ada": 1.0}))
    assert (earlier(ada, Faces(crops=crops)) != newest(ada, Faces(crops=crops))).any()


def test_what_an_edit_says_reaches_the_task():
    def images(variables, identity, inputs, shift):
        smile = 0.0 if shift is None else shift[:, 1]
        return jnp.broadcast_to(variables["most"] * smile, (2, 2, 3, 2)).T

    synthesis = Synthesis("eyes", 2, "whole", ("pose",), (), images)
    generator = TrainedGenerator(synthesis, {"most": 100 / 255}, 0, make_mesh())
    faces = Faces(pose=np.zeros((2, 3), np.float32))
    shift = np.float32([[9, 0.5], [9, 0.25]])
    assert generator(None, faces, Edit(shift)).max((1, 2, 3)).tolist() == [50, 25]
    assert generator(None, faces).max() == 0


def test_latents_are_those_that_images_are_made_of(run, crops):
    """And a shift from one face's latents to another's makes the other's image."""
    generator = load(run)
    assert list(generator.parts) == ["face"]
    z = generator.latents(Faces(crops=crops))
    assert z.shape == (3, generator.parts["face"].stop)

    ada = generator.identity(Who({"ada": 1.0}))
    images = generator(ada, Faces(crops=crops))
    shifted = generator(ada, Faces(crops=crops), Edit(np.roll(z, -1, 0) - z))
    np.testing.assert_allclose(shifted.astype(int), np.roll(images, -1, 0), atol=1)
    np.testing.assert_array_equal(generator(ada, Faces(crops=crops), Edit(0 * z)), images)


def test_the_digest_tells_weights_apart(run):
    assert load(run).digest == load(run).digest != load(run, 6).digest


def test_a_run_without_images_is_refused_before_a_checkpoint_is_read(tmp_path):
    configs.save(toy.config(), tmp_path / "config.json")
    with pytest.raises(InputError, match=f"{tmp_path}.*makes no images.*--workdir"):
        load(tmp_path)


def test_a_folder_without_a_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}.* holds no run"):
        load(tmp_path)
    empty = shutil.copytree(run, tmp_path / "empty", ignore=shutil.ignore_patterns("6", "8"))
    with pytest.raises(InputError, match=f"{empty}.* no checkpoint"):
        load(empty)
