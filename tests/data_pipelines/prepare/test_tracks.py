"""Tests of the step from a clip to its face tracks."""

from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare import tracks
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tracks import Dropped, face_tracks
from data_pipelines.records import FaceRecord, encode
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.audio import read_audio
from faceswap_jax.faces.face import Face

WIDTH, HEIGHT, RATE = 96, 64, 25
EVERYTHING = {
    "resolution": 32,
    "min_size": 0.0,
    "min_sharpness": 0.0,
    "min_change": 0.0,
    "max_yaw": 0.0,
    "max_pitch": 0.0,
}


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


def write_clip(
    path: Path,
    frames: int,
    *,
    cut: int | None = None,
    still: bool = False,
    sound: bool = False,
    blurred=(),
) -> Path:
    """One square of noise that moves to the right, one pixel a frame, over black, from `cut` on over blue."""
    texture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "1", "g": "3"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        voice = container.add_stream("pcm_s16le", rate=AUDIO_RATE, layout="mono") if sound else None
        for index in range(frames):
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            image[..., 2] = 255 if cut is not None and index >= cut else 0
            left = 30 + index * (not still)
            image[22:42, left : left + 20] = texture
            if index in blurred:
                image = cv2.GaussianBlur(image, (0, 0), 3)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
        if voice:
            noise = np.random.default_rng(0).integers(
                -9999, 9999, (1, frames * AUDIO_RATE // RATE), np.int16
            )
            samples = av.AudioFrame.from_ndarray(noise, "s16", "mono")
            samples.sample_rate = AUDIO_RATE
            container.mux(voice.encode(samples))
            container.mux(voice.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "a.mov", 8, sound=True)


def run(path, found, start=0.0, end=float("inf"), **settings):
    """Outcomes when the landmarker gives `found[index]` for frame `index`."""
    looked = []

    def landmarker(image, index):
        looked.append(index)
        return found[index]

    clip = Clip(path, "ann", "ann/a.mov", start, end)
    outcomes = list(face_tracks(clip, Settings(**(EVERYTHING | settings)), landmarker))
    return (
        [o for o in outcomes if isinstance(o, FaceRecord)],
        Counter(o for o in outcomes if isinstance(o, Dropped)),
        looked,
    )


def moving(count=8, **face):
    """One face that follows the square."""
    return [[Face(head(40 + index, 32, 30), face.get("confidence", 0.5))] for index in range(count)]


def test_records_of_a_track(clip):
    records, dropped, looked = run(clip, moving())
    assert looked == [record.frame for record in records] == list(range(8)) and not dropped
    np.testing.assert_allclose([record.time for record in records], np.arange(8) / RATE, atol=1e-6)
    record = records[3]
    assert (record.persona, record.clip, record.track, record.confidence) == (
        "ann",
        "ann/a.mov",
        0,
        0.5,
    )
    assert record.frame_size == (HEIGHT, WIDTH)
    assert record.image.shape == (48, 48, 3) and record.image.dtype == np.uint8
    # Landmarks, polygon and transform agree, and the picture follows them: the square moves with the face.
    landmarks = head(43, 32, 30)
    np.testing.assert_allclose(
        record.landmarks, align.transform_points(landmarks, record.transform), atol=1e-3
    )
    polygon = align.transform_points(align.face_polygon(landmarks), record.transform)
    np.testing.assert_allclose(np.sort(record.polygon, 0), np.sort(polygon, 0), atol=1e-3)
    assert np.abs(records[0].image.astype(int) - record.image).mean() < 3
    assert record.image.max() > 200 and record.image.min() < 50
    assert abs(record.pose[0]) < 5 and abs(record.pose[2]) < 1  # seen from the front, upright
    assert record.sharpness > 0 and np.isnan(record.irises).all()


def test_irises_follow_the_crop(clip):
    irises = np.array([[35, 30], [45, 31]], np.float32)
    (record, *_), _, _ = run(clip, [[Face(head(40, 32, 30), 1.0, irises)]] * 8)
    np.testing.assert_allclose(
        record.irises, align.transform_points(irises, record.transform), atol=1e-3
    )


def test_a_gap_begins_a_new_track(clip):
    faces = moving()
    for gap in (0, 3, 4, 6):
        faces[gap] = []
    records, dropped, _ = run(clip, faces)
    assert [(record.frame, record.track) for record in records] == [(1, 0), (2, 0), (5, 1), (7, 2)]
    assert dropped == {Dropped.NO_FACE: 4}


def test_a_cut_begins_a_new_track(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 8, cut=5, still=True)
    faces = [[Face(head(40, 32, 30), 1.0)]] * 8
    assert [record.track for record in run(path, faces)[0]] == [0] * 5 + [1] * 3
    assert [record.track for record in run(path, faces, cut=0.0)[0]] == [0] * 8
    # Also when the frame after the cut is not looked at itself.
    records, _, looked = run(path, faces, interval=2 / RATE)
    assert looked == [0, 2, 4, 6] and [record.track for record in records] == [0, 0, 0, 1]


def test_several_faces(clip):
    small = Face(head(80, 20, 16), 0.9)
    faces = [[*large, small] for large in moving()]
    faces[5] = [small]
    records, dropped, _ = run(clip, faces)
    assert [record.frame for record in records] == [0, 1, 2, 3, 4, 6, 7]
    assert dropped == {Dropped.ANOTHER: 8}
    records, dropped, _ = run(clip, faces, faces="all")
    assert not dropped
    tracks = [(record.track, record.frame) for record in records]
    assert len(tracks) == 15 and len(set(tracks)) == 15
    # Track after track, each in the order of time, and each of one face.
    order = [track for track, _ in tracks]
    assert order == sorted(order, key=order.index) and len(set(order)) == 3
    for track in set(order):
        frames = [frame for number, frame in tracks if number == track]
        assert frames == sorted(frames)
        sizes = {
            round(align.transform_scale(record.transform), 3)
            for record in records
            if record.track == track
        }
        assert len(sizes) == 1


def test_faces_too_small_to_tell_people_apart(clip):
    """It is told, and the largest at any time is kept."""
    small, smaller = (Face(head(x, 32, size), 1.0) for x, size in ((40, 16), (80, 12)))
    part = Clip(clip, "ann", "ann/a.mov")
    outcomes = face_tracks(part, Settings(**EVERYTHING), lambda *_: [small, smaller], True)
    found, *others = outcomes
    assert found.too_small and not found.people
    assert Counter(map(type, others)) == {FaceRecord: 8, Dropped: 8}


def test_interval_and_cap(clip):
    faces = moving()
    assert run(clip, faces, interval=2 / RATE)[2] == [0, 2, 4, 6]
    assert run(clip, faces, frames=3)[2] == [0, 1, 2]
    records, _, looked = run(clip, faces, interval=3 / RATE, frames=2)
    assert looked == [0, 3] == [record.frame for record in records]
    assert run(clip, faces, interval=10.0)[2] == [0]


def test_a_part_of_a_clip(clip):
    records, _, looked = run(clip, moving(), start=2 / RATE, end=6 / RATE)
    assert looked == [record.frame for record in records] == [2, 3, 4, 5]
    assert records[0].time == pytest.approx(2 / RATE)
    whole, _, _ = run(clip, moving())
    np.testing.assert_array_equal(records[1].image, whole[3].image)
    np.testing.assert_array_equal(records[1].sound, whole[3].sound)


def turned(points):
    """The face seen from the side, as far as squeezing its left half goes."""
    return np.where(points[:, :1] > 43, [[43, 0]] + (points - [43, 0]) * [0.3, 1], points).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (lambda face: Face(face.landmarks, 0.2), {"min_confidence": 0.4}, Dropped.CONFIDENCE),
        (lambda face: Face(head(43, 32, 15), 0.5), {"min_size": 10.0}, Dropped.SMALL),
        (lambda face: Face(face.landmarks + np.float32([50, 0]), 0.5), {}, Dropped.OUTSIDE),
        (lambda face: Face(turned(face.landmarks), 0.5), {"max_yaw": 20.0}, Dropped.POSE),
    ],
)
def test_flawed_faces(clip, change, settings, reason):
    """Each flaw drops its frame alone and is off at the settings' loosest value."""
    faces = [[Face(head(43, 32, 30), 0.5)] for _ in range(8)]
    faces[3] = [change(faces[3][0])]
    records, dropped, _ = run(clip, faces, **settings)
    assert dropped == {reason: 1} and [record.frame for record in records] == [0, 1, 2, 4, 5, 6, 7]
    loose = {"min_confidence": 0.0, "max_outside": 1.0}
    assert not run(clip, faces, **loose)[1]


