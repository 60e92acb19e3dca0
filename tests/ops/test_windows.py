"""Square windows against an independent sampler."""

import jax.numpy as jnp
import numpy as np
from scipy.ndimage import map_coordinates

from faceswap_jax.ops.windows import window, without


def test_a_window_is_sampled_linearly_and_ends_at_the_images_border():
    image = np.random.default_rng(1).random((3, 12, 16, 2), np.float32)
    centre = np.array([(7.3, 5.1), (0.5, 11.0), (15.5, 2.0)], np.float32)
    found = window(jnp.array(image), jnp.array(centre), width=5.5, side=8)

    steps = (np.arange(8) - 3.5) * 5.5 / 8
    for one, (x, y), got in zip(image, centre, found, strict=True):
        places = np.meshgrid(y + steps, x + steps, indexing="ij")
        for channel in range(2):
            wanted = map_coordinates(one[..., channel], places, order=1, mode="nearest")
            np.testing.assert_allclose(got[..., channel], wanted, atol=1e-5)


def test_what_remains_is_grey_in_the_window_and_untouched_beside_it():
    image = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    found = np.array(without(jnp.array(image), jnp.array([(10.0, 20.0), (10.5, 20.0)]), width=7.0))
    assert np.allclose(found[:, 17:24, 8:14], 0.5)
    found[:, 16:25, 6:15] = image[:, 16:25, 6:15]
    np.testing.assert_array_equal(found, image)
