"""Colours and light. Colours are linear RGB, float32; pictures are encoded with gamma 2, close to sRGB."""

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.puppets.parameters import Persona, Scene
from data_pipelines.puppets.surface import dot, wave

_SKIN = [
    (250, 215, 195),
    (238, 188, 156),
    (214, 158, 120),
    (176, 116, 80),
    (128, 80, 54),
    (98, 62, 45),
]
_HAIR = [
    (24, 20, 20),
    (52, 34, 26),
    (92, 56, 34),
    (140, 70, 34),
    (176, 124, 66),
    (222, 188, 124),
    (168, 166, 164),
]
_IRIS = [
    (64, 36, 20),
    (106, 64, 30),
    (120, 106, 48),
    (82, 122, 84),
    (74, 124, 170),
    (128, 148, 164),
]
_SHIRT = [(58, 72, 110), (120, 40, 48), (70, 96, 76), (190, 186, 176), (44, 44, 48), (146, 116, 82)]
_WRAP = (0.32, 0.16, 0.1)  # light that bleeds past the terminator through the skin, per channel


def linear(srgb: tuple[float, ...]) -> Float32[np.ndarray, "3"]:
    """Linear colour of an 8-bit one."""
    return np.square(np.asarray(srgb, np.float32) / 255)


def encode(colour: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit picture of linear colours."""
    coded = np.sqrt(np.clip(colour, 0.0, 1.0))
    coded *= 255
    coded += 0.5
    return coded.astype(np.uint8)


def _along(palette: list[tuple[int, int, int]], share: float) -> Float32[np.ndarray, "3"]:
    """Colour at a share 0..1 of the way through a palette."""
    position = share * (len(palette) - 1)
    index = min(int(position), len(palette) - 2)
    first, second = linear(palette[index]), linear(palette[index + 1])
    return first + np.float32(position - index) * (second - first)


class Palette:
    """The colours of one persona."""

    def __init__(self, persona: Persona):
        warmth = np.array(
            [
                1 - 0.05 * persona.skin_warmth,
                1 + 0.06 * persona.skin_warmth,
                1 - 0.08 * persona.skin_warmth,
            ]
        )
        self.skin = _along(_SKIN, persona.skin_tone) * warmth.astype(np.float32)
        self.blush = self.skin * np.float32([1.05, 0.72, 0.7])
        self.sheen = np.float32(
            0.06 + 0.07 * persona.skin_tone
        )  # gloss: on dark skin it shows the form
        self.fold = self.skin * np.float32([0.42, 0.3, 0.27])
        red = linear((176, 58, 64)) * np.float32(1.0 - 0.55 * persona.skin_tone)
        natural = self.skin * np.float32([0.85, 0.5, 0.48])
        natural += np.float32(0.4 * persona.skin_tone) * linear(
            (150, 78, 80)
        )  # dark skin has lighter lips
        self.lips = natural + np.float32(0.2 + 0.8 * persona.lip_redness) * (red - natural)
        self.hair = _along(_HAIR, persona.hair_colour)
        # Never so light that a face loses its brows.
        self.brow = np.minimum(
            self.hair * np.float32(0.75 - 0.6 * persona.brow_darkness), self.skin * np.float32(0.45)
        )
        self.beard = self.hair * np.float32(0.8)
        self.freckle = self.skin * np.float32([0.62, 0.42, 0.32])
        self.iris = _along(_IRIS, persona.eye_colour)
        self.shirt = _along(_SHIRT, (persona.hair_line * 7.3 + persona.eye_colour * 3.1) % 1.0)
        self.frame = linear((28, 26, 30)) if persona.glasses < 0.6 else linear((92, 52, 30))


class Light:
    """The light of a scene as seen from one body's frame."""

    def __init__(self, scene: Scene, rotation: Float[np.ndarray, "3 3"]):
        azimuth, elevation = np.deg2rad([scene.light_azimuth, scene.light_elevation])
        direction = np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                np.sin(elevation),
                np.cos(azimuth) * np.cos(elevation),
            ]
        )
        half = direction + np.array([0.0, 0.0, 1.0])
        half /= np.linalg.norm(half)
        self.direction, self.half, self.up = (
            (vector @ rotation).astype(np.float32)
            for vector in (direction, half, np.array([0.0, 1.0, 0.0]))
        )
        warmth = np.array(
            [1 + 0.12 * scene.light_warmth, 1.0, 1 - 0.16 * scene.light_warmth], np.float32
        )
        self.ambient = np.float32(1.05 * scene.ambient_share) * (2 - warmth)
        self.diffuse = np.float32(1.35 * (1 - scene.ambient_share)) * warmth

    def shade(
        self,
        albedo: Float32[np.ndarray, "3 h w"],
        normal: Float32[np.ndarray, "3 h w"],
        gloss: Float32[np.ndarray, "h w"] | float,
        wrap: tuple[float, float, float] = _WRAP,
    ) -> Float32[np.ndarray, "3 h w"]:
        """Lit colours: Lambert with wrap, a sky brighter above than below, a broad highlight. Overwrites `albedo`."""
        facing = dot(self.direction, normal)
        sky = dot(self.up, normal)
        sky *= 0.22
        sky += 0.85
        shine = dot(self.half, normal)
        np.maximum(shine, 0.0, out=shine)
        for _ in range(4):  # Blinn's exponent 16
            shine *= shine
        shine *= gloss
        for channel in range(3):
            lit = facing + np.float32(wrap[channel])
            np.maximum(lit, 0.0, out=lit)
            lit *= self.diffuse[channel] / np.float32(1 + wrap[channel])
            lit += self.ambient[channel] * sky
            albedo[channel] *= lit
            albedo[channel] += shine * self.diffuse[channel]
        return albedo


def background(scene: Scene, size: int) -> Float32[np.ndarray, "3 s s"]:
    """The picture behind the puppet: plain, stripes, checks or discs of two related colours, fading downwards."""
    hue = 2 * np.pi * (scene.background_hue + np.array([0.0, 1 / 3, 2 / 3]))
    base = np.float32(scene.background_value) * (1 + 0.28 * np.cos(hue)).astype(np.float32)
    first, second = np.square(base), np.square(base * np.float32(0.78))
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1  # -1..1 across the picture
    x, y = axis[None, :], axis[:, None]
    soft = np.float32(size / 10)  # edges about one pixel wide
    kind = min(int(scene.background_pattern * 4), 3)
    phase = np.float32(scene.background_pattern * 4 - kind)
    if kind == 0:
        share = np.zeros((size, size), np.float32)
    elif kind == 1:
        share = _edge(
            wave((x * np.cos(phase * 3) + y * np.sin(phase * 3)) * np.float32(9 / (2 * np.pi))),
            soft,
        )
    elif kind == 2:
        turns = np.float32(8 / (2 * np.pi))
        share = _edge(wave((x + phase) * turns) * wave((y + phase) * turns), soft)
    else:
        cell_x, cell_y = (
            ((axis * 2 + phase) % 1 - 0.5)[None, :],
            ((axis * 2 + 2 * phase) % 1 - 0.5)[:, None],
        )
        share = _edge(0.1 - cell_x * cell_x - cell_y * cell_y, soft)
    share = share.astype(np.float32) * (1 - 0.25 * y) + np.float32(0.2) * (y + 1) * np.abs(x)
    return first[:, None, None] + share * (second - first)[:, None, None]


def _edge(field: np.ndarray, sharpness: float) -> np.ndarray:
    """0 where the field is negative, 1 where it is positive, with a soft edge."""
    return np.clip(field * sharpness + 0.5, 0.0, 1.0)