def test_blurred_faces(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 8, blurred=(2, 5, 6))
    records, dropped, _ = run(path, moving(), min_sharpness=50.0)
    assert [record.frame for record in records] == [0, 1, 3, 4, 7] and dropped == {
        Dropped.BLURRED: 3
    }


def test_near_duplicates(tmp_path):
    """Frozen frames are dropped, compared with the latest that was kept; another track begins anew."""
    faces = [[Face(head(40, 32, 30), 1.0)]] * 8
    still = write_clip(tmp_path / "still.mp4", 8, still=True, cut=5)
    records, dropped, _ = run(still, faces, min_change=0.5)
    assert [record.frame for record in records] == [0, 5] and dropped == {Dropped.DUPLICATE: 6}
    slides = write_clip(tmp_path / "slides.mp4", 8)
    assert [record.frame for record in run(slides, faces, min_change=0.5)[0]] == list(range(8))


def test_near_duplicates_are_compared_in_the_same_place(tmp_path):
    """Landmarks that tremble make no new frame of an old one; a head that only moves does."""
    still = write_clip(tmp_path / "still.mp4", 8, still=True)
    trembling = [[Face(head(40 + 0.5 * (n % 2), 32, 30 + n % 3 / 2), 1.0)] for n in range(8)]
    records, _, _ = run(still, trembling, min_change=0.5)
    assert [record.frame for record in records] == [0]
    slides = write_clip(tmp_path / "slides.mp4", 8)
    assert [record.frame for record in run(slides, moving(), min_change=0.5)[0]] == list(range(8))


