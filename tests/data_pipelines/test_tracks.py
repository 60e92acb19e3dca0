"""Tests of the step from a clip to its face tracks."""

from pathlib import Path

import av
import numpy as np
import pytest

from data_pipelines.records import FaceRecord
from data_pipelines.tracks import Dropped, face_tracks
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.landmarks import Face

WIDTH, HEIGHT, RATE = 96, 64, 25


def head(x: float, y: float, size: float) -> np.ndarray:
    """68 landmarks of a plain upright face, centred at (x, y), `size` wide."""
    angle = np.linspace(0, np.pi, 17)
    points = np.zeros((68, 2))
    points[:17] = np.stack([-np.cos(angle), np.sin(angle)], -1) / 2  # jaw
    for brow, eye, side in ((slice(17, 22), slice(36, 42), -1), (slice(22, 27), slice(42, 48), 1)):
        points[brow] = np.stack([side * 0.22 + np.linspace(-0.1, 0.1, 5), np.full(5, -0.2)], -1)
        turn = np.arange(6) * np.pi / 3
        points[eye] = [side * 0.22, -0.05] + 0.06 * np.stack([np.cos(turn), np.sin(turn)], -1)
    points[48:] = [0, 0.25]
    return (points * size + [x, y]).astype(np.float32)


def write_clip(path: Path, frames: int) -> Path:
    """A clip of black frames with one white square that moves to the right, one pixel a frame."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            image[22:42, 30 + index : 50 + index] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "a.mp4", 8)


def run(clip, faces):
    return list(face_tracks(clip, "ann", 32, lambda image, index: faces[index]))


def test_records_of_a_track(clip):
    outcomes = run(clip, [[Face(head(40 + index, 32, 30), 0.5)] for index in range(8)])
    assert [record.frame for record in outcomes] == list(range(8))
    np.testing.assert_allclose([record.time for record in outcomes], np.arange(8) / RATE, atol=1e-6)
    record = outcomes[3]
    assert (record.persona, record.clip, record.track, record.confidence) == ("ann", "a.mp4", 0, 0.5)
    assert record.frame_size == (HEIGHT, WIDTH)
    assert record.image.shape == (32, 32, 3) and record.image.dtype == np.uint8
    # Landmarks, polygon and transform agree, and the picture follows them: the square moves with the face.
    landmarks = head(43, 32, 30)
    np.testing.assert_allclose(record.landmarks, align.transform_points(landmarks, record.transform), atol=1e-3)
    polygon = align.transform_points(align.face_polygon(landmarks), record.transform)
    np.testing.assert_allclose(np.sort(record.polygon, 0), np.sort(polygon, 0), atol=1e-3)
    assert np.abs(outcomes[0].image.astype(int) - record.image).mean() < 3
    assert record.image.max() > 200 and record.image.min() < 50


def test_a_gap_begins_a_new_track(clip):
    face = Face(head(48, 32, 30), 1.0)
    outcomes = run(clip, [[], [face], [face], [], [], [face], [], [face]])
    tracks = [outcome.track if isinstance(outcome, FaceRecord) else outcome for outcome in outcomes]
    assert tracks == [Dropped.NO_FACE, 0, 0, Dropped.NO_FACE, Dropped.NO_FACE, 1, Dropped.NO_FACE, 2]


def test_the_first_face_counts_and_must_lie_within_the_frame(clip):
    near, far = Face(head(40, 32, 30), 0.9), Face(head(70, 32, 20), 0.8)
    cut = Face(head(WIDTH - 10, 32, 30), 0.9)
    outcomes = run(clip, [[near, far], [far], [cut, near]] + [[near]] * 5)
    assert [outcomes[0].confidence, outcomes[1].confidence] == [0.9, 0.8]
    assert outcomes[2] is Dropped.OUTSIDE
    assert outcomes[3].track == 1


def test_a_file_without_video(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("text")
    with pytest.raises(InputError, match=r"a\.mp4"):
        run(path, [])


def test_landmarks_that_are_no_face(clip):
    with pytest.raises(InputError, match=r"Frame 0 of .*a\.mp4: The eye centres coincide"):
        run(clip, [[Face(np.full((68, 2), 30, np.float32), 1.0)]] * 8)
