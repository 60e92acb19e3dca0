"""Clips are real video files with landmarks beside them."""

import av
import numpy as np
import pytest

from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.parameters import sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import performance_track, truth
from faceswap_jax.errors import InputError


@pytest.mark.parametrize("show", [None, 4])
def test_a_clip_shows_its_track(tmp_path, show):
    path = tmp_path / "puppet.mp4"
    write_clip(path, 0, 1, 2, frames=5, size=96, show=show)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(pictures) == 5
    table = np.loadtxt(f"{path}.landmarks.csv", delimiter=",", skiprows=1)
    assert np.array_equal(table[:, 0], np.arange(5))
    for number in (0, 4):
        frame = truth(0, 1 if show is None else show, 1, 2, number, 96)
        assert frame.persona == sample_persona(0, 1 if show is None else show)
        assert np.abs(pictures[number].astype(int) - frame.image).mean() < 4
        assert table[number, 1:].reshape(68, 2) == pytest.approx(frame.landmarks, abs=2e-3)


def test_a_clip_has_the_given_rate(tmp_path):
    path = tmp_path / "puppet.mp4"
    write_clip(path, 0, 0, 0, frames=1, size=32, rate=29.97)
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.001)
    header, row = (tmp_path / "puppet.mp4.landmarks.csv").read_text().splitlines()
    assert header.startswith("frame,x0,y0,x1") and header.endswith("x67,y67")
    performance = performance_track(0, 0, 0, 1, rate=29.97)[0]
    frame = render(sample_persona(0, 0), performance, sample_scene(0, 0, 0), 32)
    assert float(row.split(",")[1]) == pytest.approx(frame.landmarks[0, 0], abs=2e-3)


def test_impossible_clips_are_user_errors(tmp_path):
    with pytest.raises(InputError, match="even size"):
        write_clip(tmp_path / "odd.mp4", 0, 0, 0, frames=1, size=33)
    with pytest.raises(InputError, match="cannot write"):
        write_clip(tmp_path / "missing" / "x.mp4", 0, 0, 0, frames=1, size=32)
