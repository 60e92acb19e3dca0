"""The image, its landmarks and its masks tell the same story."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.landmarks import head_points, landmarks
from data_pipelines.puppets.parameters import (
    PERFORMANCE_SPANS,
    Performance,
    Persona,
    sample_persona,
    sample_scene,
    spans,
)
from data_pipelines.puppets.renderer import render
from faceswap_jax.errors import InputError
from faceswap_jax.faces.ibug import (
    INNER_LIPS,
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    MOUTH,
    NOSE,
    RIGHT_BROW,
    RIGHT_EYE,
)


def box(frame, indices, margin):
    """Slices around some landmarks, widened by `margin` pixels."""
    points = frame.landmarks[list(indices)]
    left, top = np.floor(points.min(0) - margin).astype(int)
    right, bottom = np.ceil(points.max(0) + margin).astype(int) + 1
    return slice(max(top, 0), bottom), slice(max(left, 0), right)


def change(first, second):
    """Largest difference of any channel per pixel."""
    return np.abs(first.image.astype(int) - second.image.astype(int)).max(-1)


def foreground(persona, performance, scene, size) -> np.ndarray:
    """Where the puppet covers the background completely [size, size]: such pixels ignore the background's colour."""
    before_dark = dataclasses.replace(scene, background_value=0.2)
    before_bright = dataclasses.replace(scene, background_value=0.8)
    frames = [render(persona, performance, s, size) for s in (before_dark, before_bright)]
    return change(*frames) == 0


def test_frame_has_the_promised_types(neutral):
    assert neutral.image.shape == (128, 128, 3) and neutral.image.dtype == np.uint8
    assert neutral.image.flags.c_contiguous
    assert neutral.irises.shape == (2, 2) and neutral.irises.dtype == np.float32
    assert neutral.landmarks.shape == (68, 2) and neutral.landmarks.dtype == np.float32
    assert neutral.visible.shape == (68,) and neutral.visible.dtype == bool
    assert neutral.polygon.ndim == 2 and neutral.polygon.dtype == np.float32
    assert neutral.mask.shape == (128, 128) and set(np.unique(neutral.mask)) == {0, 255}


def test_rendering_is_deterministic(plain, scene, neutral):
    again = render(plain, Performance(), scene, 128)
    assert np.array_equal(again.image, neutral.image)
    assert np.array_equal(again.landmarks, neutral.landmarks)


@pytest.mark.parametrize("size", [15, 1025, 64.5])
def test_other_sizes_are_user_errors(plain, scene, size):
    with pytest.raises(InputError, match="16 to 1024"):
        render(plain, Performance(), scene, size)


def test_landmarks_follow_the_ibug_order(neutral):
    x, y = neutral.landmarks.T
    assert np.all(np.diff(x[list(JAW)]) > 0) and np.argmax(y) == 8
    assert np.all(np.diff(x[17:27]) > 0)  # both brows from left to right
    assert np.all(np.diff(y[27:31]) > 0) and np.all(np.diff(x[31:36]) > 0)
    for start in (36, 42):  # clockwise from the corner at the left
        corner, upper, lower = x[start], y[start + 1 : start + 3], y[start + 4 : start + 6]
        assert corner < x[start + 1] < x[start + 2] < x[start + 3] and x[start + 5] < x[start + 4]
        assert upper.max() < y[start] < lower.min()
    assert np.all(np.diff(x[48:55]) > 0) and np.all(np.diff(x[54:60]) < 0)
    assert np.all(np.diff(x[60:65]) > 0) and np.all(np.diff(x[64:68]) < 0)
    heights = [y[list(part)].mean() for part in (RIGHT_BROW, RIGHT_EYE, NOSE, MOUTH)]
    assert heights == sorted(heights) and y[8] > y[list(MOUTH)].max()
    assert neutral.visible[
        list(itertools.chain(RIGHT_BROW, LEFT_BROW, RIGHT_EYE, LEFT_EYE, MOUTH))
    ].all()


