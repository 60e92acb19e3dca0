"""OpenEXR pictures: scene-linear light, with all other channels, parts and attributes of their files."""

import io
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import OpenEXR
from jaxtyping import Float, Float32

from faceswap_jax.errors import InputError
from faceswap_jax.faces.encoding import REC709, SceneLinear
from faceswap_jax.files import readable

MAGIC = b"\x76\x2f\x31\x01"
"""The first bytes of a file."""

COLOURS = ("R", "G", "B")


class Light:
    """A file, and its part that has red, green and blue.

    Attributes:
        pixels: of the data window [h, w, 3], half floats or floats.
        encoding: by its chromaticities.
        pixel_aspect: width over height of a pixel.
    """

    def __init__(self, path: Path, data: bytes, most: int) -> None:
        """Reads it.

        Args:
            path: for messages.
            data: the file's bytes.
            most: how many pixels it may have.

        Raises:
            InputError: it is damaged, or too large, or has no red, green and blue.
        """
        for part in _read(path, io.BytesIO(data), header_only=True).parts:
            first, last = part.header["dataWindow"]
            if np.prod(last.astype(float) - first + 1) > most:
                raise InputError(
                    f"{path} claims more than {most // 10**6} million pixels; scale it down or leave it out."
                )

        self._file = _read(path, io.BytesIO(data))
        self._part = _coloured(path, self._file)
        header = self._part.header
        self.pixels = np.stack([self._channels[name].pixels for name in COLOURS], -1)
        self.encoding = SceneLinear(header.get("chromaticities", REC709))
        self.pixel_aspect = Fraction(header["pixelAspectRatio"]).limit_denominator(10_000)

    @property
    def _channels(self) -> dict[str, OpenEXR.Channel]:
        return self._part.channels

    def encoded(self, pixels: Float[np.ndarray, "h w 3"]) -> bytes:
        """The same file with other colours."""
        for number, name in enumerate(COLOURS):
            self._channels[name].pixels[:] = pixels[..., number]
        return _encoded(self._file)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of the first part of a file, by its head.

    Raises:
        InputError: it is damaged.
    """
    with readable(path), open(path, "rb") as stream:
        first, last = _read(path, stream, header_only=True).parts[0].header["dataWindow"]
    width, height = last - first + 1
    return int(width), int(height)


def encoded(pixels: Float32[np.ndarray, "h w 3"]) -> bytes:
    """A new file of half floats."""
    channels = {name: pixels[..., i].astype(np.float16) for i, name in enumerate(COLOURS)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    return _encoded(OpenEXR.File(header, channels))


def _read(path: Path, stream: BinaryIO, header_only: bool = False) -> OpenEXR.File:
    damaged = InputError(f"{path} is damaged or not a picture; export it again.")
    try:
        file = OpenEXR.File(stream, separate_channels=True, header_only=header_only, num_threads=0)
    # Whatever the library raises, it is about this file.
    except Exception as error:
        raise damaged from error
    # It only prints what it cannot read, and leaves that out.
    if not file.parts or not (header_only or all(part.channels for part in file.parts)):
        raise damaged
    return file


def _coloured(path: Path, file: OpenEXR.File) -> OpenEXR.Part:
    """The first part that has red, green and blue, of one kind of floats and at each pixel."""
    for part in file.parts:
        channels = [part.channels.get(name) for name in COLOURS]
        if None in channels:
            continue
        kinds = {(channel.pixels.dtype, channel.pixels.shape) for channel in channels}
        ((kind, shape), *others) = kinds
        if not others and kind in (np.float16, np.float32) and len(shape) == 2:
            return part
    found = sorted(name for part in file.parts for name in part.channels)
    raise InputError(
        f"{path} has the channels {', '.join(found)}, but not R, G and B as floats; export the picture's colours "
        "under these names."
    )


def _encoded(file: OpenEXR.File) -> bytes:
    buffer = io.BytesIO()
    file.write(buffer)
    return buffer.getvalue()
