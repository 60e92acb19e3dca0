"""Samples for the oracle: views aligned by landmarks, parameters as seen in them, mirroring, batches by step."""

import dataclasses

import cv2
import numpy as np
import pytest

from data_pipelines.puppets import samples
from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.parameters import (
    PERSONA_SPANS,
    Performance,
    Persona,
    Scene,
    sample_persona,
)
from data_pipelines.puppets.renderer import render
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import LEFT_EYE, NOSE, RIGHT_EYE
from tests.support.mirroring import mirror_landmarks

NAMES, SIDE = list(samples.SPANS), samples.SIDE
YAW, ROLL, PLACE = (
    NAMES.index("yaw"),
    NAMES.index("roll"),
    [NAMES.index(f"translate_{axis}") for axis in "xy"],
)
LOW, HIGH = (np.array([span[end] for span in samples.SPANS.values()]) for end in (0, 1))
SEEN = [i for i in range(len(NAMES)) if i not in (ROLL, *PLACE)]  # which do not depend on the view
UPPER_LIP = slice(48, 55)


@pytest.fixture(scope="module")
def world():
    return samples.Samples(5)


def similarity(scale, degrees, shift):
    cos, sin = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def then(first, second):
    """Both transforms, one after the other."""
    return np.column_stack(
        [second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]]
    )


def tilt(transform):
    """Degrees."""
    return np.rad2deg(np.arctan2(transform[1, 0], transform[0, 0]))


def own_parameters(frame):
    """As seen in the face's own view."""
    return samples.normalise(
        samples.parameters(frame), samples.view(frame.landmarks), len(frame.image)
    )


def test_normalised_and_plain_values_are_inverse_in_any_view():
    rng = np.random.default_rng(0)
    for _ in range(100):
        values = (LOW + rng.random(len(NAMES)) * (HIGH - LOW)).astype(np.float32)
        transform = similarity(rng.uniform(0.2, 3), rng.uniform(-60, 60), rng.uniform(-90, 90, 2))
        size = int(rng.integers(16, 1025))
        normalised = samples.normalise(values, transform, size)
        again = samples.denormalise(normalised, transform, size)
        assert normalised.dtype == again.dtype == np.float32
        np.testing.assert_allclose((again - values) / (HIGH - LOW), 0, atol=1e-5)
        np.testing.assert_allclose(
            normalised[SEEN], ((values - LOW) / (HIGH - LOW))[SEEN], atol=1e-6
        )


def test_place_is_where_the_camera_sees_an_unturned_head():
    """In fractions of the view; the camera is told by its own module."""
    values = samples.parameters(samples.sample_frame(5, 0, 16))
    performance = Performance(*values[len(PERSONA_SPANS) :].tolist())
    size, transform = 120, similarity(0.7, 20, (3, -5))
    origin = build(sample_persona(5, 0), performance).body_pose.translation
    seen = align.transform_points(Camera(size, 1.0).project(origin[None]), transform)[0]
    normalised = samples.normalise(values, transform, size)
    np.testing.assert_allclose(normalised[PLACE], (seen + 0.5) / SIDE, atol=1e-5)
    np.testing.assert_allclose(
        normalised[ROLL], (performance.roll + 20 - LOW[ROLL]) / (HIGH - LOW)[ROLL], atol=1e-6
    )


def test_turned_and_moved_puppets_have_the_same_parameters_in_their_own_views():
    persona, scene = sample_persona(5, 2), Scene()
    level = own_parameters(render(persona, Performance(), scene, 64))
    assert abs(level[ROLL] - 0.5) < 0.01
    for roll in (-18, 12):
        turned = own_parameters(render(persona, Performance(roll=roll), scene, 64))
        assert abs(turned[ROLL] - level[ROLL]) * (HIGH - LOW)[ROLL] < 0.01  # degrees
    moved = own_parameters(
        render(persona, Performance(translate_x=0.2, translate_y=-0.15), scene, 64)
    )
    np.testing.assert_allclose(moved[PLACE], level[PLACE], atol=0.01)