def test_a_frontal_face_is_symmetric(neutral):
    x = neutral.landmarks[:, 0]
    assert x[8] == pytest.approx(63.5, abs=0.1)
    assert x[36] + x[45] == pytest.approx(2 * 63.5, abs=0.1)


@pytest.mark.parametrize("eye", [RIGHT_EYE, LEFT_EYE])
def test_the_iris_lies_between_the_lids_landmarks(plain, scene, eye):
    """The centroid of blue pixels is the middle of the eye, and moves with the gaze."""
    centroids = []
    for gaze in (0.0, 1.0):
        frame = render(plain, Performance(gaze_x=gaze, lid_left=1.0, lid_right=1.0), scene, 256)
        rows, columns = box(frame, eye, 1)
        patch = frame.image[rows, columns].astype(int)
        blue = patch[..., 2] - patch[..., 0] > 25
        assert blue.sum() > 20
        centroids.append(np.argwhere(blue).mean(0)[1] + columns.start)
    middle = frame.landmarks[[eye[0], eye[3]], 0].mean()
    width = frame.landmarks[eye[3], 0] - frame.landmarks[eye[0], 0]
    assert abs(centroids[0] - middle) < 0.08 * width
    assert centroids[1] > centroids[0] + 0.12 * width


def test_irises_follow_the_gaze_of_the_eye_they_belong_to(plain, scene, neutral):
    # The person's right one is at the left of the image.
    assert neutral.irises[0, 0] < neutral.irises[1, 0]
    for eye, iris in zip((RIGHT_EYE, LEFT_EYE), neutral.irises, strict=True):
        corners = neutral.landmarks[[eye[0], eye[3]]]
        assert np.linalg.norm(iris - corners.mean(0)) < 0.15 * np.ptp(corners[:, 0])
    wide = Performance(lid_left=1.0, lid_right=1.0)
    aside = dataclasses.replace(wide, gaze_x=0.7, gaze_y=0.7)
    looking = render(plain, aside, scene, 256)
    still = render(plain, wide, scene, 256)
    shift = looking.irises - still.irises
    assert (shift[:, 0] > 2).all() and (shift[:, 1] < -1.5).all()
    for frame in (still, looking):  # the pupil is the darkest spot around
        for x, y in np.round(frame.irises).astype(int):
            patch = frame.image[y - 3 : y + 4, x - 3 : x + 4].sum(-1)
            assert patch[3, 3] < np.median(patch)


def test_an_open_mouth_shows_teeth_above_and_the_tongue_below(plain, scene, neutral):
    def inside(frame):
        outline = np.round(frame.landmarks[list(INNER_LIPS)]).astype(np.int32)
        area = cv2.fillPoly(np.zeros(frame.image.shape[:2], np.uint8), [outline], 1) > 0
        rows, red, green, blue = *np.nonzero(area)[:1], *frame.image[area].astype(int).T
        return rows[np.minimum(green, blue) > 130], rows[(red > 90) & (red > 1.6 * green)]

    for size in (64, 128):
        frame = render(plain, Performance(mouth_open=0.9), scene, size)
        teeth, tongue = inside(frame)
        assert len(teeth) >= size // 16 and len(tongue) >= size // 16
        assert teeth.mean() < tongue.mean()
    assert len(inside(neutral)[0]) == 0


def test_glasses_are_dark_and_reflect(plain, scene, neutral):
    wearing = render(dataclasses.replace(plain, glasses=0.4), Performance(), scene, 128)
    changed = change(neutral, wearing)
    nose = np.round(neutral.landmarks[27]).astype(int)  # behind the bridge
    around = (slice(nose[1] - 3, nose[1] + 4), slice(nose[0] - 2, nose[0] + 3))
    assert wearing.image[around].sum(-1).min() < 0.4 * neutral.image[around].sum(-1).min()
    for eye in (RIGHT_EYE, LEFT_EYE):
        x, y = np.round(neutral.landmarks[list(eye)].mean(0)).astype(int)
        assert 0 < changed[y, x] < 40  # seen through the lens
    assert changed[int(neutral.landmarks[62, 1]) :].max() == 0


