"""Sampling at places: against SciPy, numeric gradients, and ends of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from scipy.ndimage import map_coordinates

from faceswap_jax.ops.resample import upsample_linear
from faceswap_jax.ops.sampling import identity_places, sample
from faceswap_jax.parallel.mesh import make_mesh

BATCH, HEIGHT, WIDTH = 8, 5, 7


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((BATCH, HEIGHT, WIDTH, 3), np.float32)


@pytest.fixture(scope="module")
def places():
    """Some of them outside, and some far away."""
    drawn = np.random.default_rng(1).uniform(-1.4, 1.4, (BATCH, 4, 6, 2)).astype(np.float32)
    drawn[0, 0, :2] = [[1e6, 0], [0, -1e6]]
    return drawn


def in_pixels(places):
    return (places[..., 1] + 1) / 2 * (HEIGHT - 1), (places[..., 0] + 1) / 2 * (WIDTH - 1)


def test_samples_are_scipys_with_zeros_outside(images, places):
    found = jax.jit(sample)(images, places)
    for b in range(BATCH):
        y, x = in_pixels(places[b])
        for channel in range(3):
            wanted = map_coordinates(images[b, ..., channel], [y, x], order=1, mode="grid-constant")
            np.testing.assert_allclose(found[b, ..., channel], wanted, atol=1e-6)


def test_the_identity_changes_nothing(images):
    places = np.broadcast_to(identity_places(HEIGHT, WIDTH), (BATCH, HEIGHT, WIDTH, 2))
    np.testing.assert_allclose(sample(images, places), images, atol=1e-6)


def test_gradients_are_those_of_scipys_differences(images, places):
    """Of places between pixels; the sum over all samples is linear in the images, and piecewise so in the places."""
    pull = np.random.default_rng(2).normal(size=(4, 6, 3)).astype(np.float32)

    def loss(image, places):
        return (sample(image[None], places[None])[0] * pull).sum()

    def scipys(image, places):
        y, x = in_pixels(places)
        channels = [
            map_coordinates(image[..., c], [y, x], order=1, mode="grid-constant") for c in range(3)
        ]
        return (np.stack(channels, -1) * pull).sum(-1), (np.stack(channels, -1) * pull).sum()

    image, at = images[1].astype(np.float64), places[1].astype(np.float64)
    of_image, of_places = jax.jit(jax.grad(loss, argnums=(0, 1)))(images[1], places[1])

    step = 1e-5
    for axis in range(2):
        moved = step * np.eye(2)[axis]
        slope = (scipys(image, at + moved)[0] - scipys(image, at - moved)[0]) / (2 * step)
        np.testing.assert_allclose(of_places[..., axis], slope, rtol=1e-3, atol=1e-3)
    for pixel in ((0, 0, 0), (2, 3, 1), (4, 6, 2)):
        raised = image.copy()
        raised[pixel] += 1
        slope = scipys(raised, at)[1] - scipys(image, at)[1]
        np.testing.assert_allclose(of_image[pixel], slope, atol=1e-5)


def test_at_the_centre_of_a_pixel_the_slope_is_that_towards_the_next():
    """An untrained sampler looks exactly there."""
    ramp = jnp.broadcast_to(jnp.arange(5.0) ** 2, (5, 5))[None, ..., None]
    places = identity_places(5, 5)[None]
    slope = jax.grad(lambda places: sample(ramp, places)[0, 2, 2, 0])(jnp.asarray(places))
    # From 4 to 9 over half of a unit
    np.testing.assert_allclose(slope[0, 2, 2], [10, 0], atol=1e-4)


def test_devices_sample_their_own_images(images, places):
    """Nothing is gathered, neither forward nor backward."""
    mesh = make_mesh()
    by_data = NamedSharding(mesh, P("data"))

    def loss(images, places):
        return (sample(images, places) ** 2).sum()

    alone = jax.grad(loss, argnums=(0, 1))(images, places)
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), in_shardings=(by_data, by_data))
    compiled = gradient.lower(images, places).compile()
    for one, other in zip(alone, compiled(images, places), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert "all-gather" not in compiled.as_text()


def test_linear_upsampling_is_that_of_jax(images):
    wanted = jax.image.resize(images, (BATCH, 2 * HEIGHT, 2 * WIDTH, 3), "linear")
    np.testing.assert_allclose(upsample_linear(images), wanted, atol=1e-6)
