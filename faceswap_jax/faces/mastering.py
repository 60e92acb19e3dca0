"""What HDR says of the display that it was made on, and of its brightest light."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from faceswap_jax.faces.decoded import side_data_of


class Mastering(NamedTuple):
    """As x264 and x265 want it to be said.

    Attributes:
        display: its primaries and white, in 50000ths, its brightest and darkest light, in 10000ths of candelas per
            square metre (SMPTE ST 2086); "" if unknown.
        light: candelas per square metre of the brightest pixel and the brightest frame (CTA-861.3); "" if unknown.
    """

    display: str = ""
    light: str = ""


NO_MASTERING = Mastering()


def read_mastering(frame: av.VideoFrame) -> Mastering:
    """What a decoded frame says of it."""
    try:
        known = {side_data.type.name: bytes(side_data) for side_data in side_data_of(frame)}
    except ValueError:
        # PyAV gives none where there is also one that it does not know.
        return NO_MASTERING
    display = _display(known.get("MASTERING_DISPLAY_METADATA", b""))
    levels = np.frombuffer(known.get("CONTENT_LIGHT_LEVEL", b""), np.uint32)
    return Mastering(display, ",".join(map(str, levels)))


def _display(data: bytes) -> str:
    """The display, from FFmpeg's AVMasteringDisplayMetadata: ten fractions, then whether the parts are known."""
    numbers = np.frombuffer(data, np.int32).tolist()
    # Damaged files divide by zero.
    if len(numbers) != 22 or not all(numbers[20:]) or not all(numbers[1:20:2]):
        return ""
    pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
    *points, least, most = (Fraction(a, b) for a, b in pairs)
    red, green, blue, white = (_in_units(points[i : i + 2], 50_000) for i in range(0, 8, 2))
    light = _in_units((most, least), 10_000)
    return f"G{green}B{blue}R{red}WP{white}L{light}"


def _in_units(values: Sequence[Fraction], unit: int) -> str:
    return "({},{})".format(*(round(unit * value) for value in values))
