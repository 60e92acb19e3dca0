"""Clips survive the way through decoder and encoder: times, colours, rotation, size, audio."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import encode, video
from tests.support.face_scenes import smooth_picture, write_clip


def rewrite(source: Path, target: Path) -> list[video.Frame]:
    """Decodes and encodes a clip; returns the frames of the new one."""
    encode.write_video(target, source, video.read_frames(source))
    return list(video.read_frames(target))


def audio_packets(path: Path) -> list[tuple]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio)
        return [
            (bytes(p), p.pts * p.time_base, p.dts * p.time_base)
            for p in packets
            if p.dts is not None
        ]


def video_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Writes a rotation into the track header of an mp4 with one track; matrix entries a, b, c, d."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    a, b, c, d = ((value << 16).to_bytes(4, "big", signed=True) for value in matrix)
    data[start : start + 36] = a + b + bytes(4) + c + d + bytes(12) + (1 << 30).to_bytes(4, "big")
    path.write_bytes(data)


def test_frames_times_and_audio_survive(clip, tmp_path):
    frames = rewrite(clip, tmp_path / "out.mp4")
    assert [frame.index for frame in frames] == list(range(12))
    expected = [index * Fraction(1001, 30000) for index in range(12)]
    assert video_times(tmp_path / "out.mp4") == expected
    times = [frame.time for frame in frames]
    np.testing.assert_allclose(times, np.arange(12) * 1001 / 30000, atol=1e-6)
    info = video.probe(tmp_path / "out.mp4")
    assert info.rate == Fraction(30000, 1001) and info.frames == 12
    packets = audio_packets(tmp_path / "out.mp4")
    assert len(packets) > 5 and packets == audio_packets(clip)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_other_containers(clip, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    frames = rewrite(clip, target)
    times = np.array([frame.time for frame in frames])
    np.testing.assert_allclose(times - times[0], np.arange(12) * 1001 / 30000, atol=1.1e-3)
    ours, theirs = audio_packets(target), audio_packets(clip)
    assert [packet[0] for packet in ours] == [packet[0] for packet in theirs]
    # In step with the frames.
    assert float(ours[0][1]) - times[0] == pytest.approx(float(theirs[0][1]), abs=1.1e-3)


def test_variable_frame_rate(tmp_path):
    times = [0, 500, 2500, 2501, 9000, 9300]
    images = [smooth_picture(64, 64, index) for index in range(6)]
    source = write_clip(tmp_path / "vfr.mp4", images, times=times, time_base=Fraction(1, 15000))
    assert video_times(source) == [Fraction(time, 15000) for time in times]
    rewrite(source, tmp_path / "out.mp4")
    assert video_times(tmp_path / "out.mp4") == video_times(source)


@pytest.mark.parametrize(
    ("matrix", "full_range", "tagged"),
    [
        (1, False, True),
        (5, False, True),
        (6, False, True),
        (1, True, True),
        (5, True, True),
        (5, False, False),
    ],
)
def test_colours_survive(tmp_path, matrix, full_range, tagged):
    patches = np.random.default_rng(0).integers(30, 220, (6, 8, 3), np.uint8)
    patches = patches.repeat(16, 0).repeat(16, 1)
    patches = cv2.GaussianBlur(patches, (0, 0), 3)  # hard edges of colour do not survive 4:2:0
    source = write_clip(
        tmp_path / "colours.mp4",
        [patches] * 3,
        matrix=min(matrix, 5),
        full_range=full_range,
        tagged=tagged,
    )
    before = next(video.read_frames(source)).image
    after = rewrite(source, tmp_path / "out.mp4")[0].image
    centres = np.s_[8::16, 8::16]
    assert np.abs(before[centres].astype(int) - patches[centres]).mean() < 2.5

    error = after.astype(float) - before
    assert np.abs(error.mean((0, 1))).max() < 0.5
    assert np.abs(error).mean() < 2.5  # what x264 loses on saturated colours
    one, two = video.probe(source), video.probe(tmp_path / "out.mp4")
    assert (two.tags, two.full_range, two.matrix) == (one.tags, one.full_range, one.matrix)


SHOWN = {
    "clockwise": ((0, 1, -1, 0), lambda stored: np.rot90(stored, 3)),
    "half": ((-1, 0, 0, -1), lambda stored: np.rot90(stored, 2)),
    "counterclockwise": ((0, -1, 1, 0), lambda stored: np.rot90(stored, 1)),
    "left to right": ((-1, 0, 0, 1), lambda stored: stored[:, ::-1]),
    "top to bottom": ((1, 0, 0, -1), lambda stored: stored[::-1]),
    "transposed": ((0, 1, 1, 0), lambda stored: stored.swapaxes(0, 1)),
    "transversed": ((0, -1, -1, 0), lambda stored: stored[::-1, ::-1].swapaxes(0, 1)),
}
"""What players show of a stored frame, by the matrix of its track."""


@pytest.mark.parametrize("name", SHOWN)
def test_turned_and_mirrored_clips_become_upright_once(tmp_path, name):
    matrix, show = SHOWN[name]
    stored = smooth_picture(64, 96)
    stored[:16, :32] = (250, 20, 20)
    source = write_clip(tmp_path / "turned.mp4", [stored] * 3)
    turn(source, matrix)
    upright = show(stored)
    info = video.probe(source)
    assert (info.height, info.width) == upright.shape[:2]
    frames = list(video.read_frames(source))
    again = rewrite(source, tmp_path / "out.mp4")
    assert video.probe(tmp_path / "out.mp4").orientation == video.Orientation()
    for frame in (frames[0], again[0]):
        assert np.abs(frame.image.astype(int) - upright).mean() < 3


def write_anamorphic(path: Path, images: list[np.ndarray], pixel_aspect: Fraction) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("pixel_aspect", [Fraction(2), Fraction(8, 9), Fraction(16, 11)])
def test_frames_have_square_pixels_and_the_clip_keeps_its_own(tmp_path, pixel_aspect, suffix):
    height, width = 96, 88
    stored = [smooth_picture(height, width, index / 5) for index in range(3)]
    source = write_anamorphic(tmp_path / f"a{suffix}", stored, pixel_aspect)
    info = video.probe(source)
    assert info.pixel_aspect == pixel_aspect
    assert info.width / info.height == pytest.approx(pixel_aspect * width / height, rel=0.01)
    assert info.height >= height and info.width >= width

    frames = list(video.read_frames(source))
    for frame, image in zip(frames, stored, strict=True):
        assert frame.image.shape == (info.height, info.width, 3)
        assert np.abs(frame.own.astype(int) - image).mean() < 3

    # A changed place is changed in the clip's own pixels, and only there.
    changed = frames[1].image.copy()
    place = np.s_[info.height // 4 : info.height // 2, info.width // 4 : info.width // 2]
    changed[place] = (250, 20, 20)
    frames[1] = replace(frames[1], image=changed)
    output = tmp_path / f"out{suffix}"
    encode.write_video(output, source, frames)
    found = video.probe(output)
    assert (found.pixel_aspect, found.width, found.height) == (
        pixel_aspect,
        info.width,
        info.height,
    )
    for frame, image in zip(video.read_frames(output), stored, strict=True):
        error = np.abs(frame.own.astype(int) - image).mean(2)
        if frame.index == 1:
            inside = frame.own[height // 4 + 4 : height // 2 - 4, width // 4 + 4 : width // 2 - 4]
            assert np.abs(inside.astype(int) - (250, 20, 20)).mean() < 8
            error[height // 4 - 6 : height // 2 + 6, width // 4 - 6 : width // 2 + 6] = 0
        assert error.mean() < 3 and error.max() < 30


def test_pixels_that_are_all_but_square_stay(tmp_path):
    source = write_anamorphic(tmp_path / "a.mp4", [smooth_picture(96, 128)], Fraction(404, 405))
    (frame,) = video.read_frames(source)
    assert frame.own is frame.image and frame.image.shape == (96, 128, 3)


def test_generated_images_of_an_anamorphic_clip_have_square_pixels(tmp_path):
    source = write_anamorphic(tmp_path / "a.mp4", [smooth_picture(96, 128)] * 2, Fraction(2))
    made = [replace(frame, image=smooth_picture(64, 64)) for frame in video.read_frames(source)]
    encode.write_video(tmp_path / "out.mp4", source, made, whole=True)
    info = video.probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.pixel_aspect) == (64, 64, 1)


@pytest.mark.parametrize(("height", "width"), [(63, 96), (64, 95), (1, 1), (63, 95)])
def test_odd_sizes_grow_by_a_repeated_row_or_column(clip, tmp_path, height, width):
    image = smooth_picture(height, width)
    frames = [video.Frame(image, index / 25, index) for index in range(3)]
    encode.write_video(tmp_path / "out.mp4", clip, frames)
    first = next(video.read_frames(tmp_path / "out.mp4")).image
    assert first.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(first[:height, :width].astype(int) - image).mean() < 3


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", None), (".mov", None), (".mkv", None), (".mp4", "hevc"), (".mov", "prores")],
)
def test_the_same_frames_make_the_same_file(clip, tmp_path, suffix, codec):
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (10, 10, 3), np.uint8), (160, 160))
    frames = [video.Frame(np.roll(picture, 3 * i, 1), i / 8, i) for i in range(48)]
    files = [tmp_path / f"{i}{suffix}" for i in range(8)]
    for file in files:
        encode.write_video(file, clip, frames, codec=codec)
    assert len({file.read_bytes() for file in files}) == 1


def test_a_failure_leaves_nothing_behind(clip, tmp_path):
    def frames():
        yield from video.read_frames(clip)
        raise RuntimeError("the network failed")

    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "out.mp4").write_text("an older result")
    with pytest.raises(RuntimeError, match="the network failed"):
        encode.write_video(folder / "out.mp4", clip, frames())
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    assert (folder / "out.mp4").read_text() == "an older result"


def test_a_clip_may_replace_itself(clip):
    assert len(rewrite(clip, clip)) == 12


def test_bad_output(clip, tmp_path):
    frames = list(video.read_frames(clip))
    with pytest.raises(InputError, match=r"choose one of \.mp4"):
        encode.write_video(tmp_path / "out.gif", clip, frames)
    with pytest.raises(InputError, match="no folder"):
        encode.write_video(tmp_path / "missing" / "out.mp4", clip, frames)
    with pytest.raises(InputError, match="no frame"):
        encode.write_video(tmp_path / "out.mp4", clip, [])
    small = video.Frame(np.zeros((10, 10, 3), np.uint8), 1.0, 1)
    with pytest.raises(InputError, match="another size"):
        encode.write_video(tmp_path / "out.mp4", clip, [frames[0], small])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no folder"):
        encode.write_video(tmp_path / "file" / "out.mp4", clip, frames)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "file"]
