"""Scores against scikit-image, dm-pix and slow constructions of their definitions, inside masks."""

import cv2
import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import convolve1d
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from faceswap_jax.evaluation import scores
from faceswap_jax.losses import ssim
from faceswap_jax.losses.ssim import MS_WEIGHTS, WINDOW

SKIMAGE = {
    "channel_axis": -1,
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
}
INNER = (slice(WINDOW // 2, -(WINDOW // 2)),) * 2


@pytest.fixture(scope="module")
def pictures():
    """Two soft images, the same with noise and blur, and masks: a box, and a soft disc."""
    rng = np.random.default_rng(0)
    channels = cv2.GaussianBlur(rng.uniform(0, 255, (100, 92, 6)), (0, 0), 1.5)
    channels = np.clip((channels - channels.mean()) * 4 + 128, 0, 255).astype(np.uint8)
    x = channels.reshape(100, 92, 2, 3).transpose(2, 0, 1, 3)
    y = np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in x])
    y = np.clip(y + rng.normal(0, 25, x.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((2, 100, 92), np.float32)
    mask[0, 25:80, 20:60] = 1
    row, column = np.mgrid[:100, :92]
    mask[1] = np.clip(3 - np.hypot(row - 50, column - 40) / 10, 0, 1)
    return x, y, mask


def ssim_maps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure of one picture in [0, 1], from the definition, in float64."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)

    def mean(image):
        for axis in (0, 1):
            image = convolve1d(image, taps / taps.sum(), axis=axis)
        return image[INNER]

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4), (2 * cov + 9e-4) / (vx + vy + 9e-4)


def masked_ms_ssim(x: np.ndarray, y: np.ndarray, mask: np.ndarray, count: int) -> float:
    x, y, mask = x / 255.0, y / 255.0, mask[..., None].astype(np.float64)
    value = np.ones(3)
    for i in range(count):
        luminance, term = ssim_maps(x, y)
        if i == count - 1:
            term = term * luminance
        weight = mask[INNER]
        mean = (term * weight).sum((0, 1)) / weight.sum()
        value *= mean ** (MS_WEIGHTS[i] / sum(MS_WEIGHTS[:count]))
        x, y, mask = map(halved, (x, y, mask))
    return value.mean()


def halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    rows, columns = (side // 2 * 2 for side in image.shape[:2])
    return block_reduce(image[:rows, :columns], (2, 2, 1), np.mean)


def test_whole_pictures_score_as_in_scikit_image_and_dm_pix(pictures):
    x, y, _ = pictures
    result = scores.compare(x, y, np.ones(x.shape[:3]))
    psnr = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, y, strict=True)]
    pairs = zip(x, y, strict=True)
    ssim = [structural_similarity(a, b, data_range=255, **SKIMAGE) for a, b in pairs]
    np.testing.assert_allclose(result["psnr"], psnr, rtol=1e-5)
    np.testing.assert_allclose(result["ssim"], ssim, rtol=1e-4)
    # dm-pix crops the borders as we do, and scikit-image's mean does.
    pix = jax.jit(dm_pix.ssim)(jnp.float32(x) / 255, jnp.float32(y) / 255)
    np.testing.assert_allclose(result["ssim"], pix, rtol=1e-4)


def test_ms_ssim_of_the_whole_picture_is_the_loss_s(pictures):
    x, y, _ = pictures
    result = scores.compare(x, y, np.ones(x.shape[:3]))["ms_ssim"]
    loss = jax.jit(ssim.ms_ssim)(jnp.float32(x) / 255, jnp.float32(y) / 255)
    np.testing.assert_allclose(result, loss, rtol=1e-5)


def test_the_mask_weighs_pixels_and_windows(pictures):
    x, y, masks = pictures
    result = scores.compare(x, y, masks)
    for i, (a, b, mask) in enumerate(zip(x, y, masks, strict=True)):
        error = ((a / 255 - b / 255) ** 2).mean(-1)
        _, full = structural_similarity(a, b, data_range=255, full=True, **SKIMAGE)
        expected = {
            "psnr": -10 * np.log10((error * mask).sum() / mask.sum()),
            "ssim": (full.mean(-1) * mask)[INNER].sum() / mask[INNER].sum(),
            "ms_ssim": masked_ms_ssim(a, b, mask, 4),
        }
        measured = {name: float(result[name][i]) for name in expected}
        assert measured == pytest.approx(expected, rel=1e-4)
    assert result["ms_ssim"][0] < 0.95  # nothing is compared at its ceiling


