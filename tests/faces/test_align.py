"""Crops of any resolution show the same; polygons, masks and mirrors keep their promises."""

import cv2
import numpy as np
import pytest

from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import BROWS, LEFT_BROW, LEFT_EYE, MIRROR, RIGHT_BROW, RIGHT_EYE
from tests.support.face_scenes import face_landmarks, similarity, smooth_picture
from tests.support.mirroring import mirror_landmarks


def test_inverse():
    points = np.random.default_rng(0).uniform(0, 500, (20, 2)).astype(np.float32)
    transform = similarity(0.7, 33, 12, -8)
    back = align.transform_points(
        align.transform_points(points, transform), align.invert(transform)
    )
    np.testing.assert_allclose(back, points, atol=1e-3)


@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize("resolution", [32, 96, 512])
def test_crops_of_any_resolution_show_the_same(resolution, degrees):
    image = smooth_picture(300, 400)
    landmarks = align.transform_points(face_landmarks(), similarity(0.7, degrees, 200, 110))
    one = align.crop(image, align.alignment_transform(landmarks, resolution, "eyes"), resolution)
    two = align.crop(
        image, align.alignment_transform(landmarks, 2 * resolution, "eyes"), 2 * resolution
    )
    two = cv2.resize(two, (resolution, resolution), interpolation=cv2.INTER_AREA)
    assert np.abs(one.astype(int) - two).max() <= 2


def test_identity_crop_is_exact_and_the_border_is_repeated():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(align.crop(image, similarity(1, 0, 0, 0), 64), image)
    np.testing.assert_array_equal(
        align.crop(image, similarity(1, 0, 10, 0), 64)[:, :10], image[:, :1].repeat(10, 1)
    )


def test_shrinking_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255  # far above what 64 px can show: its mean remains
    small = align.crop(stripes, align.scale_transform(similarity(1, 0, 0, 0), 1 / 8), 64)
    assert np.abs(small[2:-2, 2:-2].astype(float) - 127.5).max() <= 2


