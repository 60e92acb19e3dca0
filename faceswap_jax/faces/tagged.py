"""Encodings of clips in HDR and wide gamuts, by code points of primaries and transfer (ITU-T H.273)."""

import functools

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

from faceswap_jax.faces.encoding import REC709, SRGB, ByLight, Curve, Encoding, linear, to_xyz

BT2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)
DCI_P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351)
DISPLAY_P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
"""Chromaticities x, y of red, green, blue and white."""

WIDE = {9: BT2020, 11: DCI_P3, 12: DISPLAY_P3}
"""By code point of the primaries; others are sRGB's, or all but these."""

SRGB_TRANSFER, PQ, HLG = 13, 16, 18
TRANSFERS = frozenset({1, 2, 6, 14, 15, SRGB_TRANSFER, PQ, HLG})
"""Code points of transfers; the others that are known here are cameras' to televisions of standard range."""

WHITE = 203.0
"""Candelas per square metre of a white surface in HDR (Report ITU-R BT.2408)."""

PQ_PEAK = 10_000.0
PQ_M1, PQ_M2 = 1305 / 8192, 2523 / 32
PQ_C1, PQ_C2, PQ_C3 = 107 / 128, 2413 / 128, 2392 / 128
"""Of PQ; its peak in candelas per square metre (ITU-R BT.2100)."""

HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073
HLG_LUMA = (0.2627, 0.678, 0.0593)
"""Of HLG; the peak of the display that it is made for, and the system gamma there (ITU-R BT.2100)."""

KNEE = 0.9
"""From here on, of 1, the range of SDR is shared by all that is brighter in HDR; no display of that is as bright as
lamps are. A white surface is at 0.95."""

TELEVISION = 2.4
"""The light of a television of standard range is this power of its signal (ITU-R BT.1886)."""


class Tagged(ByLight):
    """A clip's own red, green and blue.

    What is seen are the numbers by which a television of standard range shows the same, as SDR clips have them. In HDR
    that is light on the display; a white surface, see WHITE, has light of 1, and what is brighter rolls off, see
    `Curve`.
    """

    def __init__(self, primaries: int, transfer: int) -> None:
        """See the class.

        Args:
            primaries: code point, also one of sRGB's gamut.
            transfer: code point. But for HDR and sRGB's own, they differ in cameras alone.
        """
        power = None if transfer == SRGB_TRANSFER else TELEVISION
        super().__init__(Curve(power, knee=KNEE if transfer in (PQ, HLG) else 1))
        self._transfer = transfer
        to_srgb = np.linalg.solve(to_xyz(REC709), to_xyz(WIDE.get(primaries, REC709)))
        # White stays white, whatever its colour.
        self._to_srgb = to_srgb / to_srgb.sum(1, keepdims=True)

    def _light(self, pixels):
        light = _lights(self._transfer, pixels.dtype)[pixels]
        if self._transfer == HLG:
            light = _displayed(light)
        return _mixed(light, self._to_srgb)

    def _own(self, light, kind):
        light = _mixed(light, np.linalg.inv(self._to_srgb)).clip(0)
        if self._transfer == HLG:
            light = _filmed(light)
        return np.iinfo(kind).max * _signal(self._transfer, light)


def encoding_of(primaries: int, transfer: int) -> Encoding:
    """The encoding of a clip with these code points; sRGB if they tell of nothing wider."""
    is_wider = primaries in WIDE or transfer in (PQ, HLG)
    return Tagged(primaries, transfer) if is_wider else SRGB


@functools.cache
def _lights(transfer: int, kind: np.dtype) -> Float32[np.ndarray, "n"]:
    """The light of each number of an integer type, white surfaces having 1; of HLG that of the scene, up to 1."""
    signal = np.linspace(0, 1, np.iinfo(kind).max + 1)
    if transfer == PQ:
        root = signal ** (1 / PQ_M2)
        light = (np.maximum(root - PQ_C1, 0) / (PQ_C2 - PQ_C3 * root)) ** (1 / PQ_M1)
        light *= PQ_PEAK / WHITE
    elif transfer == HLG:
        bright = (np.exp((signal - HLG_C) / HLG_A) + HLG_B) / 12
        light = np.where(signal <= 0.5, signal**2 / 3, bright)
    elif transfer == SRGB_TRANSFER:
        light = linear(signal)
    else:
        light = signal**TELEVISION
    return light.astype(np.float32)


def _signal(transfer: int, light: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """The other way; the largest number is 1."""
    if transfer == PQ:
        power = (light * (WHITE / PQ_PEAK)) ** PQ_M1
        return ((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2
    if transfer == HLG:
        bright = HLG_A * np.log(np.maximum(12 * light, 1) - HLG_B) + HLG_C
        return np.where(light <= 1 / 12, np.sqrt(3 * light), bright)
    if transfer == SRGB_TRANSFER:
        return Curve(knee=1).display(light)
    return light ** (1 / TELEVISION)


def _displayed(light: Float32[np.ndarray, "*n 3"]) -> Float32[np.ndarray, "*n 3"]:
    """The light of HLG's display from that of the scene."""
    luminance = _mixed(light, np.array([HLG_LUMA]))
    return light * (HLG_PEAK / WHITE * luminance ** (HLG_GAMMA - 1))


def _filmed(light: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
    """The other way."""
    light = light * (WHITE / HLG_PEAK)
    # Black has no colour.
    luminance = np.maximum(_mixed(light, np.array([HLG_LUMA])), 1e-12)
    return light * luminance ** (1 / HLG_GAMMA - 1)


def _mixed(
    light: Float[np.ndarray, "*n 3"], matrix: Float64[np.ndarray, "c 3"]
) -> Float[np.ndarray, "*n c"]:
    """Sums of red, green and blue, of one image or of some colours."""
    pixels = light.reshape(-1, 1, 3)
    # Five times as fast as NumPy's product
    return cv2.transform(pixels, matrix).reshape(*light.shape[:-1], len(matrix))
