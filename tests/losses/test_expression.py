"""What is read from latents of the measures of expressions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceswap_jax.faces import expression as in_numpy
from faceswap_jax.faces import ibug
from faceswap_jax.faces.neutral import NEUTRAL_FACE
from faceswap_jax.losses import expression

NAMES = list(expression.MEASURES)


def test_measures_are_those_of_numpy():
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(0, 100, (5, 68, 2)).astype(np.float32)
    irises = rng.uniform(0, 100, (5, 2, 2)).astype(np.float32)
    irises[3] = np.nan
    expected = in_numpy.measures(landmarks, irises)
    found = expression.measures(jnp.array(landmarks), jnp.array(irises))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def told():
    """Latents that tell all measures of some images, and the kernel that reads them."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 30)).astype(np.float32)
    kernel = rng.normal(size=(30, len(NAMES))).astype(np.float32)
    spread = np.array(list(expression.MEASURES.values()))
    return jnp.array(z), jnp.array(kernel), jnp.array((z @ kernel + 5) * spread, jnp.float32)


def test_nothing_is_unread_that_latents_tell_but_for_what_a_persona_always_has(told):
    z, kernel, wanted = told
    assert expression.unread(z, kernel, wanted) < 1e-6
    assert expression.unread(z, kernel, wanted + jnp.arange(len(NAMES))) < 1e-5


def test_unread_is_the_variance_of_the_error_and_skips_what_is_unknown(told):
    z, kernel, wanted = told
    spread = np.array(list(expression.MEASURES.values()))
    noise = np.random.default_rng(1).normal(size=wanted.shape)
    noise[2, 4] = noise[1:, 7] = np.nan
    expected = np.nan_to_num((noise - np.nanmean(noise, 0)) ** 2).mean()

    def loss(z):
        return expression.unread(z, kernel, wanted + noise * spread)

    value, gradient = jax.value_and_grad(loss)(z)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_face_at_rest_is_where_measures_count_from():
    eyes = [NEUTRAL_FACE[eye].mean(0) for eye in (ibug.RIGHT_EYE, ibug.LEFT_EYE)]
    at_rest = expression.from_rest(jnp.array(NEUTRAL_FACE), jnp.stack(eyes))
    np.testing.assert_allclose(at_rest, 0, atol=1e-4)

    # The lower lip falls: the mouth is open by so many spreads.
    open_mouth = NEUTRAL_FACE.copy()
    open_mouth[66, 1] += 0.1
    moved = expression.from_rest(jnp.array(open_mouth), jnp.stack(eyes))
    changed = {NAMES[i] for i in np.flatnonzero(np.abs(moved) > 1e-3)}
    assert changed == {"mouth_corners", "mouth_open"} and moved[NAMES.index("mouth_open")] > 0


def test_squared_errors_skip_what_is_unknown_also_in_their_slopes():
    wanted = jnp.array([[1.0, np.nan], [3.0, 2.0]])
    told = jnp.array([[2.0, 5.0], [3.0, 4.0]])
    np.testing.assert_allclose(expression.squared_errors(told, wanted), [0.5, 4])
    slope = jax.grad(lambda told: expression.squared_errors(told, wanted).sum())(told)
    np.testing.assert_allclose(slope, [[1, 0], [0, 4]])
