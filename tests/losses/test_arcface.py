"""ArcFace: parity with its equation by angles, the far side of the circle, finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from faceswap_jax.losses.arcface import arcface, cosines


def equation(cosine, labels, scale, margin):
    """Eq. 3 in float64, through the angles."""
    logits = scale * np.asarray(cosine, np.float64)
    right = np.arange(len(labels)), labels
    angle = np.arccos(cosine[right])
    logits[right] = scale * np.cos(angle + margin)
    return logsumexp(logits, axis=1) - logits[right]


@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.5), (16.0, 0.3), (10.0, 0.0)])
def test_it_is_the_equation(scale, margin):
    rng = np.random.default_rng(0)
    embeddings, centres, labels = (
        rng.normal(size=(20, 8)),
        rng.normal(size=(5, 8)),
        rng.integers(5, size=20),
    )
    embeddings[:5] = 3 * centres[labels[:5]] + 0.1 * rng.normal(size=(5, 8))  # nearly right
    lengths = np.linalg.norm(embeddings, axis=1), np.linalg.norm(centres, axis=1)
    expected = embeddings @ centres.T / lengths[0][:, None] / lengths[1]
    cosine = cosines(jnp.float32(embeddings), jnp.float32(centres))
    np.testing.assert_allclose(cosine, expected, atol=1e-6)
    losses = arcface(cosine, labels, scale, margin)
    within = np.arccos(expected[np.arange(20), labels]) + margin < np.pi
    assert within.sum() > 15
    np.testing.assert_allclose(
        losses[within], equation(expected, labels, scale, margin)[within], rtol=1e-4, atol=1e-5
    )


def test_the_loss_falls_all_the_way_to_the_centre():
    """Also where angle and margin exceed pi, from which the cosine of their sum would push the wrong way."""
    right = jnp.cos(jnp.linspace(np.pi - 0.02, 0.02, 200))
    losses = jax.vmap(lambda cosine: arcface(jnp.stack([cosine, 0.0])[None], jnp.array([0]))[0])(
        right
    )
    assert (jnp.diff(losses) <= 0).all() and (jnp.diff(losses[:100]) < 0).all()
    naive = equation(np.stack([right, np.zeros(200)], 1), np.zeros(200, int), 64.0, 0.5)
    assert (np.diff(naive) > 0).any()


@pytest.mark.parametrize("embedding", [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [3e8, 1.0]])
def test_gradients_are_finite_at_the_ends(embedding):
    centres = jnp.array([[2.0, 0.0], [0.0, 1.0]])

    def loss(embedding, centres):
        return arcface(cosines(embedding[None], centres), jnp.array([0]))[0]

    for gradient in jax.grad(loss, (0, 1))(jnp.array(embedding), centres):
        assert jnp.isfinite(gradient).all()


def test_margin_and_wrong_labels_cost():
    rng = np.random.default_rng(1)
    cosine, labels = jnp.float32(rng.uniform(-0.5, 0.5, (50, 4))), rng.integers(4, size=50)
    assert (arcface(cosine, labels, 16.0, 0.5) > arcface(cosine, labels, 16.0, 0.0)).all()
    perfect = 2 * jax.nn.one_hot(labels, 4) - 1
    assert arcface(perfect, labels).max() < 1e-6 and arcface(perfect, (labels + 1) % 4).min() > 100
