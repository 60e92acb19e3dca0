"""Invariants of blending and of pasting crops back into frames."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.seam import edge_gradient
from faceswap_jax.faces import align, blend
from tests.support.face_scenes import face_landmarks, similarity, smooth_picture

RESOLUTION = 256


def polygon_at(resolution: int) -> np.ndarray:
    """Face polygon of an aligned crop."""
    return align.face_polygon(
        align.transform_points(
            face_landmarks(), align.alignment_transform(face_landmarks(), resolution, "eyes")
        )
    )


def textured(seed: int, resolution: int = RESOLUTION) -> np.ndarray:
    """Smooth colours with fine texture on top."""
    noise = np.random.default_rng(seed).normal(0, 4, (resolution, resolution, 3))
    return np.clip(smooth_picture(resolution, resolution, seed) * 0.6 + 50 + noise, 0, 255).astype(
        np.uint8
    )


@pytest.fixture
def polygon():
    return polygon_at(RESOLUTION)


@pytest.mark.parametrize("method", blend.METHODS)
def test_nothing_changes_outside_the_polygon(method, polygon):
    generated, target = textured(1), textured(2)
    result = blend.blend(generated, target, polygon, method)
    covered = align.polygon_mask(polygon, RESOLUTION, RESOLUTION)
    np.testing.assert_array_equal(result[covered < 1], target[covered < 1])
    assert np.abs(result.astype(int) - target)[covered == 1].mean() > 1


@pytest.mark.parametrize("method", blend.METHODS)
def test_equal_pictures_give_the_target(method, polygon):
    target = textured(2)
    result = blend.blend(target, target, polygon, method)
    assert np.abs(result.astype(int) - target).max() <= 1


def test_multiband_keeps_the_target_s_colour(polygon):
    target = smooth_picture(RESOLUTION, RESOLUTION) // 2 + 60
    shifted = target + np.uint8(40)
    inside = align.polygon_mask(polygon, RESOLUTION, RESOLUTION) == 1
    change = {
        method: np.abs(blend.blend(shifted, target, polygon, method).astype(float) - target)[
            inside
        ].mean()
        for method in ("multiband", "none")
    }
    print(
        f"a shift by 40 changes the face by {change['multiband']:.3f} (multiband), {change['none']:.1f} (none)"
    )
    assert change["none"] > 30
    assert change["multiband"] < 0.01 * change["none"]


def test_multiband_takes_detail_from_the_generated_face(polygon):
    target = np.full((RESOLUTION, RESOLUTION, 3), 128, np.uint8)
    noise = np.random.default_rng(0).normal(0, 20, target.shape)
    generated = np.clip(target + noise, 0, 255).astype(np.uint8)
    result = blend.blend(generated, target, polygon)
    centre = slice(100, 156)
    difference = np.abs(result[centre, centre].astype(float) - generated[centre, centre]).mean()
    assert difference < 0.2 * np.abs(noise).mean()


def test_a_small_face_is_replaced_but_for_a_narrow_rim():
    """A rim that is a pixel wider leaves 0.55, and costs the demo's faces 1 dB."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    circle = 32 + 20 * np.stack([np.cos(angles), np.sin(angles)], 1)
    target = np.full((64, 64, 3), 50, np.uint8)
    blended = blend.blend(target + 100, target, circle, "none")
    replaced = (blended[..., 0].astype(int) - 50).sum() / 100
    assert 0.63 < replaced / (np.pi * 20**2) <= 1


@pytest.mark.parametrize("resolution", [128, 256, 512])
def test_no_seam(resolution):
    polygon = polygon_at(resolution)
    target = textured(2, resolution)
    generated = np.clip(textured(5, resolution) + np.array([30, -20, 10]), 0, 255).astype(np.uint8)
    naive = np.where(
        align.polygon_mask(polygon, resolution, resolution)[..., None] > 0.5, generated, target
    )
    ratio = {
        name: edge_gradient(image, polygon) / edge_gradient(target, polygon)
        for name, image in (
            ("naive", naive),
            ("multiband", blend.blend(generated, target, polygon)),
        )
    }
    print(
        f"seam ratio at {resolution} px: {ratio['multiband']:.3f} (multiband), {ratio['naive']:.3f} (pasted)"
    )
    assert 0.85 < ratio["multiband"] < 1.1
    assert ratio["naive"] > 1.15


