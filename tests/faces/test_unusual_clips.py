"""Clips that are unusual, but good: other codecs and colours, odd sizes, titles of another time."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np
import PIL.Image
import pytest

from faceswap_jax.faces import video
from tests.support.face_scenes import smooth_picture, write_clip

pytestmark = pytest.mark.usefixtures("quiet")


CLIPS = [
    ("prores.mov", "prores_ks", "yuv422p10le"),
    ("high422.mp4", "libx264", "yuv422p10le"),
    ("main10.mkv", "libx265", "yuv420p10le"),
    ("grey.mkv", "ffv1", "gray"),
    ("alpha.mov", "png", "rgba"),
    ("palette.gif", "gif", "rgb8"),
    ("full.mp4", "libx264", "yuv444p"),
    ("vp9.webm", "libvpx-vp9", "yuv420p"),
    ("mpeg4.avi", "mpeg4", "yuv420p"),
]
OPTIONS = {
    "libx264": {"crf": "4"},
    "libx265": {"x265-params": "crf=4:bframes=0:log-level=none"},
}


def write(path, codec, pixel_format, images):
    """A clip of any codec and pixel format, 25 frames/s."""
    color_range = 2 if pixel_format == "gray" else 1
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=OPTIONS.get(codec, {}))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.colorspace = 5
        stream.codec_context.color_range = color_range
        stream.codec_context.bit_rate = 8_000_000
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format=pixel_format,
                dst_colorspace=5,
                src_color_range=2,
                dst_color_range=color_range,
            )
            frame.pts = index
            frame.time_base = Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "codec", "pixel_format"), CLIPS)
@pytest.mark.parametrize("count", [1, 4])
def test_pixel_formats_and_odd_sizes(tmp_path, name, codec, pixel_format, count):
    # Two of the encoders take even sizes alone.
    height, width = (96, 64) if name in ("high422.mp4", "main10.mkv") else (97, 65)
    images = [smooth_picture(height, width, index / 5) for index in range(count)]
    write(tmp_path / name, codec, pixel_format, images)
    tolerance = 24 if pixel_format == "rgb8" else 6
    for depth, white in ((8, 255), (16, 65535)):
        frames = list(video.read_frames(tmp_path / name, depth=depth))
        assert len(frames) == count
        for frame, image in zip(frames, images, strict=True):
            assert frame.image.shape == image.shape and frame.image.flags.c_contiguous
            if pixel_format == "gray":
                image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
            assert np.abs(frame.image * (255 / white) - image).mean() < tolerance


def test_turned_frames_of_a_camera_that_writes_jpegs(tmp_path):
    upright = smooth_picture(96, 64)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    data = io.BytesIO()
    stored = PIL.Image.fromarray(np.rot90(upright).copy())
    stored.save(data, "jpeg", quality=95, exif=exif)
    with av.open(str(tmp_path / "camera.avi"), "w") as container:
        stream = container.add_mux_stream("mjpeg", rate=25, width=96, height=64)
        stream.time_base = Fraction(1, 25)
        for index in range(3):
            packet = av.Packet(data.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = index
            container.mux(packet)
    frames = list(video.read_frames(tmp_path / "camera.avi"))
    assert len(frames) == 3 and frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 3


def test_one_4k_frame(tmp_path):
    image = cv2.resize(smooth_picture(108, 192), (3840, 2160))
    (frame,) = video.read_frames(write_clip(tmp_path / "uhd.mp4", [image]))
    assert frame.image.shape == (2160, 3840, 3)
    assert np.abs(frame.image[::8, ::8].astype(int) - image[::8, ::8]).mean() < 3


def test_title_in_another_encoding(clip, tmp_path):
    with av.open(str(clip)) as old, av.open(str(tmp_path / "title.mkv"), "w") as new:
        new.metadata["title"] = "caf####"
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    data = (tmp_path / "title.mkv").read_bytes()
    (tmp_path / "title.mkv").write_bytes(data.replace(b"caf####", b"caf\xe9\xff\xfe!"))
    assert len(list(video.read_frames(tmp_path / "title.mkv"))) == 12
