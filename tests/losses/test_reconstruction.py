"""What a closer look at parts of images counts."""

import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.losses import reconstruction


@pytest.fixture
def pictures():
    """Smooth images with a small dark dot, and the same without it."""
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.random((2, 8, 8, 3)), 8, 1), 8, 2).astype(np.float32)
    dotted = smooth.copy()
    dotted[:, 20:23, 30:33] = 0
    return jnp.array(dotted), jnp.array(smooth)


def look(x, y, at, width=16.0):
    centre = jnp.full((len(x), 2), jnp.array(at, jnp.float32))
    return reconstruction.closer(x, y, [centre], [width])


def test_equal_images_differ_in_no_window_and_others_only_where_they_do(pictures):
    dotted, smooth = pictures
    assert np.abs(look(dotted, dotted, (31, 21))).max() < 1e-6
    assert np.abs(look(dotted, smooth, (12, 50))).max() < 1e-6
    assert look(dotted, smooth, (31, 21)).min() > 0.01


def test_what_is_small_counts_more_than_in_the_whole_image(pictures):
    closer = look(*pictures, (31, 21))
    assert (closer > 3 * reconstruction.dissimilarity(*pictures)).all()


def test_several_windows_count_alike(pictures):
    dotted, smooth = pictures
    centres = [jnp.full((2, 2), jnp.array(at)) for at in ((31.0, 21.0), (12.0, 50.0))]
    both = reconstruction.closer(dotted, smooth, centres, [16.0, 16.0])
    np.testing.assert_allclose(2 * both, look(dotted, smooth, (31, 21)), rtol=1e-4)
