"""Pictures of every kind are read upright and in RGB; those that are cut off or too large are explained."""

import io
import struct
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest

from faceswap_jax.faces import video
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, read_picture, write_picture
from tests.support.face_scenes import smooth_picture
from tests.support.reading import problem

pytestmark = pytest.mark.usefixtures("quiet")


def encoded(image: np.ndarray, mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 98} if kind == "JPEG" else {}
    PIL.Image.fromarray(image).convert(mode).save(buffer, kind, **options)
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
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
def test_truncated_pictures(tmp_path, suffix, fraction, capfd):
    path = tmp_path / f"cut{suffix}"
    write_picture(path, smooth_picture(61, 83))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
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