def test_features_lie_at_the_same_place_in_all_views():
    middles, below = [], []
    for number in range(4):
        frame = samples.sample_frame(5, number, 16)
        for yaw in np.linspace(-40, 40, 9):
            turned = render(
                frame.persona, dataclasses.replace(frame.performance, yaw=yaw), frame.scene, 32
            )
            points = align.transform_points(turned.landmarks, samples.view(turned.landmarks))
            right, left = points[RIGHT_EYE].mean(0), points[LEFT_EYE].mean(0)
            assert abs(left[1] - right[1]) < 1e-3 and left[0] > right[0]
            features = np.concatenate([points[RIGHT_EYE], points[LEFT_EYE], points[UPPER_LIP]])
            assert features.min() > 0 and features.max() < SIDE - 1
            middles.append((right + left) / 2)
            below.append(np.linalg.norm(points[NOSE[6]] - middles[-1]))
    np.testing.assert_allclose(np.array(middles)[:, 0], (SIDE - 1) / 2, atol=1e-3)
    assert np.ptp(middles, axis=0)[1] < 3 and max(below) < 1.6 * min(below)


def test_a_view_is_the_same_of_pictures_of_any_size_and_goes_with_the_face():
    small, large = (samples.sample_frame(5, 1, size) for size in (128, 512))
    seen = [
        align.warp(f.image, samples.view(f.landmarks), SIDE, SIDE).astype(int)
        for f in (small, large)
    ]
    assert np.abs(seen[0] - seen[1]).mean() < 4
    np.testing.assert_allclose(own_parameters(small), own_parameters(large), atol=1e-3)
    away = similarity(1.7, 33, (-20, 50))
    again = then(away, samples.view(align.transform_points(small.landmarks, away)))
    np.testing.assert_allclose(again, samples.view(small.landmarks), atol=1e-3)
    half = align.scale_transform(samples.view(small.landmarks, 2 * SIDE), 0.5)
    np.testing.assert_allclose(half, samples.view(small.landmarks), atol=1e-6)


def test_a_mirrored_picture_shows_mirrored_parameters():
    for number in range(3):
        frame = samples.sample_frame(5, number, 96)
        plain = dataclasses.replace(
            frame.persona, freckles=0.0, beard=0.0
        )  # whose grain no mirror turns
        one = render(plain, frame.performance, frame.scene, 96)
        normalised = own_parameters(one)
        np.testing.assert_allclose(
            samples.mirrored(samples.mirrored(normalised)), normalised, atol=1e-6
        )
        transform = samples.view(mirror_landmarks(one.landmarks, 96))
        values = samples.denormalise(samples.mirrored(normalised), transform, 96).tolist()
        persona, performance = (
            Persona(*values[: len(PERSONA_SPANS)]),
            Performance(*values[len(PERSONA_SPANS) :]),
        )
        light = dataclasses.replace(frame.scene, light_azimuth=-frame.scene.light_azimuth)
        other = render(persona, performance, light, 96)
        np.testing.assert_allclose(own_parameters(other), samples.mirrored(normalised), atol=1e-4)
        np.testing.assert_allclose(mirror_landmarks(one.landmarks, 96), other.landmarks, atol=1e-3)
        # Without the fringe, whose strands no mirror turns.
        face = cv2.erode(other.mask, np.ones((9, 9)))[..., None] > 0
        difference = np.abs(one.image[:, ::-1].astype(int) - other.image)
        assert np.percentile(difference[np.broadcast_to(face, difference.shape)], 95) <= 2


def test_tests_see_what_is_read_of_the_same_pictures(world):
    """As `evaluation/oracle.py` sees them, but for JPEG."""
    batch, differences = samples.test_batches(world, batch=16)[0], []
    for number in range(16):
        sample = world[number]
        frame = samples.sample_frame(5, number, sample.size)
        np.testing.assert_array_equal(sample.values, samples.parameters(frame))
        np.testing.assert_allclose(batch["parameters"][number], own_parameters(frame), atol=1e-5)
        transform = samples.view(frame.landmarks)
        seen = align.warp(frame.image, transform, SIDE, SIDE)
        outline = align.face_polygon(align.transform_points(frame.landmarks, transform))
        mask = 255 * align.polygon_mask(outline, SIDE, SIDE)
        differences.append([np.abs(seen.astype(float) - batch["image"][number]).mean()])
        differences[-1].append(np.abs(mask - batch["mask"][number]).mean())
        for look, made in zip(samples.closer(transform), batch["details"][number], strict=True):
            side = samples.DETAIL_SIDE
            closely = align.warp(frame.image, look, side, side)
            assert np.abs(closely.astype(float) - made).mean() < 8
    picture, mask = np.mean(differences, 0)
    assert picture < 4 and mask < 1