def test_sound_of_a_track(clip):
    """The sounds of a track's records, one after the other, are the sound of the track."""
    sound = read_audio(clip)
    assert len(sound) == 8 * AUDIO_RATE // RATE
    records, _, _ = run(clip, moving())
    assert all(len(record.sound) == AUDIO_RATE // RATE for record in records)
    np.testing.assert_array_equal(np.concatenate([record.sound for record in records]), sound)
    # A dropped frame's sound goes with the record before it; a track that ends does not reach over the gap.
    faces = moving()
    faces[2] = [Face(faces[2][0].landmarks, 0.1)]
    faces[5] = []
    records, _, _ = run(clip, faces, min_confidence=0.4)
    assert [record.frame for record in records] == [0, 1, 3, 4, 6, 7]
    step = AUDIO_RATE // RATE
    np.testing.assert_array_equal(
        np.concatenate([r.sound for r in records if r.track == 0]), sound[: 5 * step]
    )
    np.testing.assert_array_equal(
        np.concatenate([r.sound for r in records if r.track == 1]), sound[6 * step :]
    )
    assert not any(len(record.sound) for record in run(clip, moving(), sound=False)[0])


def test_sixteen_bits(clip):
    records, _, _ = run(clip, moving(), image="png16")
    eight, _, _ = run(clip, moving())
    assert records[0].image.dtype == np.uint16
    assert np.abs(records[0].image / 257 - eight[0].image).max() < 2
    assert records[0].sharpness == pytest.approx(eight[0].sharpness, rel=0.1)


def test_a_file_without_video(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("text")
    with pytest.raises(InputError, match=r"a\.mp4"):
        run(path, [])


def test_landmarks_that_are_no_face(clip):
    with pytest.raises(InputError, match=r"Frame 0 of .*a\.mov: .*coincide"):
        run(clip, [[Face(np.full((68, 2), 30, np.float32), 1.0)]] * 8)


# --- parts of a long clip


LENGTHS = [0.1, 0.17]
"""Seconds: parts of two or three frames, and of four."""


def divide(monkeypatch, length):
    """From now on parts are short; two frames before each are read again."""
    monkeypatch.setattr(tracks, "PART", length)
    monkeypatch.setattr(tracks, "OVERLAP", 2 / RATE)


def everything(path, found, **settings):
    """All that comes of a clip, comparable."""
    part = Clip(path, "ann", "ann/a.mov")
    chosen = Settings(**(EVERYTHING | settings))
    found_, *outcomes = face_tracks(part, chosen, lambda _, index: found[index])
    stored = [encode(o) if isinstance(o, FaceRecord) else o for o in outcomes]
    return found_, Counter(o for o in stored if isinstance(o, Dropped)), stored


def gaps(faces):
    return [[] if index in (0, 3, 4, 6) else found for index, found in enumerate(faces)]


def crowd(faces):
    """Another face beside the first, for some of the time."""
    other = Face(head(80, 20, 16), 0.9)
    return [
        [*found, other] if index in (1, 2, 3, 5, 6) else found for index, found in enumerate(faces)
    ]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("change", [list, gaps, crowd])
@pytest.mark.parametrize("faces", ["largest", "all"])
def test_parts_give_what_the_whole_gives(clip, change, faces, length, monkeypatch):
    """Tracks go on over the joints, with their numbers, duplicates and sound."""
    whole = everything(clip, change(moving()), faces=faces)
    divide(monkeypatch, length)
    assert len(list(tracks.parts_of(Clip(clip, "ann", "a"), Settings()))) > 1
    assert everything(clip, change(moving()), faces=faces) == whole


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("cut", range(1, 8))
def test_a_cut_is_found_wherever_a_part_begins(tmp_path, cut, length, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", 8, cut=cut, still=True)
    faces = [[Face(head(40, 32, 30), 1.0)]] * 8
    whole = everything(path, faces, min_change=0.5)
    assert [c.after for c in whole[0].cuts] == [cut]
    divide(monkeypatch, length)
    assert everything(path, faces, min_change=0.5) == whole


def test_a_stretch_of_a_file_is_divided_as_well(clip, monkeypatch):
    divide(monkeypatch, LENGTHS[0])
    records, _, looked = run(clip, moving(), start=1 / RATE, end=7 / RATE)
    assert [record.frame for record in records] == looked == list(range(1, 7))


def test_what_cannot_be_divided_is_one_part(clip, tmp_path, monkeypatch):
    """Where some frames are left out, and where all before a part would have to be decoded."""
    monkeypatch.setattr(tracks, "PART", 0.1)

    def count(path, **settings):
        return len(list(tracks.parts_of(Clip(path, "ann", "a"), Settings(**settings))))

    assert count(clip) > 1 == count(clip, interval=0.1) == count(clip, frames=5)
    with av.open(tmp_path / "rare.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in np.zeros((20, HEIGHT, WIDTH, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    assert count(tmp_path / "rare.mp4") == 1
