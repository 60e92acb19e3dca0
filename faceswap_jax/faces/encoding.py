"""Encodings of pictures and clips: what networks and records see of them, and how a change of that goes back.

What is seen is sRGB, as on a display. What was not changed keeps its own values to the bit, whatever they are. What was
changed keeps what a display does not show, such as values above white and colours that sRGB does not have.
"""

import abc
import functools
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageCms
from jaxtyping import Bool, Float, Float64, Shaped, UInt8, UInt16

from faceswap_jax.faces.face import Image

Pixels = Shaped[np.ndarray, "h w 3"]
"""Of 8 or 16 bits, white being the largest number; or floats."""

Colours = Shaped[np.ndarray, "n 3"]

KNEE = 0.8
"""From here on, of 1, the display's range is shared by all that is brighter in a scene: lamps, the sun."""

BRIGHTEST = 65504.0
"""The largest half float."""

REC709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
"""Chromaticities x, y of red, green, blue and white: sRGB's, and of OpenEXR files that name none."""

SAME = 2
"""Of 255; colours that a profile moves by no more count as they are."""


class Encoding(abc.ABC):
    """How numbers stand for colours."""

    @abc.abstractmethod
    def shown(self, pixels: Pixels, depth: int = 8) -> Image | UInt16[np.ndarray, "h w 3"]:
        """What is seen of a picture, with 8 or 16 bits."""

    def changed(self, pixels: Pixels, after: Image) -> Pixels:
        """The picture after a change of what is seen of it, of the same type.

        Args:
            pixels: of the picture.
            after: what is to be seen; where that is what `shown` gives, pixels stay as they are.
        """
        before = self.shown(pixels)
        where: Bool[np.ndarray, "h w"] = (before != after).any(2)
        result = pixels.copy()
        if not where.any():
            return result
        values = self.moved(pixels[where], before[where], after[where])
        if np.issubdtype(pixels.dtype, np.integer):
            values = np.rint(values)
        limits = _limits(pixels.dtype)
        result[where] = values.clip(*limits).astype(pixels.dtype)
        return result

    @abc.abstractmethod
    def moved(
        self, pixels: Colours, before: UInt8[np.ndarray, "n 3"], after: UInt8[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """Own values, neither rounded nor clipped, of pixels whose looks change.

        Args:
            pixels: their values.
            before: what `shown` gives of them.
            after: what is to be seen.
        """


class Srgb(Encoding):
    """As on a display."""

    def shown(self, pixels: Pixels, depth: int = 8) -> Image | UInt16[np.ndarray, "h w 3"]:
        """See `Encoding`."""
        return in_depth(pixels, depth)

    def moved(self, pixels, before, after):
        """See `Encoding`."""
        unit = np.iinfo(pixels.dtype).max / 255
        return pixels + unit * (after.astype(np.float64) - before)


class Profiled(Encoding):
    """By an ICC profile of red, green and blue, such as Display P3; its colours are looked up with 8 bits."""

    def __init__(self, profile: bytes) -> None:
        """See the class.

        Args:
            profile: the ICC profile.

        Raises:
            ValueError: it is damaged, or is not of red, green and blue.
        """
        self._profile = profile
        _transform(profile, back=False)

    def shown(self, pixels: Pixels, depth: int = 8) -> Image | UInt16[np.ndarray, "h w 3"]:
        """See `Encoding`."""
        return in_depth(self._looked_up(in_depth(pixels, 8), back=False), depth)

    def is_srgb(self) -> bool:
        """Whether its colours are what they would be without it."""
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        moved = self.shown(colours).astype(int) - colours
        return bool(np.abs(moved).max() <= SAME)

    def moved(self, pixels, before, after):
        """See `Encoding`."""
        was, will_be = (self._looked_up(seen[None], back=True)[0] for seen in (before, after))
        unit = np.iinfo(pixels.dtype).max / 255
        return pixels + unit * (will_be.astype(np.float64) - was)

    def _looked_up(self, image: Image, back: bool) -> Image:
        """In sRGB, or `back` in the profile's colours."""
        picture = PIL.Image.fromarray(np.ascontiguousarray(image))
        return np.asarray(_transform(self._profile, back).apply(picture))


class Curve(NamedTuple):
    """From light to a display's range, in which black is 0 and white 1, and back; nothing is clipped.

    Attributes:
        power: of the light; None for sRGB's curve.
        knee: from here on the display's range is shared by all that is brighter; 1 if nothing is.
    """

    power: float | None = None
    knee: float = KNEE

    def display(self, light: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """What is seen of light."""
        # Renderers make mistakes.
        light = np.nan_to_num(light, posinf=BRIGHTEST, neginf=-BRIGHTEST)
        if self.power is None:
            curved = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
            display = np.where(light <= 0.0031308, 12.92 * light, curved)
        else:
            display = np.sign(light) * np.abs(light) ** (1 / self.power)
        # Both parts have the same slope at the knee.
        room = 1 - self.knee
        over = np.maximum(display - self.knee, 0)
        compressed = self.knee + room * over / (over + room) if room else display
        return np.where(over > 0, compressed, display)

    def light(self, display: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """The other way."""
        room = 1 - self.knee
        if room:
            # White becomes the brightest light.
            share = ((display - self.knee) / room).clip(0, 1 - 1e-4)
            expanded = self.knee + room * share / (1 - share)
            display = np.where(share > 0, expanded, display)
        if self.power is None:
            return linear(display)
        return np.sign(display) * np.abs(display) ** self.power


class ByLight(Encoding):
    """By the light that numbers stand for, which a curve brings into the display's range."""

    def __init__(self, curve: Curve) -> None:
        """See the class."""
        self._curve = curve

    @abc.abstractmethod
    def _light(self, pixels: Pixels | Colours) -> Float[np.ndarray, "*n 3"]:
        """The light of pixels by sRGB's primaries; of a white surface 1."""

    @abc.abstractmethod
    def _own(self, light: Float64[np.ndarray, "n 3"], kind: np.dtype) -> Float64[np.ndarray, "n 3"]:
        """The other way, in the unit of a type of pixels."""

    def shown(self, pixels: Pixels, depth: int = 8) -> Image | UInt16[np.ndarray, "h w 3"]:
        """See `Encoding`."""
        light = self._light(pixels)
        if depth == 16:
            display = self._curve.display(light.astype(np.float32, copy=False))
            return np.rint(65535 * display.clip(0, 1)).astype(np.uint16)

        # Half floats are fine enough, and so few that all of them can be looked up.
        with np.errstate(over="ignore"):
            halves = light.astype(np.float16, copy=False)
        return _looks_of_halves(self._curve)[halves.view(np.uint16)]

    def moved(self, pixels, before, after):
        """See `Encoding`."""
        # From the unrounded looks, so that what changes little keeps its fine steps
        change = (after.astype(np.float64) - before) / 255
        display = self._curve.display(self._light(pixels).astype(np.float64))
        moved = self._own(self._curve.light(display + change), pixels.dtype)

        # Near the display's white a step is worth any amount of light.
        white = self._own(np.ones((1, 3)), pixels.dtype).max()
        brightest = np.nan_to_num(pixels, posinf=BRIGHTEST).max(initial=white)
        return np.minimum(moved, brightest)


class SceneLinear(ByLight):
    """Light of a scene, as in OpenEXR files; 1 is a white surface, and lights are brighter.

    It is shown by sRGB's curve up to KNEE, which skin hardly exceeds, see `Curve`.
    """

    def __init__(self, chromaticities: Sequence[float] = REC709) -> None:
        """See the class.

        Args:
            chromaticities: x, y of red, green, blue and white.
        """
        super().__init__(Curve())
        self._is_srgb = np.allclose(chromaticities, REC709, atol=1e-3)
        self._to_srgb = np.linalg.solve(to_xyz(REC709), to_xyz(chromaticities))

    def _light(self, pixels):
        if self._is_srgb:
            return pixels
        # Of a frame of 4K, floats of 64 bits would fill a gigabyte. A mistake of one channel stays in it.
        light = pixels.astype(np.float32, copy=False)
        light = np.nan_to_num(light, posinf=BRIGHTEST, neginf=-BRIGHTEST)
        return light @ self._to_srgb.T.astype(np.float32)

    def _own(self, light, kind):
        return light if self._is_srgb else light @ np.linalg.inv(self._to_srgb).T


SRGB = Srgb()


def linear(display: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """The light of a display: white, 1, is light of 1."""
    curved = ((np.maximum(display, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(display <= 0.04045, display / 12.92, curved)


def in_depth(
    image: UInt8[np.ndarray, "*n"] | UInt16[np.ndarray, "*n"], depth: int
) -> UInt8[np.ndarray, "*n"] | UInt16[np.ndarray, "*n"]:
    """An image of 8 or 16 bits with `depth` bits: white stays white."""
    if image.dtype == (np.uint8 if depth == 8 else np.uint16):
        return image
    if depth == 16:
        return image * np.uint16(257)
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _limits(kind: np.dtype) -> tuple[float, float]:
    """The least and the largest number of a type."""
    info = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(kind)
    return float(info.min), float(info.max)


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, back: bool) -> PIL.ImageCms.ImageCmsTransform:
    """From a profile's colours to sRGB, or back.

    Raises:
        ValueError: the profile is damaged, or is not of red, green and blue.
    """
    srgb = PIL.ImageCms.createProfile("sRGB")
    try:
        own = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ends = (srgb, own) if back else (own, srgb)
        # White stays white.
        return PIL.ImageCms.buildTransform(
            *ends, "RGB", "RGB", PIL.ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
    except (OSError, PIL.ImageCms.PyCMSError) as error:
        raise ValueError("not a profile of red, green and blue") from error


@functools.cache
def _looks_of_halves(curve: Curve) -> UInt8[np.ndarray, "65536"]:
    """What is seen of each half float, by its bits."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return np.rint(255 * curve.display(halves).clip(0, 1)).astype(np.uint8)


def to_xyz(chromaticities: Sequence[float]) -> Float64[np.ndarray, "3 3"]:
    """The matrix from linear red, green and blue to CIE XYZ; white has Y = 1."""
    x, y = np.array(chromaticities, np.float64).reshape(4, 2).T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    colours, white = columns[:, :3], columns[:, 3]
    return colours * np.linalg.solve(colours, white)
