"""Clips side by side, chunk by chunk."""

import numpy as np
import pytest

from faceswap_jax.evaluation.frames import side_by_side, spread
from faceswap_jax.faces.video import read_frames
from tests.support.tiny_run import FRAMES


def test_chunks_overlap_by_one_frame(clips):
    paths = [clips / "ben.mp4", clips / "ada.mp4"]
    chunks = list(side_by_side(paths, 4))
    assert [chunk.numbers for chunk in chunks] == [range(4), range(3, 8), range(7, FRAMES)]
    assert [chunk.new for chunk in chunks] == [range(4), range(1, 5), range(1, 3)]
    for i, path in enumerate(paths):
        whole = np.stack([frame.image for frame in read_frames(path)])
        joined = np.concatenate([chunk.clips[i][chunk.repeated :] for chunk in chunks])
        np.testing.assert_array_equal(joined, whole)


@pytest.mark.parametrize(
    ("count", "among", "numbers"),
    [(2, 0, []), (2, 1, [0]), (2, 2, [0, 1]), (2, 10, [3, 6]), (1, 3, [1])],
)
def test_numbers_are_spread_evenly(count, among, numbers):
    assert spread(count, among) == numbers
