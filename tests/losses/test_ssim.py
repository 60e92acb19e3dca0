"""SSIM and MS-SSIM against independent implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from faceswap_jax.losses import reconstruction
from faceswap_jax.losses.ssim import _filter, ms_ssim, scales, ssim, ssim_map


@pytest.fixture(scope="module")
def pictures():
    x = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3))
    x = jax.image.resize(
        jax.image.resize(x, (2, 16, 16, 3), "linear"), (2, 64, 64, 3), "cubic"
    ).clip(0, 1)
    return x, (x + 0.1 * jax.random.normal(jax.random.key(1), x.shape)).clip(0, 1)


def test_ssim_map_is_skimages(pictures):
    x, y = map(np.asarray, pictures)
    _, full = structural_similarity(
        x[0],
        y[0],
        data_range=1,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(ssim_map(x, y)[0], full[5:-5, 5:-5], atol=2e-4)


def test_ms_ssim_is_the_product_of_its_scales(pictures):
    """Against the definition on skimage's filter: cs at the finer scales, SSIM at the coarsest, weights to sum 1."""
    from scipy.ndimage import gaussian_filter

    x, y = (np.asarray(p, np.float64)[..., :1] for p in pictures)
    expected = []
    for a, b in zip(x[..., 0], y[..., 0], strict=True):
        value, weights = 1.0, np.array([0.0448, 0.2856, 0.3001]) / (0.0448 + 0.2856 + 0.3001)
        for i, weight in enumerate(weights):
            f = lambda p: gaussian_filter(p, 1.5, truncate=3.4)[5:-5, 5:-5]  # noqa: E731
            ma, mb = f(a), f(b)
            va, vb, cov = f(a * a) - ma**2, f(b * b) - mb**2, f(a * b) - ma * mb
            term = (2 * cov + 9e-4) / (va + vb + 9e-4)
            if i == 2:
                term = term * (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
            value *= term.mean() ** weight
            a, b = (p.reshape(p.shape[0] // 2, 2, -1, 2).mean((1, 3)) for p in (a, b))
        expected.append(value)
    np.testing.assert_allclose(ms_ssim(jnp.float32(x), jnp.float32(y)), expected, atol=1e-4)


def test_the_banded_product_is_a_gaussian_convolution():
    x = jax.random.uniform(jax.random.key(0), (1, 24, 20, 1))
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2
    by_hand = sum(
        window[i, j] * x[0, i : i + 14, j : j + 10, 0] for i in range(11) for j in range(11)
    )
    np.testing.assert_allclose(_filter(x)[0, ..., 0], by_hand, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "count"), [(32, 2), (64, 3), (128, 4), (176, 5), (256, 5), (1024, 5)]
)
def test_scales_fit_the_window(side, count):
    assert scales(side) == count


def test_equal_pictures_are_perfectly_similar(pictures):
    np.testing.assert_allclose(ssim(pictures[0], pictures[0]), 1, atol=1e-5)
    np.testing.assert_allclose(ms_ssim(pictures[0], pictures[0]), 1, atol=1e-5)


def test_gradients_are_finite_for_opposite_and_flat_pictures(pictures):
    x = pictures[0]
    for y in (1 - x, jnp.zeros_like(x), x):
        assert np.isfinite(jax.grad(lambda y: ms_ssim(x, y).sum())(y)).all()


@pytest.mark.parametrize("side", [4, 8, 16, 32])
def test_dissimilarity_of_every_growth_level(side):
    x = jax.random.uniform(jax.random.key(0), (2, side, side, 3))
    np.testing.assert_allclose(reconstruction.dissimilarity(x, x), 0, atol=1e-4)
    assert (reconstruction.dissimilarity(x, 1 - x) > 0.5).all()


def test_masking_of_equations_one_and_two():
    x, y = jax.random.uniform(jax.random.key(0), (2, 1, 16, 16, 3))
    mask = jnp.zeros((1, 16, 16, 1)).at[:, 4:12, 4:12].set(1)
    outside = y + (1 - mask)
    first, second = (
        [
            reconstruction.dissimilarity(*reconstruction.compared(x, mask, p, masking))
            for p in (y, outside)
        ]
        for masking in ("target", "both")
    )
    assert abs(first[0] - first[1]) > 1e-2  # Eq. 1 asks for black outside
    np.testing.assert_allclose(second[0], second[1], atol=1e-6)  # Eq. 2 does not see the background
