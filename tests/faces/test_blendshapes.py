"""Blendshapes by MediaPipe's face landmarker, against MediaPipe's own code.

blendshapes.npz holds what MediaPipe 0.10.21 gives of two puppets, frames 7 and 13 of world 7 at 256 px: its
FaceLandmarker, in the mode for videos, was shown each picture twelve times, so that its window settles where its mesh
puts it. `mesh_N` are its 478 points in pixels of the picture, `scores_N` its 52 scores.
"""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from faceswap_jax.faces import align, blendshapes
from faceswap_jax.faces.blendshapes import NAMES, BlendshapeReader
from tests.support.face_scenes import similarity

STORED = np.load(Path(__file__).with_name("blendshapes.npz"))


@pytest.fixture(scope="module")
def reader():
    return BlendshapeReader()


@pytest.mark.parametrize("number", [7, 13])
def test_scores_of_a_mesh_are_those_of_mediapipe(reader, number):
    scores = reader.scores(STORED[f"mesh_{number}"])
    assert scores.shape == (len(NAMES),) == (52,)
    np.testing.assert_allclose(scores, STORED[f"scores_{number}"], atol=1e-5)
    moved = align.transform_points(STORED[f"mesh_{number}"], similarity(2.5, 0, 30, -20))
    np.testing.assert_allclose(reader.scores(moved), scores, atol=1e-3)


@pytest.mark.parametrize("number", [7, 13])
def test_a_picture_is_read_as_mediapipe_reads_it(reader, number):
    """MediaPipe crops a little otherwise: its mesh lies half a pixel away, which scores of strong expressions show."""
    frame = samples.sample_frame(7, number, 256)
    window = reader.window(frame.image, frame.landmarks)
    landmarks, scores = reader(frame.image, window)
    mesh = STORED[f"mesh_{number}"] - 0.5
    expected = mesh[blendshapes.MEDIAPIPE_TO_IBUG].mean(1)
    assert np.abs(landmarks - expected).mean() < 1
    assert np.abs(scores - STORED[f"scores_{number}"]).mean() < 0.03
    assert np.corrcoef(scores, STORED[f"scores_{number}"])[0, 1] > 0.96


@pytest.mark.parametrize(
    ("movement", "moves"),
    [
        ({"mouth_open": 1.0}, {"jawOpen": 0.2}),
        ({"lid_left": 0.0}, {"eyeBlinkRight": 0.1}),  # the person's right eye
        ({"lid_right": 0.0}, {"eyeBlinkLeft": 0.1}),
        ({"gaze_x": 0.8}, {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5}),
        ({"gaze_x": -0.8}, {"eyeLookInLeft": 0.5, "eyeLookOutRight": 0.5}),
        ({"smile": 1.0}, {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.4}),
        ({"brow_raise": 1.0}, {"browInnerUp": 0.5}),
    ],
)
def test_movements_of_a_puppet_are_seen(reader, movement, moves):
    def scores(**performance):
        frame = render(sample_persona(0, 1), Performance(**performance), Scene(), 256)
        return reader(frame.image, reader.window(frame.image, frame.landmarks)).scores

    change = dict(zip(NAMES, scores(**movement) - scores(), strict=True))
    for name, least in moves.items():
        assert change[name] > least, name


def test_where_no_face_is_there_is_no_reading(reader):
    frame = samples.sample_frame(7, 7, 256)
    empty = np.full_like(frame.image, 90)
    assert reader.window(empty, frame.landmarks) is None
    assert reader(empty, reader.window(frame.image, frame.landmarks)) is None
