"""Clips through generators without a network: which pixels change, what frames without a face become."""

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.inference import clip
from faceswap_jax.inference.clip import Count, Generated
from tests.support.generators import PixelGenerator
from tests.support.outlines import outside_faces
from tests.support.tiny_run import FRAMES


@pytest.fixture(scope="module")
def path(clips):
    return clips / "ada.mp4"


@pytest.fixture(scope="module")
def frames(path):
    return list(video.read_frames(path))


@pytest.fixture(scope="module")
def landmarker(path):
    return SidecarLandmarker(sidecar_path(path))


def blended(generator, frames, landmarker, method="none", count=None):
    count = Count() if count is None else count
    generated = clip.generate_frames(generator, None, iter(frames), landmarker, count)
    return list(clip.blended_frames(generated, generator.alignment, generator.resolution, method))


@pytest.mark.parametrize("alignment", ["eyes", "stable", "box"])
def test_pixels_outside_the_face_are_exact(path, frames, landmarker, alignment):
    def sometimes(image, index):
        return landmarker(image, index) if index != 9 else []

    count = Count()
    inverting = PixelGenerator(np.invert, 32, alignment)
    swapped = blended(inverting, frames, sometimes, count=count)
    assert count == Count(FRAMES, 1)
    assert [(f.index, f.time) for f in swapped] == [(f.index, f.time) for f in frames]
    np.testing.assert_array_equal(swapped[9].image, frames[9].image)
    pairs = zip(frames, swapped, strict=True)
    changed = np.stack([(a.image != b.image).any(-1) for a, b in pairs])
    assert not changed[outside_faces(path)].any()
    assert changed[:9].any((1, 2)).all()


@pytest.mark.parametrize("method", ["multiband", "none"])
def test_a_generator_that_changes_nothing_changes_nothing(frames, landmarker, method):
    """Its crops are finer than the face, so every pixel is restored."""
    swapped = blended(PixelGenerator(np.copy, 256), frames, landmarker, method)
    for before, after in zip(frames, swapped, strict=True):
        np.testing.assert_array_equal(before.image, after.image)


def test_blending_is_as_fine_as_the_face(landmarker):
    landmarks = landmarker(None, 0)[0].landmarks
    for factor, expected in ((1, 64), (2, 128), (100, 1024), (0.1, 16)):
        assert clip.blend_side(landmarks * factor, "eyes", 16) == expected
    assert clip.blend_side(landmarks, "eyes", 256) == 256


def test_whole_frames_bridge_missing_faces(frames, landmarker):
    images = [np.full((4, 4, 3), value, np.uint8) for value in range(3)]
    made = [None, None, images[0], images[1], None, images[2]]
    generated = [Generated(f, None, image) for f, image in zip(frames, made, strict=False)]
    result = list(clip.whole_frames(generated))
    assert [frame.image[0, 0, 0] for frame in result] == [0, 0, 0, 1, 1, 2]
    assert [frame.time for frame in result] == [frame.time for frame in frames[:6]]


def test_faces_are_not_looked_for_where_sound_suffices(frames):
    def unasked(image, index):
        raise AssertionError("no face is needed")

    class Hearing(PixelGenerator):
        def __call__(self, identity, faces, edit=None):
            return np.zeros((len(faces.sound), 8, 8, 3), np.uint8)

    hearing, count = Hearing(np.copy, 8, placement="whole", inputs=("sound",)), Count()
    sound = np.zeros(16000, np.int16)
    generated = clip.generate_frames(hearing, None, iter(frames), unasked, count, sound)
    assert len(list(clip.whole_frames(generated))) == FRAMES
    assert count == Count(FRAMES, 0)


@pytest.mark.parametrize("finish", [list, clip.whole_frames])
def test_a_clip_without_a_face_is_refused(frames, finish):
    generated = clip.generate_frames(
        PixelGenerator(np.copy, 8), None, iter(frames), lambda image, index: [], Count()
    )
    with pytest.raises(InputError, match=f"{FRAMES} frames shows a face"):
        list(finish(generated))
