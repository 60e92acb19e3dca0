"""Scores against scikit-image, inside masks."""

import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from faceswap_jax.evaluation import scores
from faceswap_jax.losses.ssim import WINDOW


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 24, 30, 3)).astype(np.uint8)
    y = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((2, 24, 30), np.float32)
    mask[0, 6:18, 7:20] = 1
    mask[1, 9:14, 12:26] = 0.5
    return x, y, mask


def test_whole_pictures_score_as_in_scikit_image(pictures):
    x, y, _ = pictures
    result = scores.compare(x, y, np.ones(x.shape[:3]))
    psnr = np.mean([peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, y, strict=True)])
    ssim = np.mean([
        structural_similarity(
            a, b, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(x, y, strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose([result["psnr"], result["ssim"]], [psnr, ssim], rtol=1e-4)


def test_the_mask_weighs_pixels_and_windows(pictures):
    x, y, mask = pictures
    result = scores.compare(x, y, mask)
    error = ((x / 255 - y / 255) ** 2).mean(-1)
    psnr = [-10 * np.log10((e * m).sum() / m.sum()) for e, m in zip(error, mask, strict=True)]
    ssim = []
    for a, b, m in zip(x, y, mask, strict=True):
        _, full = structural_similarity(
            a, b, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            full=True,
        )  # fmt: skip
        inner = (slice(WINDOW // 2, -(WINDOW // 2)),) * 2
        ssim.append((full.mean(-1) * m)[inner].sum() / m[inner].sum())
    np.testing.assert_allclose(result["psnr"], np.mean(psnr), rtol=1e-5)
    np.testing.assert_allclose(result["ssim"], np.mean(ssim), rtol=1e-4)


def test_what_lies_outside_the_mask_is_ignored(pictures):
    x, y, mask = pictures
    elsewhere = np.where(mask[..., None] > 0, y, 255 - y).astype(np.uint8)
    np.testing.assert_allclose(scores.compare(x, y, mask)["psnr"], scores.compare(x, elsewhere, mask)["psnr"])
    far = np.zeros_like(mask)
    far[:, :1, :1] = 1  # no SSIM window reaches from the changed corner to the mask
    corner = np.where(far[..., None] > 0, 0, y).astype(np.uint8)
    assert scores.compare(x, corner, mask) == scores.compare(x, y, mask)


def test_extremes(pictures):
    x, _, mask = pictures
    same = scores.compare(x, x, mask)
    assert same["psnr"] == pytest.approx(100) and same["ssim"] == pytest.approx(1)
    nothing = scores.compare(x, 255 - x, np.zeros_like(mask))  # an empty mask is no division by zero
    assert np.isfinite(list(nothing.values())).all()
    black, white = jnp.zeros((1, 16, 16, 3)), jnp.ones((1, 16, 16, 3))
    np.testing.assert_allclose(scores.psnr(black, white, white[..., :1]), [0], atol=1e-6)
