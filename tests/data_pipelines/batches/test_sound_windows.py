"""The field `sound`: what is heard around a frame."""

import numpy as np
import pytest

from data_pipelines.batches.roles import Personas
from data_pipelines.batches.sound import sound_window
from data_pipelines.sources import PersonaSource
from tests.support.numbered import SIZE, made, record

FRAME = 640  # samples at 25 frames/s
IMAGE = np.zeros((SIZE, SIZE, 3), np.uint8)


def sounding(tracks=(12,), broken=()) -> PersonaSource:
    """Frames at 25 a second whose samples count on from 1 through the source."""
    records = []
    for track, length in enumerate(tracks):
        for frame in range(length):
            start = 1 + FRAME * len(records)
            sound = np.arange(start, start + FRAME, dtype=np.int16)
            records.append(record(IMAGE, frame, track=track, sound=sound))
    for number in broken:
        records[number] = b""
    return PersonaSource("a", records, tracks, SIZE)


@pytest.mark.parametrize("samples", [3200, 640, 101])
def test_a_window_continues_through_the_track_around_the_time_of_the_frame(samples):
    window = sound_window(sounding(), 6, samples)
    middle = 1 + 6 * FRAME
    expected = np.arange(middle - samples // 2, middle - samples // 2 + samples)
    np.testing.assert_array_equal(window * 2**15, expected)


def test_beyond_the_track_it_is_silent():
    source = sounding((4, 4))
    first, last = (sound_window(source, number, 3200) * 2**15 for number in (4, 3))
    np.testing.assert_array_equal(first[:1600], 0)
    np.testing.assert_array_equal(first[1600:], 1 + 4 * FRAME + np.arange(1600))
    np.testing.assert_array_equal(last[1600 + FRAME :], 0)
    np.testing.assert_array_equal(last[: 1600 + FRAME], 1 + 3 * FRAME + np.arange(-1600, FRAME))


def test_a_corrupt_neighbour_is_silent_and_named():
    source = sounding(broken=(7,))
    window, whole = sound_window(source, 6, 3200), sound_window(sounding(), 6, 3200)
    silent = slice(1600 + FRAME, 1600 + 2 * FRAME)
    assert not window[silent].any() and list(source.corrupt) == [7]
    whole[silent] = 0
    np.testing.assert_array_equal(window, whole)


def test_batches_have_the_windows_of_their_frames():
    source = sounding()
    fields = ("sound", "record")
    batch = made([source], Personas(), fields=fields, batch=12, sound_samples=1000)[0]
    for sound, text in zip(batch["sound"][0], batch["record"][0], strict=True):
        number = int(text.rpartition(" ")[2])
        np.testing.assert_array_equal(sound, sound_window(source, number, 1000))
