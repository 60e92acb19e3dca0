"""StyleGAN2 from files and runs: shapes, both formats, what is refused. models/test_stylegan2.py has numbers."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from faceswap_jax.errors import InputError
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.pretrained.stylegan2 import load
from tests.support import tiny_stylegan2
from tests.support.plain_stylegan2 import random_tensors

CHANNELS = {4: 6, 8: 6, 16: 4}


@pytest.fixture(scope="module")
def tensors():
    return random_tensors(16, CHANNELS, latent=5, layers=3)


def written(path, tensors):
    save = save_file if path.suffix == ".safetensors" else lambda t, p: np.savez(p, **t)
    save(tensors, path)
    return path


def test_the_shape_is_that_of_the_tensors(tmp_path, tensors):
    weights = load(written(tmp_path / "a.npz", tensors))
    c = weights.config
    assert (c.resolution, c.latent, c.mapping_layers) == (16, 5, 3)
    assert {side: c.channels(side) for side in c.sides} == CHANNELS
    assert weights.discriminator["verdict"]["kernel"].shape == (6, 1)
    np.testing.assert_array_equal(weights.mean, tensors["latent_avg"])

    # A generator alone, in the other format
    alone = {k: v for k, v in tensors.items() if not k.startswith("discriminator.")}
    other = load(written(tmp_path / "b.safetensors", alone))
    assert other.discriminator is None and other.config == c
    jax.tree.map(np.testing.assert_array_equal, other.params, weights.params)


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_published_shapes_are_told(width):
    """By names and shapes alone: config F at 1024 px, and ADA's half of it at 256 px."""
    from faceswap_jax.pretrained import stylegan2 as pretrained

    config = StyleGAN2Config() if width == 1 else StyleGAN2Config(256, 512, 0.5, 2, 1024)
    state = {}
    for i in range(config.mapping_layers):
        state[f"style.{i + 1}.weight"] = np.empty((config.latent, config.latent))
    state["conv1.conv.weight"] = np.empty((1, config.channels(4), config.channels(4), 3, 3))
    for i, side in enumerate(config.sides[1:]):
        state[f"to_rgbs.{i}.conv.weight"] = np.empty((1, 3, config.channels(side), 1, 1))
    assert pretrained._config(state) == config


def test_files_of_another_layout_are_refused_by_the_first_tensor_that_differs(tmp_path, tensors):
    path = tmp_path / "weights.npz"
    wide = tensors | {
        name: np.zeros((1, 7, 6, 3, 3), np.float32)
        for name in ("convs.1.conv.weight", "convs.2.conv.weight")
    }
    for changed, message in (
        (wide, r"'convs.1.conv.weight' has the shape \(1, 7, 6, 3, 3\)"),
        (
            {k: v for k, v in tensors.items() if k != "conv1.noise.weight"},
            "'conv1.noise.weight' is mi",
        ),
        ({k: v for k, v in tensors.items() if k != "latent_avg"}, "'latent_avg'.* is missing"),
        (
            {k: v for k, v in tensors.items() if k != "style.1.weight"},
            "'style.1.weight' is missing",
        ),
        (
            tensors | {"style.1.bias": np.full(5, np.nan, np.float32)},
            "'style.1.bias' is not finite",
        ),
        (tensors | {"more": np.zeros(1, np.float32)}, "'more' belongs to no part"),
        (
            tensors | {"to_rgbs.0.upsample.kernel": np.eye(4, dtype=np.float32)},
            r"not that of \[1, 3",
        ),
        (tensors | {"style.1.bias": np.array([{}], object)}, "allow_pickle"),
    ):
        written(path, changed)
        with pytest.raises(InputError, match=f"'{path}' is no StyleGAN2.*{message}.*stylegan2.md"):
            load(path)

    # A network that is wanted
    written(path, tensors)
    wanted = StyleGAN2Config(32, 5, 1 / 512, 3, 3072)
    with pytest.raises(
        InputError, match=r"no StyleGAN2 of 32 px.*'convs.4.conv.weight' is missing"
    ):
        load(path, wanted)
    with pytest.raises(InputError, match=r"'style.4.weight' is missing"):
        load(path, StyleGAN2Config(16, 5, 1 / 512, 4, 3072))


def test_pickles_and_other_files_are_refused(tmp_path):
    for name in ("ffhq.pkl", "stylegan2-ffhq-config-f.pt"):
        with pytest.raises(InputError, match=r"may be a pickle, .*docs/stylegan2.md"):
            load(tmp_path / name)
    with pytest.raises(InputError, match=r"holds no StyleGAN2; give .* \.safetensors or \.npz"):
        load(tmp_path / "ffhq.onnx")
    with pytest.raises(InputError, match="There is no file"):
        load(tmp_path / "none.npz")
    path = tmp_path / "noise.safetensors"
    path.write_bytes(b"noise")
    with pytest.raises(InputError, match="is no StyleGAN2 that can be used"):
        load(path)


def test_a_run_gives_averaged_weights(tmp_path):
    run = tiny_stylegan2.write_run(tmp_path / "run")
    task, state = tiny_stylegan2.task_and_state()
    weights = load(run)
    assert weights.config == task.model
    jax.tree.map(np.testing.assert_array_equal, weights.params, state.extras["average"])
    jax.tree.map(
        np.testing.assert_array_equal, weights.discriminator, state.params["discriminator"]
    )
    np.testing.assert_array_equal(weights.mean, state.extras["mean_style"])
    with pytest.raises(InputError, match=r"are 8 px, .* and 16 px, .* is wanted"):
        load(run, StyleGAN2Config(16, 6, 1 / 1024, 2, 6000))