def expected_mask(polygon: np.ndarray, softness: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the face may change, and how much of the new face is there: softened towards the inside."""
    covered = align.polygon_mask(polygon, RESOLUTION, RESOLUTION) == 1
    inside = ndimage.binary_erosion(covered, np.ones((5, 5)))
    smooth = ndimage.gaussian_filter(inside.astype(float), softness * RESOLUTION, mode="constant")
    return inside, np.where(inside, np.clip(2 * smooth - 1, 0, 1), 0).astype(np.float32)


def gaussian_pyramid(image: np.ndarray) -> list[np.ndarray]:
    """Down to 2 pixels: the log2(256) = 8 levels of the source, the coarsest first."""
    levels = [image.astype(np.float32)]
    while len(levels) < 8:
        levels.append(cv2.pyrDown(levels[-1]))
    return levels[::-1]


def test_multiband_builds_the_pyramids_of_source_target_and_output(polygon):
    """The published steps, one after the other: the code needs a single pyramid."""
    softness = 1 / 64
    generated, target = textured(1), textured(2)
    inside, alpha = expected_mask(polygon, softness)

    sources = gaussian_pyramid(generated)
    targets = gaussian_pyramid(target)
    masks = gaussian_pyramid(alpha)

    # Levels 1 and 2 come from the target.
    output = targets[1]
    for level in range(2, 8):
        source_band = sources[level] - cv2.pyrUp(sources[level - 1])
        target_band = targets[level] - cv2.pyrUp(targets[level - 1])
        mask = masks[level][..., None]
        output_band = mask * source_band + (1 - mask) * target_band
        output = cv2.pyrUp(output) + output_band
        # The background of every level comes from the target.
        step = 2 ** (7 - level)
        output = np.where(inside[::step, ::step, None], output, targets[level])

    result = blend.blend(generated, target, polygon, softness=softness)
    assert np.abs(result - np.clip(output, 0, 255)).max() < 0.52


def test_detail_is_masked_once(polygon):
    """Fine detail of the face is as strong as its mask, right up to the edge."""
    softness = 1 / 32
    target = np.full((RESOLUTION, RESOLUTION, 3), 128, np.uint8)
    y, x = np.mgrid[:RESOLUTION, :RESOLUTION]
    generated = (128 + 100 * (-1.0) ** (x + y))[..., None].repeat(3, -1).astype(np.uint8)
    _, alpha = expected_mask(polygon, softness)

    result = blend.blend(generated, target, polygon, softness=softness)
    strength = np.abs(result[..., 0].astype(float) - 128) / 100

    rim = (alpha > 0.1) & (alpha < 0.9)
    assert rim.sum() > 1000
    assert np.abs(strength - alpha)[rim].max() < 0.02


@pytest.mark.parametrize("method", blend.METHODS)
@pytest.mark.parametrize("shift", [(-90, 0), (0, 120), (400, 0)])
def test_polygon_that_leaves_the_crop(method, shift, polygon):
    generated, target = textured(1), textured(2)
    moved = polygon + np.float32(shift)
    result = blend.blend(generated, target, moved, method)
    covered = align.polygon_mask(moved, RESOLUTION, RESOLUTION)
    np.testing.assert_array_equal(result[covered < 1], target[covered < 1])
    assert np.abs(blend.blend(target, target, moved, method).astype(int) - target).max() <= 1


def test_small_and_oblong_crops():
    for height, width in ((4, 4), (16, 16), (100, 150)):
        target = smooth_picture(height, width)
        box = np.float32([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)])
        assert blend.blend(target[::-1], target, box).shape == target.shape


def test_unknown_method(polygon):
    with pytest.raises(InputError, match=r"'magic'.*multiband, none, poisson"):
        blend.blend(textured(1), textured(2), polygon, "magic")


POSES = [(0.4, 20, 200, 150), (1.7, -30, 300, 260), (0.9, 170, 240, 240)]


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("method", blend.METHODS)
def test_pasting_an_edited_crop(pose, method):
    """Outside the polygon the frame stays; inside it shows the edit."""
    landmarks = align.transform_points(face_landmarks(), similarity(*pose))
    frame = textured(3, 512)
    transform = align.alignment_transform(landmarks, RESOLUTION, "eyes")
    before = align.crop(frame, transform, RESOLUTION)
    polygon = align.transform_points(align.face_polygon(landmarks), transform)
    after = blend.blend(255 - before, before, polygon, method)
    result = blend.paste(frame, before, after, transform)
    covered = align.polygon_mask(align.face_polygon(landmarks), *frame.shape[:2])
    np.testing.assert_array_equal(result[covered == 0], frame[covered == 0])
    assert np.abs(result.astype(int) - frame)[covered == 1].mean() > 3
    shown = align.crop(result, transform, RESOLUTION).astype(float)
    assert np.abs(shown - after).mean() < 0.35 * np.abs(after.astype(float) - before).mean()


def test_pasting_without_an_edit_returns_the_frame():
    frame = textured(3, 300)
    transform = align.alignment_transform(
        align.transform_points(face_landmarks(), similarity(0.7, 40, 150, 100)), RESOLUTION, "eyes"
    )
    crop = align.crop(frame, transform, RESOLUTION)
    result = blend.paste(frame, crop, crop, transform)
    np.testing.assert_array_equal(result, frame)
    assert result is not frame


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 3.0])
def test_a_smooth_edit_arrives_at_its_place_and_strength(scale):
    """The edit is a wide Gaussian, so that resampling alone leaves it as it is: any error is one of geometry."""
    frame = np.full((400, 400, 3), 100, np.uint8)
    transform = (
        similarity(scale, 0, 0, 0)
        + np.array([[0, 0, 128], [0, 0, 128]])
        - scale * np.array([[0, 0, 200]] * 2)
    )
    y, x = np.mgrid[:256, :256]
    bump = 100 * np.exp(-((x - 128) ** 2 + (y - 128) ** 2) / (2 * 25**2))
    before = np.full((256, 256, 3), 100, np.uint8)
    after = np.rint(before + bump[..., None]).astype(np.uint8)
    result = blend.paste(frame, before, after, transform)
    y, x = np.mgrid[:400, :400]
    expected = 100 + 100 * np.exp(-((x - 200) ** 2 + (y - 200) ** 2) * scale**2 / (2 * 25**2))
    assert np.abs(result[..., 0] - expected).max() < 2.5


def test_face_beyond_the_frame_s_border():
    frame = textured(3, 200)
    for x, y in ((0, 100), (199, 20), (-500, -500)):
        transform = align.alignment_transform(
            align.transform_points(face_landmarks(), similarity(0.8, 0, x, y)), RESOLUTION, "eyes"
        )
        before = align.crop(frame, transform, RESOLUTION)
        after = blend.blend(255 - before, before, polygon_at(RESOLUTION))
        assert blend.paste(frame, before, after, transform).shape == frame.shape


def test_where_an_edit_has_changed_a_face():
    """Nothing where both are alike, all where they differ, soft and wider than the difference."""
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 200, (64, 64, 3), np.uint8)
    edited = plain.copy()
    edited[20:30, 24:40] += 50
    mask = blend.where_changed(edited, plain)
    assert mask[22:28, 26:38].min() > 0.99
    assert 0 < mask[18, 32] < 1
    far = np.ones_like(mask, bool)
    far[10:40, 14:50] = False
    assert mask[far].max() == 0
    assert blend.where_changed(plain, plain).max() == 0
    faint = np.clip(plain + 5, 0, 255).astype(np.uint8)
    assert blend.where_changed(faint, plain).max() == 0
