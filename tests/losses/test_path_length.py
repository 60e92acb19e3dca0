"""Path lengths: of a linear generator, whose slopes are known, and their second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.losses.path_length import path_lengths

SIDE, LAYERS, LATENT = 4, 3, 5


def test_lengths_are_those_of_the_slopes_in_the_drawn_direction():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(LAYERS * LATENT, SIDE * SIDE * 3)).astype(np.float32)
    w = rng.normal(size=(2, LAYERS, LATENT)).astype(np.float32)

    def lengths(matrix):
        def generate(w):
            return (w.reshape(2, -1) @ matrix).reshape(2, SIDE, SIDE, 3)

        return path_lengths(generate, w, jax.random.key(0))

    directions = jax.random.normal(jax.random.key(0), (2, SIDE, SIDE, 3)).reshape(2, -1) / SIDE
    slopes = np.asarray(directions @ matrix.T).reshape(2, LAYERS, LATENT)
    expected = np.sqrt((slopes**2).sum(-1).mean(-1))
    np.testing.assert_allclose(lengths(matrix), expected, rtol=1e-4)

    # They are proportional to the matrix.
    slope = jax.grad(lambda matrix: lengths(matrix).sum())(matrix)
    np.testing.assert_allclose(jnp.vdot(slope, matrix), expected.sum(), rtol=1e-4)
