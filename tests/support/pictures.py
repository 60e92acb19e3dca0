"""Pictures as cameras, telephones and renderers write them."""

import io
import struct

import numpy as np
import OpenEXR

from faceswap_jax.faces.encoding import Curve

P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
"""XYZ of Display P3's red, green and blue, as its ICC profile has them."""

BT2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)
"""Chromaticities of red, green, blue and white."""


def icc_profile(colours=P3, gamma: float = 2.2) -> bytes:
    """An ICC profile by the XYZ of red, green and blue, and one power for all of them."""
    text = b"text" + bytes(4) + b"a test's\0\0\0\0"
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    white = (
        b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * v) for v in (0.9642, 1, 0.8249)))
    )
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma))
    tags = {b"desc": name, b"cprt": text, b"wtpt": white}
    for letter, xyz in zip(b"rgb", colours, strict=True):
        values = struct.pack(">3i", *(round(65536 * value) for value in xyz))
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + values
        tags[bytes([letter]) + b"TRC"] = curve

    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        offset = 128 + 4 + 12 * len(tags) + len(body)
        table += tag + struct.pack(">II", offset, len(content))
        body += content
    header = bytearray(128)
    header[:4] = struct.pack(">I", 128 + len(table) + len(body))
    header[8:12] = b"\x02\x10\0\0"
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", *(round(65536 * v) for v in (0.9642, 1, 0.8249)))
    return bytes(header) + table + body


def exr(channels: dict[str, np.ndarray], **header) -> bytes:
    """An OpenEXR file."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage} | header
    buffer = io.BytesIO()
    OpenEXR.File(header, channels).write(buffer)
    return buffer.getvalue()


def exr_channels(data: bytes) -> dict[str, np.ndarray]:
    """What is in one."""
    file = OpenEXR.File(io.BytesIO(data), separate_channels=True)
    return {name: channel.pixels for name, channel in file.channels().items()}


def light_seen_as(image: np.ndarray) -> np.ndarray:
    """Scene-linear light, half floats, that is seen as an image."""
    return np.minimum(Curve().light(image / 255), 65504).astype(np.float16)
