"""Clips through generators without a network: which pixels change, what frames without a face become."""

import weakref
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from faceswap_jax.faces import align, video
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.faces.people import Person, find_people
from faceswap_jax.faces.tracking import Track
from faceswap_jax.inference import clip
from faceswap_jax.inference.audience import told_to
from faceswap_jax.inference.batching import BATCH
from faceswap_jax.inference.clip import Count, Generated, Replacement
from tests.support.face_scenes import smooth_picture, write_clip
from tests.support.generators import PixelGenerator
from tests.support.outlines import outside_faces
from tests.support.tiny_run import FRAMES, SIZE


@pytest.fixture(scope="module")
def path(clips):
    return clips / "ada.mp4"


@pytest.fixture(scope="module")
def frames(path):
    return list(video.read_frames(path))


@pytest.fixture(scope="module")
def person(path):
    (person,) = find_people(path, SidecarLandmarker(sidecar_path(path)))
    return person


def one_person(faces: Mapping[int, Face]) -> Person:
    return Person([Track(list(faces), list(faces.values()))])


def blended(generator, frames, people, method="none", count=None):
    count = Count() if count is None else count
    replacements = [Replacement(person, None) for person in people]
    generated = clip.generate_frames(generator, replacements, iter(frames), count)
    return list(clip.blended_frames(generated, replacements, generator, method, "hull"))


@pytest.mark.parametrize("alignment", ["eyes", "stable", "box"])
def test_pixels_outside_the_face_are_exact(path, frames, person, alignment):
    faces = {number: face for number, face in person.faces.items() if number != 9}
    count = Count()
    inverting = PixelGenerator(np.invert, 32, alignment)
    swapped = blended(inverting, frames, [one_person(faces)], count=count)
    assert count == Count(FRAMES, 1)
    assert [(f.index, f.time) for f in swapped] == [(f.index, f.time) for f in frames]
    np.testing.assert_array_equal(swapped[9].image, frames[9].image)
    pairs = zip(frames, swapped, strict=True)
    changed = np.stack([(a.image != b.image).any(-1) for a, b in pairs])
    assert not changed[outside_faces(path)].any()
    assert changed[:9].any((1, 2)).all()


@pytest.mark.parametrize("method", ["multiband", "none"])
def test_a_generator_that_changes_nothing_changes_nothing(frames, person, method):
    """Its crops are finer than the face, so every pixel is restored."""
    swapped = blended(PixelGenerator(np.copy, 256), frames, [person], method)
    for before, after in zip(frames, swapped, strict=True):
        np.testing.assert_array_equal(before.image, after.image)


def test_several_roles_go_through_one_pass(frames, person):
    """Each with its own identity and place: left halves of the frames show one, right halves the other."""

    class Painter(PixelGenerator):
        def __call__(self, identity, faces, edit=None):
            return np.full((len(faces.crops), 32, 32, 3), identity, np.uint8)

    wide = [replace(frame, image=np.concatenate([frame.image] * 2, 1)) for frame in frames]
    beside = {
        number: Face(face.landmarks + np.float32([SIZE, 0]), 1.0)
        for number, face in person.faces.items()
        if number >= 4
    }
    replacements = [Replacement(person, 0), Replacement(one_person(beside), 255)]
    painter, count = Painter(np.copy, 32), Count()
    generated = clip.generate_frames(painter, replacements, iter(wide), count)
    results = list(clip.blended_frames(generated, replacements, painter, "none", "hull"))

    assert count == Count(FRAMES, 0)
    for before, after in zip(wide, results, strict=True):
        change = after.image.astype(int) - before.image
        left, right = change[:, :SIZE], change[:, SIZE:]
        assert left.min() < -100 and left.max() < 20
        assert right.min() > -20 and (right.max() > 100) == (before.index >= 4)


class Holding:
    """An audience that counts how many of the frames that it was shown are still held."""

    def __init__(self):
        self.most = 0
        self._shown = []

    def admitted(self, frames):
        for frame in frames:
            self._shown.append(weakref.ref(frame))
            self.most = max(self.most, sum(shown() is not None for shown in self._shown))
            yield frame

    def watched(self, items, what, total):
        return items

    def tell(self, text):
        pass


def test_no_more_frames_are_held_however_long_the_clip_is(path, person, tmp_path):
    most = []
    for length in (40, 120):
        images = [smooth_picture(SIZE, SIZE, number / 9) for number in range(length)]
        long = tmp_path / f"{length}.mp4"
        write_clip(long, images)
        faces = dict.fromkeys(range(length), person.faces[0])
        holding = Holding()
        with told_to(holding):
            output = tmp_path / "out.mp4"
            replacements = [Replacement(one_person(faces), None)]
            clip.swap_clip(PixelGenerator(np.invert, 32), replacements, long, output, "none")
        assert len(list(video.read_frames(output))) == length
        most.append(holding.most)
    # Read ahead, generated together, generated ahead, blended at once, and one in each hand
    bound = 2 * BATCH + clip.GENERATED_AHEAD + clip.FINISHED_AT_ONCE + 5
    assert max(most) <= bound


