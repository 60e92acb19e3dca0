"""What a generator is given: the fields it reads, in batches of one size."""

import numpy as np
import pytest

from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.inference import batching
from faceswap_jax.inference.batching import Performance
from tests.support.generators import PixelGenerator, SidedGenerator
from tests.support.tiny_run import FRAMES

SIDE = 32
SOUND = np.arange(16000, dtype=np.int16)  # a second; every sample is its own number


@pytest.fixture(scope="module")
def performance(clips):
    path = clips / "ada.mp4"
    landmarker = SidecarLandmarker(sidecar_path(path))
    faces = [landmarker(None, i)[0] for i in range(FRAMES)]
    return Performance(list(video.read_frames(path)), faces, SOUND)


def generator(*inputs, pixels=np.copy):
    return PixelGenerator(pixels, SIDE, alignment="stable", inputs=inputs)


@pytest.mark.parametrize("name", ["crops", "landmarks", "pose", "sound"])
def test_only_what_is_read_is_filled(performance, name):
    faces = batching.read_inputs(generator(name), performance)
    given = {field for field, value in vars(faces).items() if value is not None}
    assert given == {name} and len(getattr(faces, name)) == FRAMES


def test_faces_are_cut_as_the_generator_says(performance):
    faces = batching.read_inputs(generator("crops", "landmarks", "pose"), performance)
    landmarks = performance.faces[4].landmarks
    transform = align.alignment_transform(landmarks, SIDE, "stable")
    crop = align.crop(performance.frames[4].image, transform, SIDE)
    np.testing.assert_array_equal(faces.crops[4], crop)
    np.testing.assert_allclose(faces.landmarks[4], align.transform_points(landmarks, transform))
    np.testing.assert_allclose(faces.pose[4], head_pose(landmarks))


@pytest.mark.parametrize(
    ("time", "first", "silent"),
    [(0.5, 7900, []), (0.0, -100, range(100)), (1.0, 15900, range(100, 200)), (3.0, 0, range(200))],
)
def test_the_frame_is_in_the_middle_of_its_sound(time, first, silent):
    window = batching.sound_window(SOUND, time, 200)
    expected = np.float32(first + np.arange(200)) / 2**15
    expected[list(silent)] = 0
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, expected)


@pytest.mark.parametrize("count", [0, 1, 8, 10])
def test_every_batch_has_the_same_size(performance, count):
    inverting = generator("crops", pixels=np.invert)
    few = Performance(performance.frames[:count], performance.faces[:count])
    images = batching.generate(inverting, None, few)
    assert images.shape == (count, SIDE, SIDE, 3)
    assert inverting.batches == [batching.BATCH] * -(-count // batching.BATCH)
    if count:
        crops = batching.read_inputs(inverting, few).crops
        np.testing.assert_array_equal(images, 255 - crops)


def test_a_face_at_rest_is_the_mean_of_frames_and_of_their_mirror_images(performance):
    """So it looks to the front: neither side is brighter."""
    sided = SidedGenerator(np.copy, SIDE)
    each = batching.latents(sided, performance)
    assert len(each) > batching.BATCH and np.abs(each[:, 0] - each[:, 1]).max() > 1
    left, right = batching.at_rest(sided, performance)
    assert left == pytest.approx(right) == pytest.approx(each.mean())
