"""Tracks are reproducible and cover every range."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.puppets.parameters import PERFORMANCE_SPANS
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.errors import InputError


def test_a_frame_does_not_depend_on_the_length_of_its_track():
    long = performance_track(2, 1, 3, 600)
    for frames in (0, 1, 255, 256, 257, 511, 513):
        assert performance_track(2, 1, 3, frames) == long[:frames]


def test_tracks_differ_by_world_persona_and_track():
    starts = {performance_track(*index, 1)[0] for index in np.ndindex(3, 3, 3)}
    assert len(starts) == 27


def test_every_persona_spans_every_range():
    for persona in range(3):
        tracks = [performance_track(0, persona, track, 250) for track in range(4)]
        values = np.array([dataclasses.astuple(frame) for track in tracks for frame in track])
        for column, span in zip(values.T, PERFORMANCE_SPANS.values(), strict=True):
            assert span.low <= column.min() <= span.low + 0.05 * (span.high - span.low)
            assert span.high >= column.max() >= span.high - 0.05 * (span.high - span.low)


def test_motion_is_smooth_and_eyes_blink():
    track = performance_track(0, 0, 0, 1000)
    yaw = np.array([frame.yaw for frame in track])
    assert np.abs(np.diff(yaw)).max() < 8.0
    assert np.abs(np.diff(yaw, 2)).mean() < np.abs(np.diff(yaw)).mean()
    both_closed = np.array([frame.lid_left < 0.05 and frame.lid_right < 0.05 for frame in track])
    blinks = np.sum(np.diff(both_closed.astype(int)) == 1)
    assert 5 <= blinks <= 40


def test_time_runs_at_the_given_rate():
    """The same process sampled twice as often changes less from frame to frame."""
    slow, fast = (
        np.diff([frame.yaw for frame in performance_track(0, 0, 0, 1000, rate)]).std()
        for rate in (25.0, 50.0)
    )
    assert 1.5 < slow / fast < 2.5
    with pytest.raises(InputError, match="rate"):
        performance_track(0, 0, 0, 10, rate=0.0)


GOLDEN = [
    "f53233635503ce4af5981cb0599b6ba5",
    "e4626109eef39339b94ff9e333f9e30c",
    "6d39136d7abe2fde11b14968edef71f9",
    "8498f6f2a88a13688d5be54fbb9de1ed",
]
HASHES = """
import hashlib, numpy as np
from data_pipelines.puppets.tracks import render_frame
for index in [(7, 3, 1, 300, 48), (0, 0, 0, 40, 64), (1, 6, 2, 111, 33), (2, 13, 0, 77, 64)]:
    frame = render_frame(*index)
    points = np.round(np.concatenate([frame.landmarks, frame.irises]), 2) + 0.0
    content = frame.image.tobytes() + frame.visible.tobytes() + points.astype("<f4").tobytes()
    print(hashlib.sha256(content).hexdigest()[:32])
"""


@pytest.mark.parametrize("disabled", ["", "AVX512_ICL X86_V4", "AVX512_ICL X86_V4 X86_V3"])
def test_frames_are_the_same_on_every_processor(disabled):
    """Golden hashes, also where NumPy and its BLAS may not use the vector instructions of this processor."""
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled}
    if disabled:
        environment["OPENBLAS_CORETYPE"] = "Nehalem"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HASHES],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert run.stdout.split() == GOLDEN


def test_puppets_need_no_jax():
    code = "import sys, data_pipelines.puppets.clips; print('jax' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )
