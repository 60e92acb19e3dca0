"""Frames come out of a clip as they went in: times, colours, depth, any part of them."""

import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.decoded import SCALER, Decoded
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, write_picture
from tests.support.face_scenes import smooth_picture, write_clip


def test_probe(clip):
    info = video.probe(clip)
    assert (info.width, info.height, info.frames) == (128, 96, 12)
    assert info.orientation == video.Orientation() and info.has_audio
    assert info.rate == Fraction(30000, 1001)
    assert info.duration == pytest.approx(12 * 1001 / 30000, abs=1e-3)


def test_untagged_large_clips_are_bt709(tmp_path):
    patches = np.random.default_rng(0).integers(16, 240, (9, 16, 3), np.uint8)
    patches = patches.repeat(80, 0).repeat(80, 1)
    source = write_clip(tmp_path / "hd.mp4", [patches], matrix=1, tagged=False)
    (frame,) = video.read_frames(source)
    assert np.abs(frame.image[40::80, 40::80].astype(int) - patches[40::80, 40::80]).mean() < 2


def encode(
    path: Path, codec: str, frames: list[av.VideoFrame], options: dict[str, str], pixel_format: str
) -> Path:
    """Clip of any codec, a keyframe every 10 frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width = frames[0].width
        stream.height = frames[0].height
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = 10
        stream.codec_context.time_base = frames[0].time_base
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def moving_frames(times: list[int], time_base: Fraction) -> list[av.VideoFrame]:
    frames = []
    for index, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(smooth_picture(48, 64, index / 3), "rgb24")
        frame.pts, frame.time_base = time, time_base
        frames.append(frame)
    return frames


REGULAR = list(range(36)), Fraction(1, 25)
VARIABLE = np.cumsum(np.random.default_rng(0).integers(10, 4000, 36)).tolist(), Fraction(1, 15000)
CODECS = {
    "b-frames.mp4": ("libx264", {"bf": "3"}, REGULAR),
    "b-frames.ts": ("libx264", {"bf": "3"}, REGULAR),
    "b-frames.avi": ("libx264", {"bf": "3"}, REGULAR),
    "open-gop.mkv": (
        "libx264",
        {"x264-params": "open-gop=1:bframes=3:keyint=10:b-adapt=0"},
        REGULAR,
    ),
    "open-gop.mp4": ("libx265", {"x265-params": "open-gop=1:keyint=10:log-level=none"}, REGULAR),
    "no-keyframes.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=10"}, REGULAR),
    "variable.mp4": ("libx264", {"bf": "3"}, VARIABLE),
    "variable.mkv": ("libx264", {"bf": "3"}, VARIABLE),
    "vp9.webm": (
        "libvpx-vp9",
        {"cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"},
        REGULAR,
    ),
    "mpeg4.mp4": ("mpeg4", {"bf": "2"}, REGULAR),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2"}, REGULAR),
    "mpeg2.mxf": ("mpeg2video", {"bf": "2"}, REGULAR),
    "b-frames.3gp": ("libx264", {"bf": "3"}, REGULAR),
    "b-frames.flv": ("libx264", {"bf": "3"}, REGULAR),
    "wmv2.wmv": ("wmv2", {}, REGULAR),
}


@pytest.mark.parametrize("name", CODECS)
def test_a_part_is_what_the_whole_has_there(tmp_path, name):
    codec, options, (times, time_base) = CODECS[name]
    path = encode(tmp_path / name, codec, moving_frames(times, time_base), options, "yuv420p")
    compare_parts(path, np.array(times) * float(time_base))


def compare_parts(path: Path, times: np.ndarray) -> None:
    """Checks times of all frames, and every part against the whole."""
    whole = list(video.read_frames(path))
    found = np.array([frame.time for frame in whole])
    assert [frame.index for frame in whole] == list(range(len(times)))
    np.testing.assert_allclose(found - found[0], times - times[0], atol=1.1e-3)
    last = len(times) - 1
    parts = [(found[k], found[min(k + 4, last)]) for k in range(1, last, 3)]
    parts += [(found[k] - 1e-3, found[k + 1] + 1e-3) for k in (9, 10, 11, 17)]
    parts += [(found[15] + 1e-4, math.inf)]
    for start, end in parts:
        expected = [frame for frame in whole if start <= frame.time < end]
        part = list(video.read_frames(path, start=start, end=end))
        assert [frame.index for frame in part] == [frame.index for frame in expected]
        assert [frame.time for frame in part] == [frame.time for frame in expected]
        for one, two in zip(part, expected, strict=True):
            assert np.array_equal(one.image, two.image)


INTERLACED = {
    "broadcast.ts": ("libx264", {"x264-params": "interlaced=1"}),
    "camera.mp4": ("libx264", {"x264-params": "tff=1"}),
    "disc.mpg": ("mpeg2video", {"flags": "+ildct+ilme"}),
    "studio.mov": ("prores_ks", {"flags": "+ildct"}),
}


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_clips_are_refused_with_a_way_out(tmp_path, name):
    codec, options = INTERLACED[name]
    pixel_format = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    path = encode(tmp_path / name, codec, moving_frames(*REGULAR), options, pixel_format)
    for start in (0, 1):
        with pytest.raises(InputError, match=rf"{name} is interlaced.* -vf bwdif"):
            list(video.read_frames(path, start=start))
    with pytest.raises(InputError, match="is interlaced"):
        video.probe(path)


def edit(path: Path, parts: list[tuple[int, int]]) -> None:
    """Writes an edit list into an mp4 whose index comes last; parts are milliseconds and the media time they show."""
    data = bytearray(path.read_bytes())
    start = data.index(b"elst") - 4
    entries = b"".join(struct.pack(">IiI", duration, time, 1 << 16) for duration, time in parts)
    box = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(parts)) + entries
    (old,) = struct.unpack_from(">I", data, start)
    data[start : start + old] = box
    for parent in (b"edts", b"trak", b"moov"):
        place = data.rindex(parent, 0, start) - 4
        (size,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, size + len(box) - old)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("b_frames", "parts"),
    [("3", [(960, 1024 + 6 * 512)]), ("0", [(320, 4 * 512), (640, 18 * 512)])],
)
def test_a_part_of_an_edited_clip(tmp_path, caplog, b_frames, parts):
    """Frames that an edit list leaves out are decoded where others build on them, but neither shown nor counted."""
    path = encode(
        tmp_path / "edited.mp4", "libx264", moving_frames(*REGULAR), {"bf": b_frames}, "yuv420p"
    )
    edit(path, parts)
    compare_parts(path, np.arange(24) / 25)
    assert "damaged" not in caplog.text


def test_a_part_is_not_reached_through_all_before_it(tmp_path):
    path = encode(tmp_path / "long.mp4", "libx264", moving_frames(*REGULAR), {"bf": "3"}, "yuv420p")
    index, frame, _ = next(video._numbered(path, 1.3))
    assert 20 <= index <= 32 and frame.time == index / 25


def write_stream(path: Path, begins: float, frames: int = 25) -> bytes:
    """A transport stream whose clock shows so many seconds when it begins; its bytes."""
    options = {"output_ts_offset": str(begins)}
    images = [smooth_picture(48, 64, index / 3) for index in range(frames)]
    return write_clip(path, images, audio=True, options=options).read_bytes()


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4", ".flv"])
def test_times_count_from_the_start_of_the_file(tmp_path, suffix):
    path = tmp_path / f"late{suffix}"
    write_stream(path, 3600)
    whole = list(video.read_frames(path))
    times = [frame.time for frame in whole]
    # Sound begins a little earlier: it prepares its decoder.
    assert 0 <= times[0] < 0.1
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1.1e-3)
    assert video.frame_times(path) == times
    part = list(video.read_frames(path, start=times[10], end=times[14]))
    assert [frame.index for frame in part] == [10, 11, 12, 13]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(part, whole[10:], strict=False))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 3600), (3600, 0), (100, 99)])
def test_times_of_joined_streams_go_on(tmp_path, first, second):
    path = tmp_path / "joined.ts"
    ends = write_stream(path, first), write_stream(path, second)
    path.write_bytes(b"".join(ends))
    whole = list(video.read_frames(path))
    times = [frame.time for frame in whole]
    assert len(times) == 50 and 0 <= times[0] < 0.1
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-4)
    assert video.probe(path).duration == pytest.approx(2, abs=0.2)
    part = list(video.read_frames(path, start=times[30]))
    assert [frame.index for frame in part] == list(range(30, 50))
    assert np.array_equal(part[0].image, whole[30].image)


def test_a_pause_of_a_clip_stays(tmp_path):
    """Only transport streams and their like jump."""
    images = [smooth_picture(48, 64, index / 3) for index in range(4)]
    for suffix in (".mp4", ".mkv"):
        path = write_clip(tmp_path / f"pause{suffix}", images, times=[0, 1, 1000, 1001])
        times = [frame.time for frame in video.read_frames(path)]
        np.testing.assert_allclose(times, [0, 0.04, 40, 40.04], atol=1e-3)


def test_times_in_avi_keep_what_it_repeats(tmp_path):
    """AVI has a constant rate; a longer frame is followed by empty packets."""
    times = [0, 1, 5, 6, 7, 12, 13, 20]
    path = encode(
        tmp_path / "a.avi", "mjpeg", moving_frames(times, Fraction(1, 25)), {}, "yuvj420p"
    )
    np.testing.assert_allclose(
        [frame.time for frame in video.read_frames(path)], np.array(times) / 25
    )


def test_parts_without_frames(clip, tmp_path):
    picture = tmp_path / "picture.png"
    write_picture(picture, smooth_picture(8, 8))
    assert len(list(video.read_frames(picture, end=0.1))) == 1
    for path, start, end in ((clip, 5.0, math.inf), (clip, 0.1, 0.1), (picture, 0.5, 1.0)):
        with pytest.raises(InputError, match="has no frame from") as caught:
            list(video.read_frames(path, start=start, end=end))
        assert str(path) in str(caught.value)


def raw_frame(pixel_format: str, planes: list[np.ndarray], full_range: bool) -> av.VideoFrame:
    """Frame of given samples; one plane for each component, all of one size."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // samples.itemsize), samples.dtype)
        rows[:, :width] = samples
        plane.update(rows.tobytes())
    frame.color_range, frame.pts, frame.time_base = 2 if full_range else 1, 0, Fraction(1, 25)
    return frame