@pytest.mark.parametrize("scale", [0.8, 0.6, 0.45, 0.3])
def test_shrinking_keeps_what_the_crop_can_show(scale):
    """Against eight samples per pixel, cubic: as sharp, and close."""
    noise = np.random.default_rng(0).normal(0, 90, (256, 256, 3))
    image = np.clip(cv2.GaussianBlur(noise, (0, 0), 1.0) + 128, 0, 255).astype(np.uint8)
    transform = similarity(scale, 7, 10, 5)
    dense = cv2.warpAffine(
        image,
        align.scale_transform(transform, 8),
        (512, 512),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    truth, crop = (
        p.astype(np.float32)[2:-2, 2:-2]
        for p in (
            cv2.resize(dense, (64, 64), interpolation=cv2.INTER_AREA),
            align.crop(image, transform, 64),
        )
    )
    detail = [cv2.Laplacian(picture, cv2.CV_32F).var() for picture in (crop, truth)]
    assert 0.85 < detail[0] / detail[1] < 1.1
    assert np.square(crop - truth).mean() < 0.02 * truth.var()


def test_resize_agrees_with_the_scaled_transform():
    image = smooth_picture(256, 256)
    for resolution in (64, 512):
        scaled = align.scale_transform(similarity(1, 0, 0, 0), resolution / 256)
        difference = align.resize(image, resolution).astype(int) - align.crop(
            image, scaled, resolution
        )
        assert np.abs(difference).max() <= 2


def test_polygon_is_convex_and_holds_brows_and_raised_brows():
    landmarks = align.transform_points(face_landmarks(), similarity(1.3, 20, 300, 300))
    polygon = align.face_polygon(landmarks)
    assert polygon.dtype == np.float32
    assert cv2.isContourConvex(polygon)
    assert all(
        cv2.pointPolygonTest(polygon, tuple(map(float, point)), False) >= 0 for point in landmarks
    )
    clearance = [
        cv2.pointPolygonTest(polygon, tuple(map(float, point)), True) for point in landmarks[BROWS]
    ]
    assert min(clearance) > 0.05 * 100 * 1.3  # in interocular distances


def test_the_outline_with_the_forehead_holds_brows_that_were_raised_by_their_distance_from_the_eyes():
    landmarks = face_landmarks().astype(np.float32)
    higher = landmarks[BROWS].copy()
    for brow, eye in ((RIGHT_BROW, RIGHT_EYE), (LEFT_BROW, LEFT_EYE)):
        start = brow[0] - BROWS[0]
        rise = landmarks[brow].mean(0) - landmarks[eye].mean(0)
        higher[start : start + len(brow)] += 0.9 * rise

    def outside(outline):
        polygon = align.face_polygon(landmarks, outline)
        return [cv2.pointPolygonTest(polygon, (float(x), float(y)), False) < 0 for x, y in higher]

    assert not any(outside("forehead")) and any(outside("hull"))


def test_the_wide_outline_is_the_hull_grown_and_the_hull_has_landmarks_as_corners():
    landmarks = face_landmarks()
    hull, wide = (align.face_polygon(landmarks, outline) for outline in ("hull", "wide"))
    assert cv2.contourArea(wide) == pytest.approx(1.3**2 * cv2.contourArea(hull), rel=1e-4)
    assert all(cv2.pointPolygonTest(wide, tuple(map(float, corner)), True) > 0 for corner in hull)
    jaw = {tuple(point) for point in landmarks[:17].astype(np.float32)}
    assert len(jaw & {tuple(corner) for corner in hull}) > 8


def test_polygon_moves_with_the_face():
    pose = similarity(0.8, 30, 100, 90)
    moved = align.face_polygon(align.transform_points(face_landmarks(), pose))
    expected = align.transform_points(align.face_polygon(face_landmarks()), pose)
    assert cv2.contourArea(moved) == pytest.approx(cv2.contourArea(expected), rel=1e-4)
    assert (
        max(abs(cv2.pointPolygonTest(moved, tuple(map(float, point)), True)) for point in expected)
        < 1e-2
    )


def test_mask_is_the_covered_share_of_each_pixel():
    square = np.float32(
        [(9.5, 9.5), (20, 9.5), (20, 29.5), (9.5, 29.5)]
    )  # columns 10..19 and half of 20
    mask = align.polygon_mask(square, 40, 50)
    assert mask.shape == (40, 50) and mask.dtype == np.float32
    assert (mask[10:30, 10:20] == 1).all()
    np.testing.assert_allclose(mask[10:30, 20], 0.5, atol=0.13)
    assert (mask[:9] == 0).all() and (mask[:, :9] == 0).all() and (mask[:, 22:] == 0).all()


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.1])
def test_mask_has_the_polygon_s_area(scale):
    polygon = align.face_polygon(
        align.transform_points(face_landmarks(), similarity(scale, 12, 400, 350))
    )
    mask = align.polygon_mask(polygon, 1000, 1000)
    perimeter = cv2.arcLength(polygon, True)
    assert (
        abs(mask.sum() - cv2.contourArea(polygon)) < 0.08 * perimeter
    )  # a sixteenth of a pixel along the edge
    assert mask.min() == 0 and mask.max() == 1


def test_mask_of_a_polygon_that_leaves_the_picture():
    polygon = np.float32([(-30, -30), (20, -30), (20, 500), (-30, 500)])
    mask = align.polygon_mask(polygon, 50, 60)
    assert (mask[:, :20] == 1).all() and (mask[:, 22:] == 0).all()
    assert align.polygon_mask(polygon + 1000, 50, 60).max() == 0
    assert align.polygon_mask(polygon - 1000, 50, 60).max() == 0


def test_mirroring():
    landmarks = align.transform_points(face_landmarks(), similarity(0.9, 10, 130, 90))
    mirrored = mirror_landmarks(landmarks, 256)
    np.testing.assert_allclose(mirror_landmarks(mirrored, 256), landmarks, atol=1e-4)
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))
    # A mirror-symmetric face is its own mirror image: the permutation matches left with right.
    upright = face_landmarks() + np.float32(127.5)
    np.testing.assert_allclose(mirror_landmarks(upright, 256), upright, atol=1e-3)


def test_masks_are_the_area_that_a_fine_drawing_covers():
    """To the bit what OpenCV's averages of 8 x 8 pixels are, of polygons that leave the image, too."""
    chance = np.random.default_rng(0)
    for _ in range(20):
        width, height = chance.integers(20, 90, 2)
        centre = chance.uniform(-0.2, 1.2, 2) * (width, height)
        points = np.float32(centre + chance.normal(0, 30, (9, 2)))
        polygon = cv2.convexHull(points)[:, 0]

        fine = np.zeros((8 * height, 8 * width), np.uint8)
        vertices = np.round(((polygon.astype(np.float64) + 0.5) * 8 - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(fine, [vertices], 255, shift=8)
        covered = cv2.resize(fine, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        mask = align.polygon_mask(polygon, height, width)
        np.testing.assert_array_equal(mask, covered / np.float32(255))
