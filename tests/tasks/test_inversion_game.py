"""Styles against a discriminator: who pays for what, which of them it meets, and the pool that it meets some from."""

import jax
import jax.numpy as jnp
import numpy as np

from faceswap_jax.models import style_discriminator
from faceswap_jax.tasks.inversion_game import of_discriminator, of_encoder, pooled, singles

BATCH, LAYERS, LATENT = 4, 3, 5
WEIGHTS = style_discriminator.init(LATENT, jax.random.key(0))
W = jax.random.normal(jax.random.key(1), (BATCH, LAYERS, LATENT))


def verdicts(w):
    return np.asarray(style_discriminator.apply(WEIGHTS, w), np.float64)


def test_the_encoder_pays_for_the_styles_that_have_begun():
    for begun in (1, 2, LAYERS):
        expected = np.log1p(np.exp(-verdicts(W[:, :begun]))).mean()
        np.testing.assert_allclose(of_encoder(WEIGHTS, W, begun), expected, rtol=1e-5)
    of_weights, of_styles = jax.grad(of_encoder, (0, 1))(WEIGHTS, W, 2)
    assert not any(leaf.any() for leaf in jax.tree.leaves(of_weights))
    assert of_styles[:, :2].all() and not of_styles[:, 2].any()


def test_the_discriminator_pays_for_what_it_takes_for_the_other_and_for_its_slopes():
    real, fake = W[:, 0], W[:, 1]
    loss, terms = of_discriminator(WEIGHTS, real, fake, 0)
    expected = np.log1p(np.exp(-verdicts(real))) + np.log1p(np.exp(verdicts(fake)))
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    assert terms == {"discriminator": loss}

    slopes = jax.vmap(jax.grad(lambda w: style_discriminator.apply(WEIGHTS, w)))(real)
    held, terms = of_discriminator(WEIGHTS, real, fake, 10.0)
    np.testing.assert_allclose(terms["penalty"], (slopes**2).sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(held, loss + 5 * terms["penalty"], rtol=1e-5)


def test_it_meets_one_style_of_each_image():
    met = set()
    for seed in range(8):
        chosen = singles(W, 2, jax.random.key(seed))
        is_it = (chosen[:, None] == W).all(-1)
        assert (is_it.sum(1) == 1).all()
        met |= set(is_it.argmax(1).tolist())
    assert met == {0, 1}


def test_a_pool_is_filled_and_then_changes_half_of_what_it_is_given():
    """Nothing is lost: what is not shown is in the pool."""
    pool = jnp.zeros((6, 1))
    changed = []
    for step in range(40):
        w = 1.0 + jnp.arange(4 * step, 4 * step + 4)[:, None]
        shown, after = pooled(pool, w, step, jax.random.key(step))
        if step < 2:
            np.testing.assert_array_equal(shown, w)
            assert set(w.ravel().tolist()) <= set(after.ravel().tolist())
        else:
            before, now = jnp.concatenate([pool, w]), jnp.concatenate([after, shown])
            assert sorted(before.ravel().tolist()) == sorted(now.ravel().tolist())
            changed.append(float((shown != w).mean()))
        pool = after
    assert 0.35 < np.mean(changed) < 0.65
