"""ReStyle's public weights: the inversions that plain NumPy makes of them, shapes, both formats, what is refused."""

from functools import partial

import jax
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.models import restyle
from faceswap_jax.models.psp import EncoderConfig
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.pretrained import inversion, stylegan2
from faceswap_jax.pretrained import restyle as pretrained
from tests.support.plain_restyle import (
    CHANNELS,
    LATENT,
    RESOLUTION,
    SIDE,
    invert,
    random_tensors,
    write,
    write_restyle,
)

LAYERS = 6


@pytest.fixture(scope="module")
def tensors(tmp_path_factory):
    return write_restyle(tmp_path_factory.mktemp("restyle") / "restyle.npz")


def written(path, tensors):
    write(path, tensors)
    return path


def test_inversions_are_those_of_plain_numpy(tmp_path, tensors):
    path = written(tmp_path / "restyle.safetensors", tensors)
    config, weights = inversion.load_for(str(path), "ffhq")
    assert config.refinements == 5  # as published

    # Refinements are compiled once, not in a row.
    begin = jax.jit(partial(restyle.begin, config), static_argnums=1)
    refine = jax.jit(partial(restyle.refine, config))
    pictures = np.random.default_rng(1).random((1, SIDE, SIDE, 3), np.float32)
    made = begin(weights["generator"], 1)
    expected = invert(tensors, np.float64(2 * pictures[0] - 1).transpose(2, 0, 1), 3)
    assert np.abs(expected[-1][0] - expected[0][0]).mean() > 0.1
    for styles, image in expected:
        np.testing.assert_allclose(made.styles[0], styles, rtol=1e-4, atol=1e-4)
        found = (2 * made.images[0] - 1).transpose(2, 0, 1)
        np.testing.assert_allclose(found, image, rtol=1e-4, atol=1e-3)
        made, _ = refine(**weights, pictures=pictures, made=made)


def test_the_shape_is_that_of_the_tensors(tmp_path, tensors):
    config, weights = pretrained.read(written(tmp_path / "a.safetensors", tensors))
    c = config.encoder
    assert (c.stem, c.blocks, c.channels, c.side) == (16, (1, 2), (16, 32), SIDE)
    assert (c.styles, c.latent, c.inputs) == (LAYERS, LATENT, 6)
    assert {side: config.generator.channels(side) for side in CHANNELS} == CHANNELS
    fresh = jax.eval_shape(lambda: inversion.init(config, jax.random.key(0)))
    assert jax.tree.map(np.shape, weights) == jax.tree.map(np.shape, fresh)

    # In the other format, with the mean style once
    once = tensors | {"latent_avg": tensors["latent_avg"][0]}
    other, same = pretrained.read(written(tmp_path / "b.npz", once))
    assert other == config
    jax.tree.map(np.testing.assert_array_equal, same, weights)


def test_names_are_those_of_the_published_encoder():
    names = [tensor.name for tensor in pretrained.encoder_tensors(EncoderConfig())]
    # Of the stem, 24 blocks of which three change the number of channels, and 18 heads
    assert len(set(names)) == len(names) == 6 + 24 * 13 + 3 * 5 + 18 * 10
    projecting = [name for name in names if name.endswith("shortcut_layer.0.weight")]
    assert projecting == [f"body.{number}.shortcut_layer.0.weight" for number in (3, 7, 21)]
    head = [f"convs.{n}.{leaf}" for n in (0, 2, 4, 6) for leaf in ("weight", "bias")]
    head += ["linear.weight", "linear.bias"]
    assert names[-10:] == [f"styles.17.{name}" for name in head]


def test_the_published_shape_is_told():
    state = {"encoder.input_layer.0.weight": (64, 6, 3, 3)}
    outs = [64] * 3 + [128] * 4 + [256] * 14 + [512] * 3
    for number, out in enumerate(outs):
        state[f"encoder.body.{number}.res_layer.1.weight"] = (out, out, 3, 3)
    for n in range(4):
        state[f"encoder.styles.0.convs.{2 * n}.weight"] = (512, 512, 3, 3)
    state = {name: np.broadcast_to(np.float32(0), shape) for name, shape in state.items()}
    assert pretrained._encoder(state) == EncoderConfig()
    assert StyleGAN2Config().layers == EncoderConfig().styles