def test_blending_is_as_fine_as_the_largest_face(person):
    landmarks = person.faces[0].landmarks
    for factor, expected in ((1, 128), (2, 192), (100, 6912), (0.1, 64)):
        assert clip.blend_side([landmarks * factor], "eyes", 16) == expected
        assert clip.blend_side([landmarks / 4, landmarks * factor], "eyes", 16) == expected
    assert clip.blend_side([landmarks], "eyes", 256) == 256


def test_a_face_that_comes_near_stays_as_sharp_as_the_frame(person):
    """The clip begins with a small face: the blend follows the largest one, beyond 1024 px."""
    near = person.faces[0].landmarks * 24
    side = 24 * SIZE
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    frames = [video.Frame(noise, number / 25, number) for number in range(2)]
    faces = {0: Face(near / 10 + side / 3, 1.0), 1: Face(near, 1.0)}
    inverting = PixelGenerator(np.invert, 16)
    result = blended(inverting, frames, [one_person(faces)])[1].image

    # Inside the face little is left of the noise: a coarser blend could not take it away.
    centre = near[30].astype(int)
    part = tuple(slice(c - 40, c + 40) for c in centre[::-1])
    assert noise[part].std() > 70
    assert result[part].std() < 30


def test_a_mask_leaves_every_pixel_between_the_frame_and_the_whole_face(frames, person):
    landmarks = person.faces[0].landmarks
    image = frames[0].image
    generated = np.full((32, 32, 3), 255, np.uint8)
    mask = np.zeros((32, 32), np.float32)
    # Edges at which interpolation overshoots
    mask[::8] = mask[1::8] = 1

    whole = clip.put_face(image, generated, landmarks, "eyes", 128, "none", "hull")
    partly = clip.put_face(image, generated, landmarks, "eyes", 128, "none", "hull", mask)
    assert (partly >= np.minimum(image, whole) - 1.0).all()
    assert (partly <= np.maximum(image, whole) + 1.0).all()
    assert (partly != image).any() and (partly != whole).any()


@pytest.mark.parametrize("outline", align.OUTLINES)
def test_only_the_outline_changes(frames, person, outline):
    replacements = [Replacement(person, None)]
    inverting = PixelGenerator(np.invert, 32)
    generated = clip.generate_frames(inverting, replacements, iter(frames[:1]), Count())
    (swapped,) = clip.blended_frames(generated, replacements, inverting, "none", outline)
    changed = (swapped.image != frames[0].image).any(-1)
    polygon = align.face_polygon(person.faces[0].landmarks, outline)
    inside = align.polygon_mask(polygon, SIZE, SIZE) > 0
    assert not changed[~inside].any()
    assert changed[inside].mean() > 0.5


def test_the_outline_is_the_generators_unless_another_is_asked_for(path, person, tmp_path):
    wide = PixelGenerator(np.invert, 32, outline="wide")
    written = []
    for outline in (None, "wide", "hull"):
        output = tmp_path / f"{outline}.mp4"
        clip.swap_clip(wide, [Replacement(person, None)], path, output, "none", outline)
        written.append(output.read_bytes())
    assert written[0] == written[1] != written[2]


def test_whole_frames_bridge_missing_faces(frames):
    images = [np.full((4, 4, 3), value, np.uint8) for value in range(3)]
    made = [{}, {}, {0: images[0]}, {0: images[1]}, {}, {0: images[2]}]
    generated = [Generated(f, image, {}) for f, image in zip(frames, made, strict=False)]
    result = list(clip.whole_frames(generated))
    assert [frame.image[0, 0, 0] for frame in result] == [0, 0, 0, 1, 1, 2]
    assert [frame.time for frame in result] == [frame.time for frame in frames[:6]]


def test_faces_are_not_needed_where_sound_suffices(frames):
    class Hearing(PixelGenerator):
        def __call__(self, identity, faces, edit=None):
            return np.zeros((len(faces.sound), 8, 8, 3), np.uint8)

    hearing, count = Hearing(np.copy, 8, placement="whole", inputs=("sound",)), Count()
    sound = np.zeros(16000, np.int16)
    generated = clip.generate_frames(hearing, [Replacement(None, None)], iter(frames), count, sound)
    assert len(list(clip.whole_frames(generated))) == FRAMES
    assert count == Count(FRAMES, 0)
