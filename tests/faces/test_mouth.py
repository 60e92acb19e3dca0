"""The inside of a mouth from one image in another, on puppets that open theirs."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from data_pipelines.puppets.parameters import sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.faces import align, mouth
from faceswap_jax.faces.ibug import INNER_LIPS, OUTER_LIPS


def puppet(mouth_open):
    """A frame with its landmarks."""
    (performance,) = performance_track(0, 0, 0, 1)
    performance = replace(performance, mouth_open=mouth_open, smile=0, pucker=0, yaw=5, pitch=0)
    return render(sample_persona(0, 0), performance, sample_scene(0, 0, 0), 192)


@pytest.fixture(scope="module")
def frame():
    """An open mouth."""
    return puppet(0.9)


def lips(frame, side, which):
    """Where inner or outer lips are in the crop."""
    transform = align.alignment_transform(frame.landmarks, side, "box")
    points = align.transform_points(frame.landmarks[which], transform)
    hull = cv2.convexHull(points)[:, 0]
    return align.polygon_mask(hull, side, side) > 0


def smeared(frame, side):
    """The face, with lips where the inside of the mouth is."""
    crop = align.cut_face(frame.image, frame.landmarks, 256, "box")
    inside = cv2.dilate(np.uint8(lips(frame, 256, INNER_LIPS)), np.ones((5, 5)))
    return align.resize(cv2.inpaint(crop, inside, 5, cv2.INPAINT_TELEA), side)


@pytest.mark.parametrize("side", [64, 256])
def test_the_inside_is_the_drivers_and_the_rest_stays(frame, side):
    truth = align.cut_face(frame.image, frame.landmarks, side, "box").astype(int)
    before = smeared(frame, side)
    after = mouth.restore(before, frame.image, frame.landmarks, "box")
    inside = lips(frame, side, INNER_LIPS)
    errors = [np.abs(image - truth)[inside].mean() for image in (before, after)]
    assert errors[0] > 40 and errors[1] < 0.25 * errors[0]
    around = np.ones((side // 8, side // 8))
    beyond = cv2.dilate(np.uint8(lips(frame, side, OUTER_LIPS)), around) == 0
    assert (after == before)[beyond].all()


def test_colours_are_those_of_the_image(frame):
    """A driver in other light gives the same."""
    image = smeared(frame, 128)
    dim = np.uint8(np.clip(frame.image.astype(int) // 2 + 20, 0, 255))
    bright = dim + np.uint8([40, 30, 20])
    results = [
        mouth.restore(image, light, frame.landmarks, "box").astype(int) for light in (dim, bright)
    ]
    assert np.abs(np.subtract(*results)).max() <= 2
    assert (results[0] != image).any()


def test_a_closed_mouth_stays_and_one_that_opens_fades_in():
    changes = []
    for opened in (0.0, 0.25, 0.9):
        frame = puppet(opened)
        image = np.full((64, 64, 3), 128, np.uint8)
        after = mouth.restore(image, frame.image, frame.landmarks, "box")
        changes.append(np.abs(after.astype(int) - image).max())
    assert changes[0] == 0 and 0 < changes[1] < changes[2]