def test_ms_ssim_of_five_scales():
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
    x = cv2.resize(coarse, (192, 192), interpolation=cv2.INTER_CUBIC)
    y = np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((192, 192), np.float32)
    mask[90:150, 80:170] = 1
    result = scores.compare(x[None], y[None], mask[None])["ms_ssim"][0]
    assert result == pytest.approx(masked_ms_ssim(x, y, mask, 5), rel=1e-4)


def test_what_lies_outside_the_mask_is_ignored(pictures):
    x, y, mask = pictures
    elsewhere = np.where(mask[..., None] > 0, y, 255 - y).astype(np.uint8)
    before, after = scores.compare(x, y, mask), scores.compare(x, elsewhere, mask)
    np.testing.assert_allclose(before["psnr"], after["psnr"])
    np.testing.assert_allclose(before["sharpness"], after["sharpness"])
    far = np.zeros_like(mask)
    far[:, :1, :1] = 1  # no SSIM window reaches from the changed corner to the mask
    corner = np.where(far[..., None] > 0, 0, y).astype(np.uint8)
    np.testing.assert_array_equal(scores.compare(x, corner, mask)["ssim"], before["ssim"])


def test_sharpness_of_blurred_noise_is_its_spectrum_s():
    """White noise has all frequencies alike, so that the energies of the filters tell the ratio."""
    rng = np.random.default_rng(0)
    grey = np.clip(rng.normal(128, 30, (1, 256, 256, 1)), 0, 255)
    noise = np.repeat(grey, 3, -1).astype(np.uint8)
    impulse = np.zeros((65, 65))
    impulse[32, 32] = 1
    laplacian = np.abs(np.fft.fft2([[0, 1, 0], [1, -4, 1], [0, 1, 0]], (65, 65)))

    def energy(sigma):
        gaussian = np.abs(np.fft.fft2(cv2.GaussianBlur(impulse, (0, 0), sigma)))
        return np.square(laplacian * gaussian).sum()

    for sigma in (0.7, 1.5):
        blurred = np.stack([cv2.GaussianBlur(noise[0], (0, 0), sigma)])
        expected = np.sqrt(energy(np.hypot(sigma, scores.FINE)) / energy(scores.FINE))
        measured = scores.sharpness(blurred, noise, np.ones((1, 256, 256)))
        np.testing.assert_allclose(measured, expected, rtol=0.05)
    faded = (128 + (noise.astype(float) - 128) / 2).round().astype(np.uint8)
    measured = scores.sharpness(faded, noise, np.ones((1, 256, 256)))
    np.testing.assert_allclose(measured, 0.5, rtol=0.01)


def test_a_seam_is_not_sharpness(pictures):
    x, _, mask = pictures
    seam = np.where(mask[..., None] > 0.5, x, 255 - x).astype(np.uint8)
    np.testing.assert_allclose(scores.sharpness(seam[:1], x[:1], mask[:1]), 1)


def test_extremes(pictures):
    x, _, mask = pictures
    same = scores.compare(x, x, mask)
    for name, value in (("psnr", 100), ("ssim", 1), ("ms_ssim", 1), ("sharpness", 1)):
        assert same[name].shape == (2,)
        np.testing.assert_allclose(same[name], value, rtol=1e-5)
    # An empty mask is no division by zero.
    nothing = scores.compare(x, 255 - x, np.zeros_like(mask))
    assert np.isnan(nothing.pop("sharpness")).all()
    assert np.isfinite(list(nothing.values())).all()
    black, white = jnp.zeros((1, 16, 16, 3)), jnp.ones((1, 16, 16, 3))
    np.testing.assert_allclose(scores.psnr(black, white, white[..., :1]), [0], atol=1e-6)