def test_training_views_vary_and_parameters_and_masks_follow(world):
    """The view of each picture is measured from the pictures (Evangelidis & Psarakis, ECC, 2008)."""
    batch, turns, scales, shifts, flips = (
        samples.training_batches(world, batch=24, fresh=24, seed=0)[0],
        [],
        [],
        [],
        0,
    )
    whole = (batch["mask"] == 255).all((1, 2))
    for number in range(24):
        sample, image, mask = world[number], batch["image"][number], batch["mask"][number]
        own = samples.view(sample.landmarks)
        plain = samples.normalise(sample.values, own, sample.size)
        stored = cv2.imdecode(sample.encoded, cv2.IMREAD_COLOR_RGB)
        seen = align.warp(stored, samples.view(sample.landmarks), SIDE, SIDE)
        normalised = batch["parameters"][number]
        if flipped := abs(normalised[YAW] - plain[YAW]) > 1e-5:
            image, mask, normalised = image[:, ::-1], mask[:, ::-1], samples.mirrored(normalised)
        flips += flipped
        np.testing.assert_allclose(normalised[SEEN], plain[SEEN], atol=1e-6)
        greys = [
            cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
            for picture in (image, seen)
        ]
        start = np.eye(2, 3, dtype=np.float32)
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
        alike, back = cv2.findTransformECC(*greys, start, cv2.MOTION_AFFINE, stop, None, 5)
        corners = np.float32([[0, 0], [SIDE - 1, 0], [0, SIDE - 1], [SIDE - 1, SIDE - 1]])
        inner, _ = cv2.estimateAffinePartial2D(align.transform_points(corners, back), corners)
        assert alike > 0.93  # not so if what says it is mirrored is not, or the other way round
        followed = samples.normalise(sample.values, then(own, inner), sample.size)
        np.testing.assert_allclose(normalised[[ROLL, *PLACE]], followed[[ROLL, *PLACE]], atol=0.01)
        off = inner
        middle = np.full(2, (SIDE - 1) / 2)
        turns.append(tilt(off))
        scales.append(align.transform_scale(off))
        shifts.append(off @ [*middle, 1] - middle)
        if not whole[number]:
            landmarks = align.transform_points(sample.landmarks, then(own, inner))
            outline = align.face_polygon(landmarks)
            exact = align.polygon_mask(outline, SIDE, SIDE) > 0.5
            assert (exact & (mask > 127)).sum() / (exact | (mask > 127)).sum() > 0.7
    assert 4 < flips < 20
    for values, least, most in (
        (turns, 3, 8.5),
        (np.array(scales) - 1, 0.04, 0.13),
        (shifts, 2, 6),
    ):
        assert np.std(values) > least and np.abs(values).max() < most


def test_details_show_eyes_and_mouth_larger():
    """Whatever the view of training: the middles of both eyes and of the mouth lie in their looks, well inside."""
    for number in range(24):
        frame = samples.sample_frame(5, number, 16)
        own = samples.view(frame.landmarks)
        middles = [
            frame.landmarks[feature].mean(0) for feature in (RIGHT_EYE, LEFT_EYE, slice(48, 68))
        ]
        for look, middle in zip(samples.closer(own), middles, strict=True):
            (place,) = align.transform_points(middle[None], look)
            assert (place > 0.1 * samples.DETAIL_SIDE).all()
            assert (place < 0.9 * samples.DETAIL_SIDE).all()
            assert align.transform_scale(look) > 1.49 * align.transform_scale(own)


def test_both_eyes_look_alike():
    """The nose is at the right of either look, and a mirrored puppet has the same looks in the other order."""
    face = front(sample_persona(5, 1))
    eye, other, mouth = samples.look(face.image, samples.view(face.landmarks))[1].astype(int)
    assert np.abs(eye - other).mean() < 6
    mirrored = np.ascontiguousarray(face.image[:, ::-1])
    view = samples.view(mirror_landmarks(face.landmarks, len(mirrored)))
    swapped = samples.look(mirrored, view)[1].astype(int)
    for one, same in zip((other, eye, mouth[:, ::-1]), swapped, strict=True):
        assert np.abs(one - same).mean() < 1


