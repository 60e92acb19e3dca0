"""Sound is found at the sample that the frames' clock says, whatever the container does to its times."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, encode, video
from faceswap_jax.faces.picture import write_picture
from tests.support.face_scenes import smooth_picture

CLICKS = (0.31, 0.8, 1.47, 1.9)
"""Seconds after the first frame's time."""

FORMATS = {
    "clip.mp4": ("aac", 44100, "stereo", "libx264"),
    "clip.mkv": ("aac", 44100, "stereo", "libx264"),
    "clip.ts": ("aac", 44100, "stereo", "libx264"),
    "clip.mov": ("pcm_s16le", 44100, "stereo", "libx264"),
    "clip.avi": ("pcm_s16le", 48000, "mono", "libx264"),
    "surround.mov": ("pcm_s16le", 48000, "5.1", "libx264"),
    "clip.webm": ("libopus", 48000, "stereo", "libvpx"),
    "clip.mpg": ("mp2", 44100, "stereo", "mpeg2video"),
    "plain.mov": ("pcm_s16le", 16000, "mono", "libx264"),
}


def clicks(times: list[float], seconds: float, rate: int) -> np.ndarray:
    """Short bursts at the given times."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros_like(time)
    for click in times:
        wave += (
            0.8
            * np.exp(-(((time - click) / 8e-4) ** 2))
            * np.cos(2 * np.pi * 2000 * (time - click))
        )
    return wave


def write_clip(
    path: Path,
    begin: float = 0.0,
    end: float = 2.2,
    gap: tuple[float, float] = (9.0, 9.0),
    pictures: float = 2.2,
) -> Path:
    """Clip whose sound lasts from `begin` to `end`, with the clicks that are in it, but for the gap."""
    codec, rate, layout, video_codec = FORMATS[path.name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video_codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=rate, layout=layout)
        packets = []
        for index in range(round(pictures * 25)):
            frame = av.VideoFrame.from_ndarray(smooth_picture(48, 64, index / 9), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        wave = clicks([click - begin for click in CLICKS], end - begin, rate)
        size = audio.codec_context.frame_size or 1024
        converter = av.AudioResampler(audio.codec_context.format, layout, rate)
        for first in range(0, len(wave), size):
            if gap[0] <= begin + first / rate < gap[1]:
                continue
            part = wave[first : first + size].astype(np.float32)
            part = np.tile(part, (len(audio.codec_context.layout.channels), 1))
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = (
                rate,
                first + round(begin * rate),
                Fraction(1, rate),
            )
            for converted in converter.resample(frame):
                packets += audio.encode(converted)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def check_clicks(
    path: Path,
    heard: np.ndarray,
    start: float,
    expected: tuple[float, ...],
    tolerance: float = 2e-3,
) -> None:
    """Exactly the expected clicks are heard, within two milliseconds."""
    offset = next(video.read_frames(path)).time - start
    loud = np.flatnonzero(np.abs(heard.astype(float)) > 5000) / audio.RATE - offset
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > 0.05) + 1) if len(loud) else []
    np.testing.assert_allclose([group.mean() for group in groups], expected, atol=tolerance)


@pytest.mark.parametrize("name", FORMATS)
def test_clicks_are_where_they_were_written(tmp_path, name):
    path = write_clip(tmp_path / name)
    heard = audio.read_audio(path)
    assert heard.dtype == np.int16
    check_clicks(path, heard, 0.0, CLICKS)
    first = next(video.read_frames(path)).time
    assert len(heard) / audio.RATE == pytest.approx(
        first + 2.2, abs=0.06
    )  # codecs fill up their last frame


@pytest.mark.parametrize("name", FORMATS)
def test_a_part_is_what_the_whole_has_there(tmp_path, name):
    path = write_clip(tmp_path / name)
    first = next(video.read_frames(path)).time
    whole = audio.read_audio(path).astype(float)
    for start, end in ((0.25, 1.0), (1.4, 1.5), (0.7, math.inf), (1.0 + 1 / 30, 1.6), (2.0, 9.0)):
        start, end = first + start, first + end
        part = audio.read_audio(path, start=start, end=end)
        if end < 2:
            assert len(part) == round((end - start) * audio.RATE)
        check_clicks(
            path, part, start, tuple(click for click in CLICKS if start <= first + click < end)
        )
        # Times that the container rounds put samples up to half a millisecond off, so energy is compared, not samples.
        there = whole[round(start * audio.RATE) :][: len(part)]
        assert abs(len(part) - len(there)) <= 16
        assert np.linalg.norm(part.astype(float)) == pytest.approx(
            np.linalg.norm(there), rel=0.1, abs=2000
        )


def test_parts_of_plain_sound_are_exact(tmp_path):
    path = write_clip(tmp_path / "plain.mov")
    whole = audio.read_audio(path)
    np.testing.assert_allclose(whole, clicks(list(CLICKS), 2.2, 16000) * 32768, atol=2)
    edges = [0.0, 0.25, 0.5, 1.1875, 1.5, 2.2]
    parts = [
        audio.read_audio(path, start=start, end=end) for start, end in itertools.pairwise(edges)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_joined_streams_go_on_together(tmp_path):
    """Their clock jumps back; images and sound are shown after the ones before, in step."""
    one = write_clip(tmp_path / "clip.ts")
    path = tmp_path / "joined.ts"
    path.write_bytes(2 * one.read_bytes())
    times = [frame.time for frame in video.read_frames(path)]
    second = times[55] - times[0]
    assert len(times) == 110 and second == pytest.approx(2.2, abs=1e-4)
    both = CLICKS + tuple(second + click for click in CLICKS)
    check_clicks(path, audio.read_audio(path), 0.0, both)

    start = times[0] + 2.0
    part = audio.read_audio(path, start=start, end=start + 1.2)
    check_clicks(path, part, start, tuple(click for click in both if 2.0 <= click < 3.2))

    for suffix in (".mp4", ".mov", ".mkv"):
        output = tmp_path / f"out{suffix}"
        encode.write_video(output, path, video.read_frames(path))
        found = [frame.time for frame in video.read_frames(output)]
        np.testing.assert_allclose(
            np.subtract(found, found[0]), np.subtract(times, times[0]), atol=2e-3
        )
        # Packets are copied whole; those of the second part may come half a packet late.
        check_clicks(output, audio.read_audio(output), 0.0, both, tolerance=12e-3)


def test_sound_that_pauses_does_not_jump(tmp_path):
    path = write_clip(tmp_path / "clip.ts", end=12.4, gap=(0.5, 12.0), pictures=12.4)
    times = [frame.time for frame in video.read_frames(path)]
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-4)
    check_clicks(path, audio.read_audio(path), 0.0, CLICKS[:1])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts"])
def test_sound_that_begins_late_is_silent_before(tmp_path, name):
    path = write_clip(tmp_path / name, begin=0.6)
    heard, first = audio.read_audio(path), next(video.read_frames(path)).time
    check_clicks(path, heard, 0.0, CLICKS[1:])
    assert not heard[: round((first + 0.55) * audio.RATE)].any()
    part = audio.read_audio(path, start=first + 0.2, end=first + 1.0)
    assert len(part) == round(0.8 * audio.RATE)
    check_clicks(path, part, first + 0.2, CLICKS[1:2])
    part = audio.read_audio(path, start=first + 0.1, end=first + 0.3)
    assert not part.any()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov"])
def test_sound_shorter_than_the_picture_stops(tmp_path, name):
    path = write_clip(tmp_path / name, end=1.0)
    check_clicks(path, audio.read_audio(path), 0.0, CLICKS[:2])
    assert 1.0 <= len(audio.read_audio(path)) / audio.RATE < 1.06
    assert 0.3 <= len(audio.read_audio(path, start=0.7, end=2.0)) / audio.RATE < 0.36
    assert len(audio.read_audio(path, start=1.5, end=2.0)) == 0


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_gaps_are_silent(tmp_path, name):
    path = write_clip(tmp_path / name, gap=(1.0, 1.7))
    check_clicks(path, audio.read_audio(path), 0.0, (*CLICKS[:2], CLICKS[3]))
    first = next(video.read_frames(path)).time
    assert not audio.read_audio(path, start=first + 1.1, end=first + 1.6).any()


def test_level_of_stereo(tmp_path):
    """Two channels become their mean, so that nothing clips."""
    path = write_clip(tmp_path / "clip.mov")
    assert np.abs(audio.read_audio(path).astype(int)).max() == pytest.approx(0.8 * 32768, rel=0.02)


def test_without_sound(tmp_path):
    path = tmp_path / "picture.png"
    write_picture(path, smooth_picture(8, 8))
    assert audio.read_audio(path).shape == (0,)
    path = tmp_path / "silent.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    assert audio.read_audio(path, start=0.5).shape == (0,)
    with pytest.raises(InputError, match="does not exist"):
        audio.read_audio(tmp_path / "missing.mp4")


def test_sound_of_an_unknown_format_is_none(tmp_path):
    path = write_clip(tmp_path / "clip.mov")
    path.write_bytes(path.read_bytes().replace(b"sowt", b"zzzz"))
    assert len(list(video.read_frames(path))) == 55
    assert audio.read_audio(path).shape == (0,)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.mov", "clip.webm"])
def test_damaged_sound_gives_what_decodes(tmp_path, name):
    path = write_clip(tmp_path / name)
    data, whole = path.read_bytes(), audio.read_audio(path)
    intact = round(0.5 * audio.RATE)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(len(data) // 2, len(data) * 6 // 10, 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        np.testing.assert_array_equal(audio.read_audio(path)[:intact], whole[:intact])
        audio.read_audio(path, start=1.0, end=1.5)
