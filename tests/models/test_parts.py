"""Part encoders: what each of them sees, and that its latents tell of nothing else."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import parts as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH, RIGHT_EYE
from faceswap_jax.models import comb, parts
from faceswap_jax.models.autoencoder import grow
from faceswap_jax.ops.resample import downsample
from tests.support.drawn import drawn

SIZES = {"model.width": 1 / 64, "model.latent": 8, "model.part_latent": 4}


def network(level=3, **changes):
    c = experiment.get_config()
    c.update_from_flattened_dict(SIZES | {f"model.{name}": v for name, v in changes.items()})
    return parts.Network.build(c, level, 2, jnp.float32)


def faces(side=32, count=2):
    """Noise, with landmarks where crops have them."""
    image = jax.random.uniform(jax.random.key(0), (count, side, side, 3))
    places = np.full((68, 2), 0.5)
    places[RIGHT_EYE] = (0.35, 0.35)
    places[LEFT_EYE] = (0.65, 0.35)
    places[MOUTH] = (0.5, 0.72)
    spread = np.random.default_rng(0).normal(0, 0.02, (count, 68, 2))
    return image, jnp.array((places + spread) * side, jnp.float32)


@partial(jax.jit, static_argnums=0)
def encode(net, params, image, landmarks, alpha=1.0):
    return net.encode(params, {"image": image, "landmarks": landmarks}, alpha)


@pytest.fixture(scope="module")
def trained():
    net = network()
    return net, drawn(net.init, 1)


def test_at_the_published_sizes_four_latents_of_128_are_one_of_512():
    net = parts.Network.build(experiment.get_config(), 8, 2, jnp.float32)
    assert net.latent == net.config.latent == 512
    assert list(net.encoders.of_each()) == ["left_eye", "right_eye", "mouth", "remainder"]


@pytest.mark.parametrize(
    ("place", "own"), [((0.5, 0.72), slice(8, 12)), ((0.5, 0.1), slice(12, 20))]
)
def test_what_changes_in_one_part_moves_its_latents_alone(trained, place, own):
    net, params = trained
    image, landmarks = faces()
    x, y = (int(32 * p) for p in place)
    changed = image.at[:, y - 2 : y + 2, x - 2 : x + 2].set(0.0)

    moved = encode(net, params, changed, landmarks) != encode(net, params, image, landmarks)
    assert moved[:, own].any()
    assert not moved.at[:, own].set(False).any()


def test_a_part_looks_the_same_wherever_the_landmarks_have_it(trained):
    net, params = trained
    image, landmarks = faces()
    shifted = encode(net, params, jnp.roll(image, (1, -2), (1, 2)), landmarks + jnp.array([-2, 1]))
    z = encode(net, params, image, landmarks)
    np.testing.assert_allclose(shifted[:, :12], z[:, :12], atol=1e-4)
    assert np.abs(shifted[:, 12:] - z[:, 12:]).max() > 1e-3


def test_growing_changes_no_latents_at_alpha_zero():
    old = network(1)
    params = drawn(old.init, 0)
    for level in range(2, 4):
        net = network(level)
        image, landmarks = faces(net.resolution, count=1)
        grown = grow(params, drawn(net.init, level))
        small = downsample(image), (landmarks - 0.5) / 2
        before = encode(old, params, *small)
        np.testing.assert_allclose(encode(net, grown, image, landmarks, 0.0), before, atol=1e-5)
        assert np.abs(encode(net, grown, image, landmarks, 1.0) - before).max() > 1e-3
        old, params = net, grown


def test_one_encoder_may_serve_both_eyes():
    net = network(parts=("eyes", "mouth"))
    assert net.latent == 16
    params = jax.eval_shape(net.init, jax.random.key(0))
    shapes = comb.Network(net.encoders.remainder).init
    remains = jax.eval_shape(shapes, jax.random.key(0))["encoder"]
    names = {name for name in params["encoder"] if name.startswith("remainder_")}
    assert names == {f"remainder_{name}" for name in remains}


@pytest.mark.parametrize("names", [(), ("nose",), ("mouth", "mouth")])
def test_parts_that_make_no_face_are_refused(names):
    with pytest.raises(InputError, match=r"model.parts.*left_eye"):
        network(parts=names)


def test_faces_of_four_pixels_have_no_parts():
    with pytest.raises(InputError, match=r"config.level_steps.*level 1"):
        network(0)


def test_channels_of_parts_that_do_not_reach_the_level_are_refused():
    with pytest.raises(InputError, match=r"model.part_channels is \(8, 8\).*0 to 2"):
        network(part_channels=(8, 8))