@pytest.mark.parametrize(
    ("pixel_format", "bits", "full_range"),
    [
        ("yuv444p10le", 10, False),
        ("yuv444p10le", 10, True),
        ("yuv444p12le", 12, False),
        ("gbrp10le", 10, True),
    ],
)
def test_deep_clips_keep_their_levels(tmp_path, pixel_format, bits, full_range):
    low, high = (0, 2**bits - 1) if full_range else (16 << bits - 8, 235 << bits - 8)
    ramp = np.tile(np.linspace(low, high, 700).round().astype(np.uint16), (8, 1))
    grey = np.full_like(ramp, 1 << bits - 1)
    planes = [ramp, ramp, ramp] if pixel_format.startswith("gbr") else [ramp, grey, grey]
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 700, 8, pixel_format
        stream.codec_context.color_range = 2 if full_range else 1
        container.mux(stream.encode(raw_frame(pixel_format, planes, full_range)))
        container.mux(stream.encode(None))
    (deep,), (shallow,) = video.read_frames(path, depth=16), video.read_frames(path)
    expected = (ramp - float(low)) / (high - low) * 65535
    assert deep.image.dtype == np.uint16 and (deep.image.min(), deep.image.max()) == (0, 65535)
    np.testing.assert_allclose(deep.image, np.repeat(expected[..., None], 3, 2), atol=4)
    assert len(np.unique(deep.image)) >= 698
    assert shallow.image.dtype == np.uint8
    np.testing.assert_allclose(shallow.image, deep.image / 257.0, atol=1.5)  # swscale dithers


def test_shallow_clips_and_pictures_are_scaled(clip, tmp_path):
    # OpenEXR has floats.
    shallow_suffixes = PICTURE_SUFFIXES - {".exr"}
    for path in (clip, *(tmp_path / f"p{suffix}" for suffix in shallow_suffixes)):
        if path != clip:
            write_picture(path, smooth_picture(20, 30))
        shallow = next(video.read_frames(path)).image
        deep = next(video.read_frames(path, depth=16)).image
        assert deep.dtype == np.uint16
        np.testing.assert_array_equal(deep, shallow * np.uint16(257))


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuvj444p", "rgb24", "bgra", "gray", "yuv420p10le"]
)
def test_conversion_is_that_of_packed_rgb(tmp_path, pixel_format):
    """Frames are converted plane by plane for speed; swscale's slower way must give the same picture."""
    image = np.random.default_rng(0).integers(0, 256, (65, 97, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format)
    ranges = {"src_color_range": 2 if pixel_format == "yuvj444p" else 1, "dst_color_range": 2}
    packed = frame.reformat(
        format="rgb24", src_colorspace=5, interpolation=SCALER, **ranges
    ).to_ndarray()
    np.testing.assert_array_equal(Decoded(frame).image(8, VideoReformatter()), packed)
