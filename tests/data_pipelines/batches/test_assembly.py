"""From records to arrays: alignment, resolution, what moves with an image, fields, and puppets from end to end."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from data_pipelines.batches.assembly import FIELDS, decode_image, plain_crop
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.masks import polygon_masks
from data_pipelines.batches.roles import Identities, Personas, Roles
from data_pipelines.prepare.tracks import face_record
from data_pipelines.puppets.source import puppet_source
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import decode, encode, unpack
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.ibug import LEFT_EYE, RIGHT_EYE
from faceswap_jax.faces.pose import head_pose
from tests.support.mirroring import mirror_landmarks
from tests.support.numbered import POSE, made, numbered, one, part, record
from tests.support.records import neutral_landmarks

MIRROR = Augmentation(mirror=True)
JITTER = Augmentation(mirror=True, rotation=20, scale=0.15, shift=0.1)
SHAPES = {
    "image": (16, 16, 3),
    "mask": (16, 16),
    "landmarks": (68, 2),
    "irises": (2, 2),
    "pose": (3,),
    "encoder_input": (16, 16, 3),
    "encoder_landmarks": (68, 2),
    "sound": (3200,),
    "identity": (),
    "record": (),
}
TYPES = {"image": "B", "encoder_input": "B", "mask": "B", "identity": "i", "record": "U"}


def first(sources, sampler=None, **settings) -> dict:
    """The first batch."""
    return made(sources, sampler or Personas(), **settings)[0]


@pytest.fixture(scope="module")
def puppets():
    """Three frames of each of two puppets, 64 px."""
    return [puppet_source(0, persona, 0, 3, 64) for persona in (1, 2)]


@pytest.mark.parametrize(
    ("sampler", "axes"),
    [(Personas(), (2, 4)), (Identities(), (4,)), (Identities(2), (8,)), (Roles(2, 1), (4, 2))],
)
def test_shapes_and_types(sampler, axes):
    batch = first([numbered(3), numbered(5)], sampler, fields=FIELDS)
    frames = batch.get("source", batch)
    assert {name: array.shape for name, array in frames.items()} == {
        name: (*axes, *shape) for name, shape in SHAPES.items()
    }
    assert {n: array.dtype.char for n, array in frames.items()} == dict.fromkeys(
        FIELDS, "f"
    ) | TYPES
    assert frames["mask"].min() == 0 and frames["mask"].max() == 255


def test_each_field_alone_is_what_it_is_among_all():
    settings = {"augmentation": Augmentation(mirror=True, rotation=9, warp=0.05)}
    whole = first([numbered(4)], fields=FIELDS, **settings)
    for name in FIELDS:
        alone = first([numbered(4)], fields=(name,), **settings)
        assert alone.keys() == {name}
        np.testing.assert_array_equal(alone[name], whole[name])


def test_an_aligned_record_is_shown_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    batch = first(one(record(image, codec="png")), resolution=32, batch=1)
    assert np.abs(batch["image"][0, 0].astype(int) - image).max() <= 1


@pytest.mark.parametrize("alignment", align.ALIGNMENTS)
def test_faces_are_cut_as_their_landmarks_and_the_alignment_say(puppets, alignment):
    plain = puppets[0].read(0, decode)
    source = one(puppets[0].records[0], 64)
    fields = ("image", "landmarks", "mask")
    batch = first(source, resolution=48, batch=1, alignment=alignment, fields=fields)
    transform = align.alignment_transform(plain.landmarks, 48, alignment)
    image = align.warp(plain.image, transform, 48, 48)
    assert np.abs(batch["image"][0, 0].astype(float) - image).mean() < 2
    landmarks = align.transform_points(plain.landmarks, transform)
    np.testing.assert_allclose(batch["landmarks"][0, 0], landmarks, atol=1e-3)
    outline = align.transform_points(plain.polygon, transform)
    mask = align.polygon_mask(outline, 48, 48)
    assert np.abs(batch["mask"][0, 0] / 255 - mask).mean() < 0.01


def test_neighbours_are_cut_where_the_first_of_them_is():
    """Of one image in which two faces have been found: one is as the other, though its landmarks are elsewhere."""
    frame = render_frame(0, 1, 0, 0, 160)
    middle = frame.landmarks.mean(0)
    both = (frame.landmarks, middle + 1.2 * (frame.landmarks - middle) + 3)
    sources = []
    for landmarks in both:
        face = Face(landmarks, 1.0, frame.irises)
        about = {"time": 0.0, "frame": 0, "persona": "a", "clip": "c", "track": 0}
        found = face_record(frame.image, face, 64, **about)
        # Neighbours are told by their poses.
        (source,) = one(encode(replace(found, pose=np.zeros(3, np.float32))), 64)
        sources.append(source)
    changes = Augmentation(mirror=True, rotation=9, shift=0.05, alike=True)
    settings = {"resolution": 48, "alignment": "stable", "fields": ("image", "landmarks")}
    batch = made(sources, Identities(1, neighbours=2), **settings, batch=4, augmentation=changes)[0]
    ones, others = batch["image"][::2].astype(float), batch["image"][1::2]
    assert np.abs(ones - others).mean() < 2
    for first, second in zip(batch["landmarks"][::2], batch["landmarks"][1::2], strict=True):
        # So large and so far away in the crop as in the frame, but for the mirror
        size = np.ptp(second, 0) / np.ptp(first, 0)
        np.testing.assert_allclose(size, 1.2, rtol=0.1)
    alone = made(sources, Identities(), **settings, batch=2)[0]["image"].astype(float)
    assert np.abs(alone[0] - alone[1]).mean() > 5


@pytest.mark.parametrize("resolution", [64, 40, 32, 16, 8])
def test_decoding_a_jpeg_smaller_is_as_good_as_averaging_it(resolution):
    """On a rendered face with added noise, for noise is what a decoder could alias."""
    face = puppet_source(0, 1, 0, 1, 64).read(0, decode).image
    face = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).normal(0, 10, face.shape)
    data = record(np.clip(face + noise, 0, 255).astype(np.uint8))
    batch = first(one(data, 64), resolution=resolution, batch=1)
    side = (resolution, resolution)
    crop = decode(data).image[16:-16, 16:-16]  # without the margin
    averaged = cv2.resize(crop, side, interpolation=cv2.INTER_AREA)
    error = batch["image"][0, 0].astype(float) - averaged
    # Between the halves another filter than averaging is at work.
    limit = 1.5 if 64 % resolution == 0 else 4
    assert np.sqrt(np.square(error).mean()) < limit and abs(error.mean()) < 0.5


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_the_decoders_own_reduction_is_the_mean_to_within_some_levels(reduction):
    """The decoder leaves out the high frequencies of each block; the mean of pixels differs by rounding alone."""
    (data,) = puppet_source(0, 1, 0, 1, 64).records
    side = len(decode(data).image)
    _, encoded = unpack(data)
    smaller, found = decode_image(encoded, side, 1 / reduction)
    whole, _ = decode_image(encoded, side, 1.0)
    assert found == reduction
    mean = cv2.resize(whole, smaller.shape[:2], interpolation=cv2.INTER_AREA)
    levels = smaller.astype(int) - mean
    assert np.abs(levels).max() <= 3 and np.sqrt(np.square(levels).mean()) < 0.8


def test_sixteen_bits_are_rounded_to_the_nearest_eight():
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    data = record(np.repeat(levels[..., None], 3, -1), codec="png16")
    batch = first(one(data, 256), resolution=256, batch=1)
    expected = (levels.astype(int) * 255 + 32767) // 65535
    # Where the levels jump from one row to the next, cubic interpolation feels rounded landmarks.
    inside = batch["image"][0, 0, :, 4:-4, 1].astype(int)
    assert np.abs(inside - expected[:, 4:-4]).max() <= 1
    assert np.mean(inside != expected[:, 4:-4]) < 0.05  # half of them, were they cut off


def dots(side: int, points) -> np.ndarray:
    """Blurred dots, one per channel, at up to three points: centroids tell where they go."""
    y, x = np.mgrid[:side, :side]
    channels = [200 * np.exp(-(np.square(x - px) + np.square(y - py)) / 18) for px, py in points]
    return np.stack(channels, -1).astype(np.uint8)


def centroids(image) -> np.ndarray:
    """Centre (x, y) of what is bright in each channel."""
    weights = image.astype(float) * (image > 12)  # leaves JPEG's ringing out
    y, x = np.mgrid[: image.shape[0], : image.shape[1]][..., None]
    sums = np.stack([(weights * x).sum((0, 1)), (weights * y).sum((0, 1))], -1)
    return sums / weights.sum((0, 1))[:, None]


@pytest.mark.parametrize("augmentation", [MIRROR, JITTER])
@pytest.mark.parametrize(("codec", "resolution"), [("png", 64), ("jpeg", 32)])
def test_all_that_is_known_moves_with_the_image(augmentation, codec, resolution):
    """Three dots stand where an eye corner, the left iris and the chin are; the polygon is a disc around the nose."""
    landmarks = neutral_landmarks(64)
    landmarks[8] = (30, 50)
    irises = np.array([[23, 29], [41, 26]], np.float32)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    disc = landmarks[33] + 9 * np.stack([np.cos(angles), np.sin(angles)], -1)
    data = record(
        dots(64, [landmarks[36], irises[1], landmarks[8]]),
        codec=codec,
        landmarks=landmarks,
        irises=irises,
        polygon=disc.astype(np.float32),
    )
    fields = ("image", "landmarks", "irises", "mask", "pose")
    batch = first(
        one(data, 64), resolution=resolution, batch=16, fields=fields, augmentation=augmentation
    )
    faces = part(batch, lambda array: array[0])
    mirrored = faces["pose"][:, 0] < 0
    assert 3 < mirrored.sum() < 13
    y, x = np.mgrid[:resolution, :resolution]
    for b in range(16):
        # 45, 0 and 8 are the mirror images of 36, 1 and 8.
        corner, iris = (45, 0) if mirrored[b] else (36, 1)
        shown, irises_shown = faces["landmarks"][b], faces["irises"][b]
        expected = np.stack([shown[corner], irises_shown[iris], shown[8]])
        np.testing.assert_allclose(centroids(faces["image"][b]), expected, atol=0.3)

        # The disc stays around the nose, as large as the face.
        covered = faces["mask"][b] / 255
        centre = [(covered * grid).sum() / covered.sum() for grid in (x, y)]
        np.testing.assert_allclose(centre, shown[33], atol=0.2)
        unmirrored = mirror_landmarks(shown, resolution) if mirrored[b] else shown
        similarity = cv2.estimateAffinePartial2D(landmarks, unmirrored)[0]
        radius = 9 * align.transform_scale(similarity)
        np.testing.assert_allclose(covered.sum(), np.pi * radius**2, rtol=0.04)

        # Yaw and roll change sign in the mirror; the roll follows the turn.
        turn = np.rad2deg(np.arctan2(similarity[1, 0], similarity[0, 0]))
        sign = -1 if mirrored[b] else 1
        expected = [sign * POSE[0], POSE[1], sign * (POSE[2] + turn)]
        np.testing.assert_allclose(faces["pose"][b], expected, atol=0.05)
    assert np.ptp(faces["pose"][:, 2] * np.where(mirrored, -1, 1)) > (
        20 if augmentation is JITTER else -1
    )


def test_mirrored_frames_are_those_of_the_mirrored_image(puppets):
    fields = ("image", "landmarks", "irises", "pose")
    settings = {"resolution": 32, "batch": 32, "fields": fields}
    source = one(puppets[1].records[0], 64)
    plain = part(first(source, **settings), lambda array: array[0, 0])
    batch = first(source, **settings, augmentation=MIRROR)
    mirrored = batch["pose"][0, :, 0] != plain["pose"][0]
    assert 8 < mirrored.sum() < 24
    for b in range(32):
        image, landmarks, irises = plain["image"], plain["landmarks"], plain["irises"]
        if mirrored[b]:
            image, landmarks = image[:, ::-1], mirror_landmarks(landmarks, 32)
            irises = [31, 0] + [-1, 1] * irises[::-1]
        assert np.abs(batch["image"][0, b].astype(int) - image).mean() < 0.5
        np.testing.assert_allclose(batch["landmarks"][0, b], landmarks, atol=1e-3)
        np.testing.assert_allclose(batch["irises"][0, b], irises, atol=1e-3)
        right, left = (batch["landmarks"][0, b, eye].mean(0) for eye in (RIGHT_EYE, LEFT_EYE))
        assert right[0] < left[0]  # the person's right eye is still the left one in the image


def test_pose_follows_mirror_and_jitter_as_the_pose_of_the_landmarks_does(puppets):
    data = puppets[1].records[0]
    plain = decode(data)
    fields = ("landmarks", "pose")
    batch = first(one(data, 64), batch=12, fields=fields, augmentation=JITTER, alignment="box")
    signs = []
    for landmarks, pose in zip(batch["landmarks"][0], batch["pose"][0], strict=True):
        signs.append(np.sign(pose[0] * plain.pose[0]))
        mirror = np.array([signs[-1], 1, signs[-1]])
        change = head_pose(landmarks) - mirror * head_pose(plain.landmarks)
        np.testing.assert_allclose(change, pose - mirror * plain.pose, atol=0.1)
    assert {*signs} == {1, -1}


def test_puppets_go_the_same_way(puppets):
    batch = first(puppets, resolution=32, batch=3, fields=("image", "mask"))
    assert batch["image"].shape == (2, 3, 32, 32, 3)
    assert 0.2 < batch["mask"].mean() / 255 < 0.8
    fields = ("mask", "landmarks")
    face = first(puppets, Roles(1, 1, 1), resolution=32, batch=3, fields=fields)["driving"]
    for landmarks, mask in zip(face["landmarks"][:, 0], face["mask"][:, 0], strict=True):
        outline = align.face_polygon(landmarks)
        expected = polygon_masks(outline, np.array([len(outline)]), 32)[0]
        np.testing.assert_allclose(mask, expected, atol=32)
        assert np.abs(mask.astype(float) - expected).mean() < 1


def test_bad_settings():
    with pytest.raises(InputError, match="batch of 3 does not divide among 2 hosts"):
        made([numbered(2)], Personas(), batch=3, hosts=2)
    with pytest.raises(InputError, match="persona ann have 32 px, but 64 px"):
        made([numbered(2, persona="ann")], Personas(), resolution=64)
    with pytest.raises(ValueError, match="depth"):
        made([numbered(2)], Personas(), fields=("image", "depth"))
    with pytest.raises(InputError, match="chin"):
        made([numbered(2)], Personas(), alignment="chin")


@pytest.mark.parametrize("scale", [1.1, 1.0, 0.85, 0.6])
def test_the_faster_crop_is_close_to_the_one_of_the_preparation(scale):
    face = puppet_source(0, 1, 0, 1, 64).read(0, decode).image
    turn = cv2.getRotationMatrix2D((40, 40), 7, scale)
    difference = plain_crop(face, turn, 64).astype(float) - align.crop(face, turn, 64)
    assert np.sqrt(np.mean(difference**2)) < 3 and abs(difference.mean()) < 0.3
