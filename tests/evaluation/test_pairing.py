"""Frames of two clips that show the same moment."""

from fractions import Fraction

import numpy as np
import pytest

from faceswap_jax.evaluation.pairing import Pair, frames_at, pairs_by_time
from tests.support.face_scenes import smooth_picture, write_clip


def numbers(pairs: list[Pair]) -> list[tuple[int, int]]:
    return [(pair.a, pair.b) for pair in pairs]


def test_clips_of_one_rate_are_compared_frame_by_frame():
    times = (np.arange(4) / 25).tolist()
    pairs = pairs_by_time(times, times)
    assert numbers(pairs) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert [pair.time for pair in pairs] == times
    # Times that were rounded to another clock
    assert numbers(pairs_by_time(times, [0.0, 0.041, 0.08, 0.119])) == numbers(pairs)


@pytest.mark.parametrize("turned", [False, True])
def test_every_frame_of_the_slower_clip_has_the_nearest_of_the_other(turned):
    slow = [0.0, 0.1, 0.2]
    fast = [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
    expected = [(0, 0), (1, 2), (2, 5)]
    if turned:
        expected = [(b, a) for a, b in expected]
        slow, fast = fast, slow
    pairs = pairs_by_time(slow, fast)
    assert numbers(pairs) == expected
    assert [pair.time for pair in pairs] == [0.0, 0.1, 0.2]


def test_what_only_one_clip_shows_has_no_partner():
    long = (np.arange(10) / 10).tolist()
    assert numbers(pairs_by_time(long, long[2:5])) == [(2, 0), (3, 1), (4, 2)]
    assert pairs_by_time(long, [5.0, 5.1]) == []


def test_a_picture_is_compared_with_every_frame():
    assert pairs_by_time([0.0], [0.1, 0.2]) == [Pair(0, 0, 0.1), Pair(0, 1, 0.2)]
    assert pairs_by_time([0.1, 0.2], [0.0]) == [Pair(0, 0, 0.1), Pair(1, 0, 0.2)]
    assert pairs_by_time([0.0], [7.0]) == [Pair(0, 0, 7.0)]


def test_frames_by_their_numbers(tmp_path):
    images = [smooth_picture(32, 32, phase) for phase in range(4)]
    clip = write_clip(tmp_path / "a.mp4", images, Fraction(10))
    assert [frame.index for frame in frames_at(clip, [1, 1, 3])] == [1, 1, 3]
    assert list(frames_at(clip, [])) == []
