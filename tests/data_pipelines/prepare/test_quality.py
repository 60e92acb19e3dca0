"""Tests of the measures by which faces are judged."""

import itertools

import cv2
import numpy as np
import pytest
from scipy import ndimage

from data_pipelines.prepare.quality import (
    COARSE,
    FACE,
    MIDDLE,
    SIDE,
    analysis_crop,
    change,
    outside,
    sharpness,
)
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.parameters import Performance, sample_persona, sample_scene
from data_pipelines.puppets.renderer import Frame, render
from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.faces import align
from tests.support.records import neutral_landmarks


def crop(frame: Frame, image: np.ndarray | None = None) -> np.ndarray:
    return analysis_crop(frame.image if image is None else image, frame.landmarks)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def noisy(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    return np.uint8(
        np.clip(image + np.random.default_rng(seed).normal(0, sigma, image.shape), 0, 255)
    )


@pytest.fixture(scope="module")
def puppet() -> Frame:
    return render_frame(0, 0, 0, 0, 160)


# --- the crop that is measured


@pytest.mark.parametrize("size", [64, 160, 640, 1000])
def test_the_crop_is_that_of_the_eyes_in_grey(puppet, size):
    """Whether the frame is enlarged or reduced."""
    image = blurred(
        cv2.resize(puppet.image, (size, size), interpolation=cv2.INTER_AREA), max(1.0, size / 160)
    )
    landmarks = (puppet.landmarks + 0.5) * size / 160 - 0.5
    grey = analysis_crop(image, landmarks)
    assert grey.shape == (SIDE, SIDE) and grey.dtype == np.uint8
    same = cv2.cvtColor(
        align.crop(image, align.alignment_transform(landmarks, SIDE, "eyes"), SIDE),
        cv2.COLOR_RGB2GRAY,
    )
    difference = np.abs(grey.astype(int) - same)
    assert difference.mean() < 1 and difference.max() < 16


def test_sixteen_bits(puppet):
    noise = np.random.default_rng(0).integers(
        -100, 101, puppet.image.shape
    )  # less than half a level of eight bits
    fine = np.clip(puppet.image.astype(int) * 257 + noise, 0, 65535).astype(np.uint16)
    grey = crop(puppet, fine)
    assert grey.dtype == np.uint8
    assert np.abs(grey.astype(int) - crop(puppet)).max() <= 2


def test_a_large_frame_is_averaged_not_sampled():
    """Noise of single pixels must not look like detail: each crop pixel here covers a hundred of them."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1280, 1280, 3), np.uint8)
    assert analysis_crop(image, neutral_landmarks(1280)).std() < image.std() / 5


# --- sharpness


def test_sharpness_is_the_least_variance_over_the_directions(puppet):
    """Against the second derivative along each direction, one convolution after the other."""
    grey = crop(puppet)
    xx, xy = np.array([[1, -2, 1]]), np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1]]) / 4
    xx, xy, yy = (
        ndimage.correlate(grey.astype(np.float64), kernel, mode="mirror")
        for kernel in (xx, xy, xx.T)
    )
    along = [
        (c * c * xx + 2 * c * s * xy + s * s * yy)[MIDDLE].var()
        for c, s in (
            (np.cos(angle), np.sin(angle)) for angle in np.deg2rad(np.arange(0, 180, 22.5))
        )
    ]
    assert sharpness(grey) == pytest.approx(min(along), rel=1e-3)
    assert sharpness(np.full((SIDE, SIDE), 77, np.uint8)) == 0


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_motion_blur_lowers_sharpness_in_any_direction(puppet, angle):
    """Along one direction the picture stays sharp."""
    turn = cv2.getRotationMatrix2D((7, 7), angle, 1)
    streak = cv2.warpAffine(
        np.eye(15, dtype=np.float32)[7:8].T @ np.ones((1, 15), np.float32), turn, (15, 15)
    )
    moved = cv2.filter2D(puppet.image, -1, streak / streak.sum())
    assert sharpness(crop(puppet, moved)) < sharpness(crop(puppet)) / 5


def test_blur_lowers_sharpness_step_by_step(puppet):
    values = [
        sharpness(crop(puppet, blurred(puppet.image, sigma))) for sigma in (0.3, 0.6, 1.0, 1.5, 2.5)
    ]
    assert values == sorted(values, reverse=True) and values[-1] < values[0] / 30
    streak = np.zeros((9, 9), np.float32)
    streak[4] = 1 / 9  # nine pixels of motion
    assert (
        sharpness(crop(puppet, cv2.filter2D(puppet.image, -1, streak)))
        < sharpness(crop(puppet)) / 3
    )


@pytest.mark.parametrize("yaw", [-15, 0, 15])
def test_only_the_face_counts(yaw):
    """A blurred face before a sharp background is blurred, a sharp one before a blurred background is sharp."""
    puppet = render(sample_persona(0, 0), Performance(yaw=yaw), sample_scene(0, 0, 0), 160)
    mask = align.polygon_mask(puppet.polygon, 160, 160)[..., None] > 0
    background = np.random.default_rng(0).integers(0, 256, puppet.image.shape, np.uint8)
    soft, sharp = blurred(puppet.image, 3), puppet.image
    assert sharpness(crop(puppet, np.where(mask, soft, background))) < sharpness(crop(puppet)) / 10
    assert sharpness(crop(puppet, np.where(mask, sharp, soft))) == pytest.approx(
        sharpness(crop(puppet)), rel=0.1
    )


# --- change


def test_change_is_the_mean_difference_of_coarse_pictures():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, SIDE, SIDE), np.uint8)
    blocks = [x[FACE].astype(float).reshape(18, COARSE, 14, COARSE).mean((1, 3)) for x in (a, b)]
    assert change(a, b) == pytest.approx(np.abs(blocks[0] - blocks[1]).mean(), rel=1e-4)
    assert change(a, b) == change(b, a) and change(a, a) == 0
    assert change(np.full((SIDE, SIDE), 90, np.uint8), np.full((SIDE, SIDE), 97, np.uint8)) == 7


def test_noise_counts_little_and_motion_much():
    """Sensor noise of a still face, against its expressions and one frame of ordinary motion."""
    identity, scene = sample_persona(0, 1), sample_scene(0, 1, 0)

    def face(**performance: float) -> np.ndarray:
        return crop(render(identity, Performance(**performance), scene, 192))

    still = render(identity, Performance(), scene, 192)
    noise = change(*(crop(still, noisy(still.image, 3, seed)) for seed in (0, 1)))
    assert noise < 1
    for expression in ({"lid_left": 0.0}, {"mouth_open": 0.4}, {"smile": 1.0}, {"yaw": 4.0}):
        assert change(face(), face(**expression)) > 2 * noise
    track = [crop(render_frame(0, 1, 0, number, 192)) for number in range(4)]
    assert min(change(a, b) for a, b in itertools.pairwise(track)) > 2 * noise


# --- outside


def test_outside_of_simple_shapes():
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32) - np.float32(0.5)
    for offset, share in (
        ((0, 0), 0),
        ((20, 10), 0),
        ((25, 10), 0.5),
        ((25, 15), 0.75),
        ((-1, 0), 0.1),
        ((30, 0), 1),
        ((-300, 50), 1),
    ):
        moved = square + np.float32(offset)
        assert outside(moved, (20, 30)) == pytest.approx(share, abs=1e-6)
        assert outside(moved[::-1], (20, 30)) == pytest.approx(share, abs=1e-6)
    assert outside(square * 4 - 8, (20, 30)) == pytest.approx(
        1 - 20 * 30 / 1600
    )  # a face larger than the frame
    assert outside(np.zeros((4, 2), np.float32), (20, 30)) == 1


@pytest.mark.parametrize("seed", range(40))
def test_outside_agrees_with_masks(seed):
    """Faces anywhere around a frame, against counting covered pixels inside it and in a frame that holds all."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, rng.uniform(5, 40), (20, 2)) + rng.uniform(-20, 120, 2)
    polygon = cv2.convexHull(points.astype(np.float32))[:, 0]
    inside = align.polygon_mask(polygon, 100, 80).sum()
    everything = align.polygon_mask(polygon + 300, 800, 800).sum()
    assert outside(polygon, (100, 80)) == pytest.approx(1 - inside / everything, abs=0.01)


# --- with the limits that are in force unless one says otherwise


@pytest.mark.parametrize("persona", [0, 1, 2])
def test_default_limits(persona):
    """An ordinary clip is kept; a blurred or a frozen one is not."""
    limits = Settings()
    frames = [render_frame(0, persona, 0, number, 160) for number in range(3)]
    crops = [crop(frame) for frame in frames]
    assert min(map(sharpness, crops)) > limits.min_sharpness
    assert (
        change(crops[1], crops[0]) > limits.min_change
        and change(crops[2], crops[1]) > limits.min_change
    )
    assert max(outside(frame.polygon, (160, 160)) for frame in frames) < limits.max_outside

    assert sharpness(crop(frames[0], blurred(frames[0].image, 4))) < limits.min_sharpness
    assert change(crops[0], crop(frames[0], frames[0].image.copy())) < limits.min_change
    assert outside(frames[0].polygon + np.float32([100, 0]), (160, 160)) > limits.max_outside