def test_long_hair_covers_the_temples_and_hides_landmarks(plain, scene, neutral):
    """No background shows between hair and face at the height of the brows."""
    persona = dataclasses.replace(plain, hair_length=0.8, hair_volume=0.1)
    frame = render(persona, Performance(), scene, 128)
    covered = foreground(persona, Performance(), scene, 128)
    for y in np.round(frame.landmarks[[17, 19, 36], 1]).astype(int):
        columns = np.flatnonzero(covered[y])
        assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))
    low = dataclasses.replace(persona, hair_line=0.44, hair_volume=0.22, brow_height=0.06)
    nodding = Performance(pitch=-25.0, brow_raise=1.0)
    raised = render(low, nodding, scene, 64)
    bare = render(dataclasses.replace(low, hair_line=0.84), nodding, scene, 64)
    assert bare.visible[19:25].all() and not raised.visible[19:25].all()
    assert np.array_equal(raised.landmarks, bare.landmarks)


def test_dark_skin_keeps_its_features(plain, scene):
    dark = dataclasses.replace(plain, skin_tone=1.0, hair_colour=1.0)
    frame = render(dark, Performance(), scene, 128)
    light = frame.image.astype(int).sum(-1)
    x, y = np.round(frame.landmarks[[19, 24]]).astype(int).T  # on both brows
    assert light[y, x].mean() < 0.75 * light[y - 6, x].mean()
    for eye in (RIGHT_EYE, LEFT_EYE):
        assert np.ptp(light[box(frame, eye, 0)]) > 300


def test_lips_are_red_inside_their_outline_only(neutral):
    redness = neutral.image[..., 0].astype(int) - neutral.image[..., 1]
    lower_lip = np.round(neutral.landmarks[[57, 66]].mean(0)).astype(int)
    below = neutral.landmarks[57] + (neutral.landmarks[57] - neutral.landmarks[51]) * 0.5
    chin = np.round(below).astype(int)
    assert redness[lower_lip[1], lower_lip[0]] > redness[chin[1], chin[0]] + 25


def test_closed_lids_cover_the_iris(plain, scene):
    closed = render(plain, Performance(lid_left=0.0, lid_right=0.8), scene, 256)
    rows, columns = box(closed, RIGHT_EYE, 1)
    patch = closed.image[rows, columns].astype(int)
    assert not np.any(patch[..., 2] > patch[..., 0])
    left, right = (np.ptp(closed.landmarks[list(eye), 1]) for eye in (LEFT_EYE, RIGHT_EYE))
    assert right < 0.5 * left
    assert closed.landmarks[[37, 38], 1] == pytest.approx(closed.landmarks[[41, 40], 1], abs=0.2)


REGIONS = {
    "gaze_x": [RIGHT_EYE, LEFT_EYE],
    "gaze_y": [RIGHT_EYE, LEFT_EYE],
    "lid_left": [RIGHT_EYE],
    "lid_right": [LEFT_EYE],
    "brow_raise": [RIGHT_BROW, LEFT_BROW],
    "brow_frown": [RIGHT_BROW, LEFT_BROW],
    "mouth_open": [MOUTH],
    "smile": [MOUTH],
    "pucker": [MOUTH],
}


@pytest.mark.parametrize("name", REGIONS)
def test_expressions_change_their_own_region(plain, scene, neutral, name):
    moved = render(plain, Performance(**{name: PERFORMANCE_SPANS[name].high * 0.999}), scene, 128)
    if name.startswith("lid"):
        moved = render(plain, Performance(**{name: 0.0}), scene, 128)
    difference = change(neutral, moved)
    for region in REGIONS[name]:
        assert (difference[box(neutral, region, 2)] > 40).sum() >= 4
    eyes, brows = (*RIGHT_EYE, *LEFT_EYE), (*RIGHT_BROW, *LEFT_BROW)
    elsewhere = {MOUTH: (*eyes, *brows), RIGHT_EYE: MOUTH, LEFT_EYE: MOUTH, RIGHT_BROW: MOUTH}[
        REGIONS[name][0]
    ]
    still = difference[box(neutral, elsewhere, 0)]
    if name == "smile":  # cheeks rise and push the lower lids
        still = difference[box(neutral, brows, 1)]
    assert still.max() <= 3
    hair = neutral.landmarks[19:25, 1].min() - 26
    assert difference[: int(hair)].max() <= 3


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll", "translate_x", "translate_y"])
def test_motion_moves_the_landmarks_the_right_way(plain, scene, neutral, name):
    moved = render(plain, Performance(**{name: PERFORMANCE_SPANS[name].high}), scene, 128)
    x, y = (moved.landmarks - neutral.landmarks).T
    if name in ("yaw", "translate_x"):
        assert x[30] > 3
    elif name in ("pitch", "translate_y"):
        assert y[30] < -3
    else:  # clockwise: the eye at the left goes up, the one at the right down
        assert y[36] < -2 and y[45] > 2