def front(persona: Persona):
    """A face seen from the front in a light from there."""
    scene = Scene(light_azimuth=0, background_pattern=0)
    return render(persona, Performance(), scene, 128)


def test_details_are_of_the_same_puppet_in_the_same_view(world):
    """What a detail shows is what the face shows there, mirrored or not."""
    batch = samples.training_batches(world, batch=24, fresh=24, seed=0)[0]
    for image, details in zip(batch["image"], batch["details"], strict=True):
        for number, (left, top, side) in enumerate(samples.DETAILS):
            coarse = cv2.resize(details[number], (side, side), interpolation=cv2.INTER_AREA)
            if number == 1:
                coarse = coarse[:, ::-1]
            part = image[top : top + side, left : left + side].astype(float)
            assert np.abs(coarse - part).mean() < 8
            others = np.abs(batch["image"][:, top : top + side, left : left + side] - coarse)
            assert np.median(others.mean((1, 2, 3))) > 15


def test_masks_show_the_face_or_all(world):
    batch = samples.training_batches(world, batch=64, fresh=16, seed=0)[0]
    whole = (batch["mask"] == 255).all((1, 2))
    assert 0.1 < whole.mean() < 0.5
    exact = samples.test_batches(world, batch=16)[0]["mask"]
    areas = batch["mask"][:16].mean((1, 2))[~whole[:16]] / exact.mean((1, 2))[~whole[:16]]
    assert areas.min() > 0.5 and areas.max() < 1.8 and areas.std() > 0.05
    details = (batch["detail_masks"] == 255).all((1, 2, 3))
    assert (details[whole]).all()
    # Eyes and mouth lie in the face; corners of their looks may not.
    assert batch["detail_masks"].mean() > 0.6 * 255


def test_a_step_is_the_same_in_any_order_and_over_hosts(world):
    made = samples.training_batches(world, batch=8, fresh=2, seed=3)
    late, early = made[2], made[0]
    again = samples.training_batches(samples.Samples(5), batch=8, fresh=2, seed=3)
    halves = [
        samples.training_batches(world, batch=8, fresh=2, seed=3, host=h, hosts=2)[2]
        for h in (0, 1)
    ]
    for name in samples.Batch.__annotations__:
        np.testing.assert_array_equal(late[name], again[2][name])
        np.testing.assert_array_equal(late[name], np.concatenate([half[name] for half in halves]))
    assert (early["parameters"] != late["parameters"]).any()
    assert late["image"].shape == (8, 64, 64, 3) and late["mask"].shape == (8, 64, 64)
    assert late["details"].shape == (8, 3, 48, 48, 3)
    assert late["detail_masks"].shape == (8, 3, 48, 48)
    assert late["parameters"].shape == (8, 40)


def test_every_step_has_new_samples_and_draws_the_others_from_all_so_far(world):
    persona = slice(len(PERSONA_SPANS))
    known = ((np.stack([world[n].values for n in range(12)]) - LOW) / (HIGH - LOW))[:, persona]
    batch = samples.training_batches(world, batch=32, fresh=4, seed=0)[2]
    numbers = [
        int(np.abs(known - normalised[persona]).sum(1).argmin())
        for normalised in batch["parameters"]
    ]
    assert numbers[:4] == [8, 9, 10, 11]
    assert set(numbers[4:]) <= set(range(12)) and len(set(numbers)) > 8
    twins = [i for i in range(32) if numbers.count(numbers[i]) > 1]
    assert len(np.unique(batch["parameters"][twins][:, PLACE], axis=0)) == len(
        twins
    )  # never seen the same way twice


def test_tests_go_on_where_the_last_batch_ended(world):
    made, all_of_them = (
        samples.test_batches(world, batch=4),
        samples.test_batches(world, batch=8)[0],
    )
    for name in samples.Batch.__annotations__:
        np.testing.assert_array_equal(made[1][name], all_of_them[name][4:])
        host = samples.test_batches(world, batch=8, host=1, hosts=2)[0]
        np.testing.assert_array_equal(host[name], all_of_them[name][4:])


def test_worlds_differ():
    assert (samples.sample_frame(5, 0, 16).image != samples.sample_frame(6, 0, 16).image).any()
