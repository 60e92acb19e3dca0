"""Colours and light. Colours are linear RGB, float32 [3, 1, 1]; images are encoded with gamma 2, close to sRGB."""

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.puppets.camera import Field, VectorField
from data_pipelines.puppets.parameters import Persona, Scene
from data_pipelines.puppets.surface import dot, planar, saturate, wave

Colour = Float32[np.ndarray, "3 1 1"]

# Palettes, 8-bit sRGB: paths through colour space that a persona's parameters run along from 0 to 1.
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
_SHIRT = [
    (58, 72, 110),
    (120, 40, 48),
    (70, 96, 76),
    (190, 186, 176),
    (44, 44, 48),
    (146, 116, 82),
]
_WRAP = (0.32, 0.16, 0.1)  # light that bleeds past the terminator through the skin, per channel


def rgb(red: float, green: float, blue: float) -> Colour:
    """A linear colour, or a factor on each channel of one."""
    return planar(np.float32([red, green, blue]))


def linear(srgb: tuple[int, int, int]) -> Colour:
    """Linear colour of an 8-bit one."""
    return np.square(rgb(*srgb) / 255)


def encode(colour: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit image of linear colours."""
    coded = np.sqrt(saturate(colour))
    coded *= 255
    coded += 0.5
    return coded.astype(np.uint8)


def _along(palette: list[tuple[int, int, int]], fraction: float) -> Colour:
    """Colour at a fraction 0..1 of the way through a palette."""
    position = fraction * (len(palette) - 1)
    index = min(int(position), len(palette) - 2)
    first = linear(palette[index])
    second = linear(palette[index + 1])
    return first + (position - index) * (second - first)


class Palette:
    """The colours of one persona, in the shirt of a dresser."""

    def __init__(self, persona: Persona, dresser: Persona):
        tone = persona.skin_tone

        # Skin: the palette's colour with a rosy to olive undertone.
        undertone = 1 + persona.skin_warmth * np.array([-0.05, 0.06, -0.08])
        self.skin = _along(_SKIN, tone) * rgb(*undertone)
        self.blush = self.skin * rgb(1.05, 0.72, 0.7)
        self.fold = self.skin * rgb(0.42, 0.3, 0.27)
        self.freckle = self.skin * rgb(0.62, 0.42, 0.32)
        # Gloss, more on dark skin: there it shows the form.
        self.sheen = np.float32(0.06 + 0.07 * tone)

        # Lips: from the skin's own red, lighter on dark skin, to lipstick.
        red = linear((176, 58, 64)) * (1.0 - 0.55 * tone)
        natural = self.skin * rgb(0.85, 0.5, 0.48)
        natural += (0.4 * tone) * linear((150, 78, 80))
        redness = 0.2 + 0.8 * persona.lip_redness
        self.lips = natural + redness * (red - natural)

        # Hair, beard and brows, which are never so light that a face loses them.
        self.hair = _along(_HAIR, persona.hair_colour)
        self.beard = self.hair * 0.8
        dark_hair = self.hair * (0.75 - 0.6 * persona.brow_darkness)
        self.brow = np.minimum(dark_hair, self.skin * 0.45)

        self.iris = _along(_IRIS, persona.eye_colour)

        # No parameters of their own: the shirt varies with hair line and eyes, the frame with the style.
        shirt = (dresser.hair_line * 7.3 + dresser.eye_colour * 3.1) % 1.0
        self.shirt = _along(_SHIRT, shirt)
        if persona.glasses < 0.6:
            self.frame = linear((28, 26, 30))  # black
        else:
            self.frame = linear((92, 52, 30))  # tortoise


class Light:
    """The light of a scene as seen from one body's frame."""

    def __init__(self, scene: Scene, rotation: Float[np.ndarray, "3 3"]):
        azimuth = np.deg2rad(scene.light_azimuth)
        elevation = np.deg2rad(scene.light_elevation)
        level = np.cos(elevation)
        direction = np.array(
            [
                np.sin(azimuth) * level,
                np.sin(elevation),
                np.cos(azimuth) * level,
            ]
        )
        # Blinn's half vector, between the light and the camera, which is far away along z.
        half = direction + np.array([0.0, 0.0, 1.0])
        half /= np.linalg.norm(half)
        up = np.array([0.0, 1.0, 0.0])

        # World vectors in the body's frame.
        self.direction = (direction @ rotation).astype(np.float32)
        self.half = (half @ rotation).astype(np.float32)
        self.up = (up @ rotation).astype(np.float32)

        # A yellowish lamp goes with a bluish sky.
        warm = scene.light_warmth
        warmth = np.float32([1 + 0.12 * warm, 1.0, 1 - 0.16 * warm])
        self.ambient = (1.05 * scene.ambient) * (2 - warmth)
        self.diffuse = (1.35 * (1 - scene.ambient)) * warmth

    def shade(
        self,
        albedo: VectorField,
        normal: VectorField,
        gloss: Field | float,
        wrap: tuple[float, float, float] = _WRAP,
    ) -> VectorField:
        """Lit colours: Lambert with wrap, a sky brighter above than below, a broad highlight. Overwrites `albedo`."""
        facing = dot(self.direction, normal)

        # The sky: 0.63 of its light from below, 1.07 from above.
        sky = dot(self.up, normal)
        sky *= 0.22
        sky += 0.85

        # Blinn's highlight with the exponent 2^4.
        shine = dot(self.half, normal)
        np.maximum(shine, 0.0, out=shine)
        for _ in range(4):
            shine *= shine
        shine *= gloss

        for channel in range(3):
            bleeding = wrap[channel]
            lamp = self.diffuse[channel]
            lit = facing + bleeding
            np.maximum(lit, 0.0, out=lit)
            lit *= lamp / (1 + bleeding)
            lit += self.ambient[channel] * sky
            albedo[channel] *= lit
            albedo[channel] += shine * lamp
        return albedo


def background(scene: Scene, size: int) -> Float32[np.ndarray, "3 s s"]:
    """What is behind the puppet: plain, stripes, checks or discs of two related colours, fading downwards."""
    # Two colours of one hue, the second darker.
    turns = scene.background_hue + np.array([0.0, 1 / 3, 2 / 3])
    tint = 1 + 0.28 * np.cos(2 * np.pi * turns)
    base = scene.background_value * planar(tint.astype(np.float32))
    first = np.square(base)
    second = np.square(base * 0.78)

    # -1..1 across the image
    pixels = np.arange(size, dtype=np.float32)
    axis = (pixels + 0.5) / size * 2 - 1
    x = axis[None, :]
    y = axis[:, None]

    quarters = scene.background_pattern * 4
    kind = min(int(quarters), 3)
    phase = np.float32(quarters - kind)
    pattern = _pattern(kind, phase, x, y)

    # The pattern is fainter towards the bottom, where the corners darken.
    fraction = pattern * (1 - 0.25 * y)
    fraction += 0.2 * (y + 1) * np.abs(x)
    return first + fraction * (second - first)


def _pattern(
    kind: int,
    phase: np.float32,
    x: Float32[np.ndarray, "1 s"],
    y: Float32[np.ndarray, "s 1"],
) -> Float32[np.ndarray, "s s"]:
    """Fraction of the second colour. Kinds: 0 plain, 1 stripes, 2 checks, 3 discs, moved by a phase 0..1."""
    size = x.size
    if kind == 0:
        return np.zeros((size, size), np.float32)

    if kind == 1:
        # Stripes at an angle of up to 3 radians, 9 / (2 pi) of them a unit.
        angle = phase * 3
        along = x * np.cos(angle) + y * np.sin(angle)
        field = wave(along * (9 / (2 * np.pi)))
    elif kind == 2:
        turns = np.float32(8 / (2 * np.pi))
        columns = wave((x + phase) * turns)
        rows = wave((y + phase) * turns)
        field = columns * rows
    else:
        # Four by four cells, a disc in the middle of each.
        cell_x = (x * 2 + phase) % 1 - 0.5
        cell_y = (y * 2 + 2 * phase) % 1 - 0.5
        field = 0.1 - cell_x * cell_x - cell_y * cell_y

    # Edges about one pixel wide.
    soft = np.float32(size / 10)
    return saturate(field * soft + 0.5)
