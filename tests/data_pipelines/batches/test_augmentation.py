"""The smooth deformation of what an encoder sees, and its landmarks."""

import cv2
import numpy as np
import pytest

from data_pipelines.batches.assembly import displaced_crop, displaced_points
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Personas
from data_pipelines.puppets.source import puppet_source
from faceswap_jax.faces import align
from tests.support.numbered import made, one, record, same

WARP = Augmentation(warp=0.05)


def test_only_what_the_encoder_sees_is_deformed():
    source = [puppet_source(0, 1, 0, 2, 16)]
    fields = ("image", "encoder_input", "mask", "landmarks", "encoder_landmarks", "pose")
    plain = made(source, Personas(), fields=fields)[0]
    np.testing.assert_array_equal(plain["encoder_input"], plain["image"])
    np.testing.assert_array_equal(plain["encoder_landmarks"], plain["landmarks"])
    warped, again = (
        made(source, Personas(), fields=fields, augmentation=WARP)[0] for _ in range(2)
    )
    assert same(warped, again)
    for name in ("image", "mask", "landmarks", "pose"):
        np.testing.assert_array_equal(warped[name], plain[name])
    assert not np.array_equal(warped["encoder_input"], warped["image"])
    assert not np.array_equal(warped["encoder_landmarks"], warped["landmarks"])


def test_it_displaces_smoothly_by_its_strength():
    y, x = np.mgrid[:64, :64]
    ramp = np.stack([2 * x + 64, 2 * y + 64, 0 * x], -1).astype(np.uint8)
    source = one(record(ramp, codec="png"), 64)
    batch = made(
        source,
        Personas(),
        resolution=64,
        batch=40,
        fields=("image", "encoder_input"),
        augmentation=Augmentation(warp=0.02),
    )[0]
    moved = (batch["encoder_input"].astype(float) - batch["image"])[0, :, 16:48, 16:48, :2] / 2
    assert 0.6 < moved.std() / (0.02 * 64) < 1.2
    assert np.abs(np.diff(moved, axis=2)).max() < 1


def test_the_frames_of_an_element_change_alike_where_that_is_wanted():
    strengths = {"mirror": True, "rotation": 9.0, "scale": 0.1, "shift": 0.1, "warp": 0.05}
    apart, alike = (
        Augmentation(**strengths, alike=wanted).draw(np.random.default_rng(0), 16, (1, 2))
        for wanted in (False, True)
    )
    for drawn, common in zip(apart, alike, strict=True):
        assert common.shape == drawn.shape
        assert (common == common[:, :1]).all() and not (drawn == drawn[:, :1]).all()
        assert len(np.unique(common, axis=0)) > 1


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_landmarks_go_where_the_deformation_takes_the_image(scale):
    """Each dot's centroid is where `displaced_points` says."""
    rng = np.random.default_rng(0)
    side, stored = 64, round(64 / scale)
    transform = align.scale_transform(np.eye(2, 3), side / stored)
    for _ in range(8):
        grid = rng.normal(0, 0.04 * side, (4, 4, 2))
        point = rng.uniform(0.3 * side, 0.7 * side, 2)
        centre = align.transform_points(point[None], align.invert(transform))[0]
        y, x = np.mgrid[:stored, :stored]
        dot = 255 * np.exp(-(np.square(x - centre[0]) + np.square(y - centre[1])) / 3)
        shown = displaced_crop(dot.astype(np.uint8), transform, grid, side).astype(float)
        y, x = np.mgrid[:side, :side]
        found = np.array([(shown * x).sum(), (shown * y).sum()]) / shown.sum()
        expected = displaced_points(point[None].astype(np.float32), grid, side)[0]
        np.testing.assert_allclose(found, expected, atol=0.3)
        assert np.abs(expected - point).max() > 0.1


def test_a_deformed_crop_is_the_crop_where_nothing_is_displaced():
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8), (0, 0), 3
    )
    for scale in (1.0, 0.9, 0.6):
        transform = align.scale_transform(np.eye(2, 3), scale)
        plain = align.crop(image, transform, 40)
        same_place = displaced_crop(image, transform, np.zeros((4, 4, 2)), 40)
        assert np.abs(plain.astype(int) - same_place).max() <= 4
