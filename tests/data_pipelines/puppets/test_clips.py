"""Clips are real video files with sound, and landmarks beside them."""

import av
import numpy as np
import pytest
from scipy.signal import correlate

from data_pipelines.puppets import clips
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.parameters import sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import Cast, Take, performance_track, truth
from data_pipelines.puppets.voice import track_audio
from faceswap_jax.errors import InputError
from faceswap_jax.faces.audio import read_audio
from faceswap_jax.faces.video import read_frames


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
        frame = truth(0, Cast.swap(1 if show is None else show, Take(1, 2, number)), 96)
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


@pytest.mark.parametrize(("rate", "frames"), [(25.0, 40), (29.97, 45), (8.0, 13)])
def test_sound_and_picture_are_in_step(tmp_path, rate, frames):
    path = tmp_path / "puppet.mp4"
    write_clip(path, 0, 1, 3, frames, 32, rate)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    times = [frame.time for frame in read_frames(path)]
    assert times == pytest.approx(np.arange(frames) / rate, abs=1e-3)
    made, found = track_audio(0, 1, 3, frames, rate).astype(float), read_audio(path).astype(float)
    assert len(made) <= len(found) < len(made) + 1024
    found = found[: len(made)]
    offset = np.argmax(correlate(found, made, method="fft")) - (len(made) - 1)
    assert abs(offset) <= 2  # samples
    assert np.corrcoef(made, found)[0, 1] > 0.99


def test_another_face_has_the_same_sound(tmp_path):
    own, shown = tmp_path / "own.mp4", tmp_path / "shown.mp4"
    write_clip(own, 0, 1, 3, 10, 32)
    write_clip(shown, 0, 1, 3, 10, 32, show=0)
    assert np.array_equal(read_audio(own), read_audio(shown))
    write_clip(shown, 0, 0, 3, 10, 32)
    assert not np.array_equal(read_audio(own), read_audio(shown))


def test_a_clip_appears_when_it_is_complete(tmp_path, monkeypatch):
    rendered = []

    def one_frame(*args):
        if rendered:
            raise KeyboardInterrupt
        rendered.append(render(*args))
        return rendered[0]

    monkeypatch.setattr(clips, "render", one_frame)
    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / "puppet.mp4", 0, 0, 0, 2, 32)
    assert rendered and not list(tmp_path.iterdir())


def test_impossible_clips_are_user_errors(tmp_path):
    with pytest.raises(InputError, match="even size"):
        write_clip(tmp_path / "odd.mp4", 0, 0, 0, frames=1, size=33)
    with pytest.raises(InputError, match="cannot be written: there is no folder"):
        write_clip(tmp_path / "missing" / "x.mp4", 0, 0, 0, frames=1, size=32)
