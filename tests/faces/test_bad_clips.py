"""Bad input is read as far as it can be, or explained in one sentence that names the file; nothing hangs or prints."""

import io
import logging
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, read_picture, write_picture
from tests.support.face_scenes import smooth_picture, write_clip


@pytest.fixture(autouse=True)
def quiet(capfd):
    """FFmpeg writes nothing to the terminal."""
    yield
    assert capfd.readouterr().err == ""


def problem(path: Path) -> str:
    """The message of both readers, on one line and naming the file."""
    messages = set()
    for read in (video.probe, lambda path: list(video.read_frames(path))):
        with pytest.raises(InputError) as caught:
            read(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert str(path) in message and "\n" not in message
    return message


READ = """
import os, sys
from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, video

if os.geteuid() == 0 and sys.argv[1] == "drop":
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit("cannot drop")
for path in sys.argv[2:]:
    for read in video.probe, lambda path: next(video.read_frames(path)), audio.read_audio:
        try:
            read(path)
            print("read", path)
        except InputError as error:
            print(error)
"""


def answers(paths: list[Path], user: str = "same") -> list[str]:
    """What another process has to say that reads the paths three ways; with "drop", it has no privileges."""
    done = subprocess.run(
        [sys.executable, "-c", READ, user, *paths], capture_output=True, text=True, timeout=120
    )
    if "cannot drop" in done.stderr:
        pytest.skip("this process may not become another user")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


# Files that hold something else.


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_no_such_content(tmp_path, suffix):
    path = tmp_path / f"bad{suffix}"
    assert "does not exist" in problem(path)
    path.touch()
    assert "is empty" in problem(path)
    path.write_text("This is no picture.\n" * 50)
    assert "damaged or not a" in problem(path)
    path.unlink()
    path.mkdir()
    assert "is a folder" in problem(path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mpg", ".ts", ".png", ".jpg", ".webp"])
@pytest.mark.parametrize("size", [1, 100, 20000])
def test_random_bytes(tmp_path, suffix, size):
    path = tmp_path / f"random{suffix}"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    problem(path)


def test_text_is_no_video(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("This is no video.\n" * 50)
    assert "no" in problem(path)


def test_lists_of_other_files_are_not_followed(tmp_path):
    path = tmp_path / "list.mp4"
    for text in (
        "#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ):
        path.write_text(text)
        problem(path)


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_sound_without_pictures(tmp_path):
    write_sound(tmp_path / "sound.mp4")
    assert "has no video" in problem(tmp_path / "sound.mp4")


def test_unknown_format(clip):
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzz1"))
    assert "cannot decode" in problem(clip)


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


# Damage.


def test_truncated_clip_without_index(clip):
    clip.write_bytes(clip.read_bytes()[:-2000])  # the index comes last
    assert "damaged" in problem(clip)


def test_truncated_clip_gives_the_frames_that_are_there(tmp_path, caplog):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(30)]
    path = write_clip(tmp_path / "cut.mp4", images, options={"movflags": "faststart"})
    whole = list(video.read_frames(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        frames = list(video.read_frames(path))
    assert 5 < len(frames) < 30
    assert (
        f"cut.mp4 is damaged or cut off: {30 - len(frames)} frames could not be decoded"
        in caplog.text
    )
    assert all(
        np.array_equal(one.image, two.image) for one, two in zip(frames[:-3], whole, strict=False)
    )
    write_video(tmp_path / "out.mp4", path, frames)
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == len(frames)


def flip_bytes(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), 12):
        data[place] = rng.integers(256)


def flip_header(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, min(len(data), 600), 4):
        data[place] = rng.integers(256)


def blank(data: bytearray, rng: np.random.Generator) -> None:
    first = rng.integers(len(data))
    data[first : first + 500] = bytes(len(data[first : first + 500]))


def truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(1, len(data)) :]


def cut_out(data: bytearray, rng: np.random.Generator) -> None:
    first = rng.integers(len(data))
    del data[first : first + rng.integers(1, 300)]


@pytest.mark.parametrize("damage", [flip_bytes, flip_header, blank, truncate, cut_out])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_any_damage_gives_frames_or_a_sentence(tmp_path, suffix, damage: Callable, caplog):
    caplog.set_level(logging.ERROR)
    images = [smooth_picture(48, 64, index / 5) for index in range(12)]
    path = write_clip(
        tmp_path / f"damaged{suffix}", images, audio=suffix != ".avi"
    )  # AVI takes no such AAC
    data = path.read_bytes()
    for seed in range(4):
        damaged = bytearray(data)
        damage(damaged, np.random.default_rng(seed))
        path.write_bytes(damaged)
        for read in (
            video.read_frames,
            lambda path: video.read_frames(path, start=0.2, depth=16),
            audio.read_audio,
        ):
            try:
                frames = list(read(path))
                assert len(frames) <= 12 or isinstance(frames[0], np.int16)
            except InputError as error:
                assert str(path) in str(error) and "\n" not in str(error)


# Files that are no files.


def test_pipes_devices_and_links(tmp_path):
    """In another process with a time limit: a pipe without a writer would be waited for."""
    paths = []
    for suffix in (".mp4", ".png"):
        pipe, device, loop, dangling = (
            tmp_path / f"{name}{suffix}" for name in ("pipe", "zero", "loop", "dangling")
        )
        os.mkfifo(pipe)
        device.symlink_to("/dev/zero")
        loop.symlink_to(loop)
        dangling.symlink_to(tmp_path / "nothing")
        paths += [pipe, device, loop, dangling]
    said = iter(answers(paths))
    for path in paths:
        reasons = {
            "pipe": "is a pipe or a device",
            "zero": "is a pipe or a device",
            "loop": "cannot be read",
        }
        for read in ("probe", "frames", "sound"):
            line = next(said)
            if read == "sound" and path.suffix == ".png":
                assert line == f"read {path}"  # a picture's sound needs no look
            else:
                assert str(path) in line and reasons.get(path.stem, "does not exist") in line
    assert next(said, None) is None


def test_a_link_to_a_clip_is_the_clip(clip, tmp_path):
    (tmp_path / "link.mp4").symlink_to(clip)
    assert len(list(video.read_frames(tmp_path / "link.mp4"))) == 12


def test_no_permission(clip):
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    try:
        folder.chmod(0o755)
        shut = folder / "shut"
        shut.mkdir()
        picture = folder / "locked.png"
        write_picture(picture, smooth_picture(8, 8))
        paths = [folder / "locked.mp4", picture, shut / "clip.mp4"]
        for path in (paths[0], paths[2]):
            shutil.copyfile(clip, path)
        for path in (paths[0], paths[1], shut):
            path.chmod(0)
        said = answers(paths, "drop")
        assert said.pop(5) == f"read {picture}"  # its sound
        assert len(said) == 8
        for line, path in zip(said, [paths[0]] * 3 + [paths[1]] * 2 + [paths[2]] * 3, strict=True):
            assert line.startswith(f"{path} may not be read")
    finally:
        (folder / "shut").chmod(0o700)
        shutil.rmtree(folder)


NAMES = (
    "two words",
    "ünï 日本",
    "a:b",
    "file:a",
    "%03d",
    "-x",
    "'q'\"",
    "a?b#c",
    "*",
    "~",
    "$HOME",
    "caf\udce9",
)


@pytest.mark.parametrize("stem", NAMES)
def test_names(clip, tmp_path, monkeypatch, stem):
    """Nothing in a name is a pattern, a protocol or a flag; the last one is not UTF-8."""
    monkeypatch.chdir(tmp_path)
    movie, still = Path(f"{stem}.mp4"), Path(f"{stem}.png")
    try:
        shutil.copyfile(clip, movie)
    except OSError:
        pytest.skip("this file system does not take the name")
    write_picture(still, smooth_picture(8, 8))
    assert len(list(video.read_frames(movie))) == 12
    assert len(list(video.read_frames(movie, start=0.2))) == 6
    assert len(audio.read_audio(movie)) > 6000
    assert len(list(video.read_frames(still))) == 1
    write_video(movie, movie, video.read_frames(movie))
    assert video.probe(movie).frames == 12
    movie.write_bytes(b"no clip")
    assert "damaged" in problem(movie)


# Clips that are unusual, but good.


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("prores.mov", "prores_ks", "yuv422p10le"),
        ("high422.mp4", "libx264", "yuv422p10le"),
        ("main10.mkv", "libx265", "yuv420p10le"),
        ("grey.mkv", "ffv1", "gray"),
        ("alpha.mov", "png", "rgba"),
        ("palette.gif", "gif", "rgb8"),
        ("full.mp4", "libx264", "yuv444p"),
        ("vp9.webm", "libvpx-vp9", "yuv420p"),
        ("mpeg4.avi", "mpeg4", "yuv420p"),
    ],
)
@pytest.mark.parametrize("count", [1, 4])
def test_pixel_formats_and_odd_sizes(tmp_path, name, codec, pixel_format, count):
    height, width = (
        (96, 64) if name in ("high422.mp4", "main10.mkv") else (97, 65)
    )  # as these encoders want
    path, images = (
        tmp_path / name,
        [smooth_picture(height, width, index / 5) for index in range(count)],
    )
    with av.open(str(path), "w") as container:
        options = {
            "libx264": {"crf": "4"},
            "libx265": {"x265-params": "crf=4:bframes=0:log-level=none"},
        }
        stream = container.add_stream(codec, rate=25, options=options.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.colorspace = 5
        stream.codec_context.color_range = color_range = 2 if pixel_format == "gray" else 1
        stream.codec_context.bit_rate = 8_000_000
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format=pixel_format,
                dst_colorspace=5,
                src_color_range=2,
                dst_color_range=color_range,
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for depth, white in ((8, 255), (16, 65535)):
        frames = list(video.read_frames(path, depth=depth))
        assert len(frames) == count
        for frame, image in zip(frames, images, strict=True):
            assert frame.image.shape == image.shape and frame.image.flags.c_contiguous
            if pixel_format == "gray":
                image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
            assert np.abs(frame.image * (255 / white) - image).mean() < (
                24 if pixel_format == "rgb8" else 6
            )


def test_one_4k_frame(tmp_path):
    image = cv2.resize(smooth_picture(108, 192), (3840, 2160))
    (frame,) = video.read_frames(write_clip(tmp_path / "uhd.mp4", [image]))
    assert frame.image.shape == (2160, 3840, 3)
    assert np.abs(frame.image[::8, ::8].astype(int) - image[::8, ::8]).mean() < 3


# Pictures.


def encoded(image: np.ndarray, mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).convert(mode).save(
        buffer, kind, **({"quality": 98} if kind == "JPEG" else {})
    )
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "suffix"),
    [
        ("CMYK", "JPEG", ".jpg"),
        ("L", "JPEG", ".jpg"),
        ("L", "PNG", ".png"),
        ("LA", "PNG", ".png"),
        ("RGBA", "PNG", ".png"),
        ("P", "PNG", ".png"),
        ("RGB", "JPEG", ".png"),  # what the name says does not matter
        ("P", "GIF", ".png"),
        ("RGBA", "WEBP", ".webp"),
        ("P", "BMP", ".bmp"),
    ],
)
def test_kinds_of_pictures(tmp_path, mode, kind, suffix):
    image = smooth_picture(61, 83)
    data = encoded(image, mode, kind)
    (tmp_path / f"a{suffix}").write_bytes(data)
    expected = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
    (frame,) = video.read_frames(tmp_path / f"a{suffix}")
    assert frame.image.shape == image.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 2


def test_rotated_jpeg_is_upright(tmp_path):
    """EXIF orientation 6: the picture is stored turned by 90 degrees counterclockwise."""
    image = smooth_picture(40, 60)
    path = tmp_path / "phone.jpg"
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(np.rot90(image)[..., ::-1]))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    data = data.tobytes()
    path.write_bytes(data[:2] + segment + data[2:])
    for depth in (8, 16):
        assert np.abs(read_picture(path, depth=depth) / 257 ** (depth // 16) - image).mean() < 3


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_pictures(tmp_path, suffix, share, capfd):
    path = tmp_path / f"cut{suffix}"
    write_picture(path, smooth_picture(61, 83))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "damaged or not a picture" in problem(path)
    capfd.readouterr()  # libpng and libjpeg may print a line


def png(width: int, height: int) -> bytes:
    """A tiny file that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("width", "height"), [(30_000, 30_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)]
)
def test_tiny_files_that_claim_to_be_huge(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height))
    assert "million pixels" in problem(path)
    data = bytearray(encoded(smooth_picture(61, 83), "RGB", "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 65_000, 16_000)
    path = tmp_path / "bomb.jpg"
    path.write_bytes(data)
    assert "million pixels" in problem(path)