def test_files_of_another_layout_are_refused_by_the_first_tensor_that_differs(tmp_path, tensors):
    path = tmp_path / "restyle.npz"

    def without(*beginnings):
        return {k: v for k, v in tensors.items() if not k.startswith(beginnings)}

    def zeros(name, *shape):
        return tensors | {name: np.zeros(shape, np.float32)}

    block, head = "encoder.body.1", "encoder.styles.3"
    means = tensors["latent_avg"] + np.arange(LAYERS, dtype=np.float32)[:, None]
    for changed, message in (
        # Another encoder, an encoder alone, a state without what lies beside it
        (without("encoder."), "'encoder.input_layer.0.weight' is missing"),
        (without("decoder."), r"no tensors 'decoder\.\*', the generator"),
        (without("latent_avg"), "'latent_avg' is missing, which checkpoints have beside"),
        (tensors | {"latent_avg": means}, "rows of 'latent_avg', .* are not the same"),
        (zeros("encoder.input_layer.0.weight", 16, 3, 3, 3), r"has the shape \(16, 3, 3, 3\)"),
        # Of the encoder
        (without("encoder.body"), "'encoder.body.0.res_layer.1.weight' is missing"),
        (without(f"{block}.shortcut_layer"), f"'{block}.shortcut_layer.0.weight' is missing"),
        (zeros(f"{head}.linear.bias", 7), rf"'{head}.linear.bias' has the shape \(7,\)"),
        (without("encoder.styles"), "'encoder.styles.0.convs.0.weight' is missing"),
        (without("encoder.styles.5"), "'encoder.styles.5.convs.0.weight' is missing"),
        (zeros("encoder.styles.6.linear.bias", 6), "'encoder.styles.6.linear.bias' belongs to no"),
        # Of the decoder
        (without("decoder.conv1.noise"), "of its decoder the tensor 'conv1.noise.weight' is mi"),
        (tensors | {"latent_avg": means[:, :5] * 0}, r"'latent_avg' has the shape \(5,\)"),
    ):
        written(path, changed)
        with pytest.raises(InputError, match=f"'{path}' is no ReStyle.*{message}.*transfer.md"):
            pretrained.read(path)


def test_an_encoder_that_reads_more_than_its_decoder_makes_is_refused(tmp_path):
    small = random_tensors(8, CHANNELS, LATENT, stem=16, stages=[(1, 16)], halvings=3)
    path = written(tmp_path / "restyle.npz", small)
    with pytest.raises(InputError, match="reads pictures of 16 px, its decoder makes 8"):
        pretrained.read(path)


def test_pickles_other_files_and_other_alignments_are_refused(tmp_path, tensors):
    for name, message in (
        ("restyle_psp_ffhq_encode.pt", r"may be a pickle, .*docs/transfer.md"),
        ("restyle.onnx", r"holds no ReStyle; give a run's folder, or .* \.safetensors or \.npz"),
        ("none.npz", "There is no file"),
    ):
        with pytest.raises(InputError, match=message):
            inversion.load_for(str(tmp_path / name), "ffhq")
    path = written(tmp_path / "restyle.npz", tensors)
    with pytest.raises(InputError, match=r"is 'eyes', but .*'ffhq'; set config\.alignment=ffhq"):
        inversion.load_for(str(path), "eyes")
    # A generator alone
    decoder = {k.removeprefix("decoder."): v for k, v in tensors.items() if "decoder." in k}
    alone = written(tmp_path / "stylegan2.npz", decoder | {"latent_avg": tensors["latent_avg"][0]})
    assert stylegan2.load(alone).config.resolution == RESOLUTION
    with pytest.raises(InputError, match=r"'encoder.input_layer.0.weight' is missing"):
        inversion.load_for(str(alone), "ffhq")