def test_a_turned_head_hides_its_far_side(plain, scene):
    frame = render(plain, Performance(yaw=40.0), scene, 128)
    assert frame.visible[:4].all() and not frame.visible[14:17].any()


def test_pictures_of_different_sizes_agree(plain):
    scene, performance = sample_scene(0, 1, 0), Performance(yaw=20.0, smile=0.6, mouth_open=0.5)
    frames = {size: render(plain, performance, scene, size) for size in (16, 32, 64, 128, 256)}
    for size in (16, 32, 64, 128):
        reduced = cv2.resize(frames[256].image, (size, size), interpolation=cv2.INTER_AREA)
        difference = np.abs(reduced.astype(int) - frames[size].image)
        assert difference.mean() < (6.0 if size == 16 else 3.0)
        scaled = (frames[256].landmarks + 0.5) * (size / 256) - 0.5
        assert np.abs(scaled - frames[size].landmarks).max() < 1e-3


def test_largest_size_renders(plain, scene):
    assert render(plain, Performance(), scene, 512).image.std() > 20


def test_the_mask_lies_inside_the_head(plain, scene):
    for performance in (
        Performance(),
        Performance(yaw=-25.0, pitch=10.0, roll=15.0, mouth_open=1.0),
    ):
        frame = render(plain, performance, scene, 128)
        inside = frame.mask > 0
        assert inside.sum() > 1200
        assert np.mean(foreground(plain, performance, scene, 128)[inside]) > 0.99


def test_the_whole_head_stays_in_the_picture(scene):
    """The worst personas in the worst poses: landmarks and hair keep clear of the border."""
    near = dataclasses.replace(scene, camera_scale=1.08)
    tall = dataclasses.replace(
        sample_persona(0, 0),
        head_height=1.08,
        head_width=1.12,
        chin_length=0.12,
        hair_volume=0.22,
        hair_length=0.0,
    )
    for sign in (-1, 1):
        performance = Performance(
            yaw=40.0 * sign,
            pitch=25.0 * sign,
            roll=20.0,
            mouth_open=1.0,
            translate_x=0.2,
            translate_y=0.15 * sign,
        )
        frame = render(tall, performance, near, 64)
        assert frame.landmarks.min() > 0 and frame.landmarks.max() < 63
        covered = foreground(tall, performance, near, 64)
        assert not covered[0].any() and not covered[:40, [0, -1]].any()


def test_all_landmarks_exist_and_stay_in_the_picture_for_extreme_parameters():
    rng = np.random.default_rng(0)
    camera = Camera(100, 1.08)

    def corner(kind):
        """Every parameter at one of its ends."""
        return kind(**{name: span[rng.integers(2)] for name, span in spans(kind).items()})

    for _ in range(100):
        anatomy = build(corner(Persona), corner(Performance))
        points, _ = landmarks(anatomy, camera, head_points(anatomy))
        assert points.min() > 0 and points.max() < 99


def test_personas_look_different(scene):
    pictures = [
        render(sample_persona(0, index), Performance(), scene, 64).image.astype(int)
        for index in range(8)
    ]
    face = (slice(18, 46), slice(20, 44))
    for first, second in itertools.combinations(pictures, 2):
        assert np.abs(first[face] - second[face]).mean() > 10
