"""Encodings of footage whose colours only their name tells: cameras' logarithms and gamuts, by OpenColorIO."""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.errors import InputError
from faceswap_jax.faces.encoding import ByLight, Curve, Encoding

CONFIG = "ocio://studio-config-v4.0.0_aces-v2.0_ocio-v2.5"
"""Of those that OpenColorIO has built in. A name must mean the same for ever."""

LIGHT = "Linear Rec.709 (sRGB)"
"""Its name of a scene's light by sRGB's primaries."""

KNEES = {"log": 0.8, "sdr-video": 1.0}
"""Of the curve by which colours are seen, by OpenColorIO's name of the kind. A scene has lamps; others end at white."""

CODES = ("Input/Sony", "Input/Panasonic", "Input/Canon")
"""Makers whose logarithms count from the least number of a sample to the largest, whatever stands for black."""


class Filmed(ByLight):
    """A clip's own red, green and blue, of a space that OpenColorIO knows; seen as `SceneLinear` is."""

    def __init__(self, name: str, full_range: bool) -> None:
        """See the class.

        Args:
            name: see `check`.
            full_range: whether red, green and blue of 0 are the least numbers of a sample, instead of black's.
        """
        config = _config()
        space = config.getColorSpace(name)
        super().__init__(Curve(knee=KNEES[space.getEncoding()]))
        self._to_light = config.getProcessor(name, LIGHT).getDefaultCPUProcessor()
        self._from_light = config.getProcessor(LIGHT, name).getDefaultCPUProcessor()
        # Of ten bits, 64 is black and 940 white.
        counts_codes = space.getFamily().startswith(CODES) and not full_range
        self._scale, self._offset = (876 / 1023, 64 / 1023) if counts_codes else (1.0, 0.0)

    def _light(self, pixels):
        unit = self._scale / np.iinfo(pixels.dtype).max
        return _processed(self._to_light, pixels * np.float32(unit) + np.float32(self._offset))

    def _own(self, light, kind):
        signal = _processed(self._from_light, light.astype(np.float32)).astype(np.float64)
        return (signal - self._offset) * (np.iinfo(kind).max / self._scale)


def check(name: str) -> None:
    """Raises InputError unless OpenColorIO is installed and has such a colour space, a camera's or of a display."""
    if name in _known():
        return
    space = _config().getColorSpace(name)
    # It has shorter names, too.
    if space is not None and space.getName() in _known():
        return
    names = ", ".join(f"'{known}'" for known in _known())
    raise InputError(f"There is no colour space '{name}'; choose one of {names}.")


@functools.cache
def encoding_of(name: str, full_range: bool) -> Encoding:
    """The encoding of a clip of that colour space, see `Filmed`.

    Raises:
        InputError: as `check`.
    """
    check(name)
    return Filmed(name, full_range)


@functools.cache
def _config() -> Any:
    try:
        import PyOpenColorIO
    except ImportError as error:
        raise InputError(
            "--colorspace needs OpenColorIO; install the extra 'film': pip install opencolorio."
        ) from error
    return PyOpenColorIO.Config.CreateFromFile(CONFIG)


@functools.cache
def _known() -> list[str]:
    """The spaces that a clip may have: neither light itself, which wants floats, nor the config's displays."""
    return [
        space.getName()
        for space in _config().getColorSpaces()
        if space.getEncoding() in KNEES and space.getFamily() != "Display"
    ]


def _processed(processor: Any, colours: Float32[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Colours through one of OpenColorIO's processors."""
    colours = np.ascontiguousarray(colours)
    processor.applyRGB(colours)
    return colours
