"""Who is seen (Persona), what it does (Performance) and where (Scene): units, ranges and deterministic sampling."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from faceswap_jax.errors import InputError


class Span(NamedTuple):
    """Legal range of one parameter. A fraction `absent` of all samples takes the value `low`: no beard, no glasses."""

    low: float
    high: float
    absent: float = 0.0

    def at(self, fraction: float) -> float:
        """The value at a fraction 0..1 of the way from low to high."""
        return self.low + fraction * (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class Persona:
    """Identity of one puppet: the 26 numbers that a perfect swap has to exchange. Units and ranges: PERSONA_SPANS."""

    skin_tone: float
    skin_warmth: float
    head_width: float
    head_height: float
    jaw_width: float
    chin_length: float
    cheek_fullness: float
    eye_spacing: float
    eye_size: float
    eye_tilt: float
    eye_colour: float
    brow_thickness: float
    brow_height: float
    brow_darkness: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip_fullness: float
    lip_redness: float
    hair_colour: float
    hair_line: float
    hair_volume: float
    hair_length: float
    beard: float
    freckles: float
    glasses: float


@dataclasses.dataclass(frozen=True)
class Performance:
    """What a puppet does in one frame: the 14 numbers that a swap has to keep. Units and ranges: PERFORMANCE_SPANS.

    Directions are those of the image: positive yaw turns the face to the right of the image, positive pitch up,
    positive roll clockwise; positive gaze looks to the right and up. `lid_left` is the eye at the left of the image.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    lid_left: float = 0.8
    lid_right: float = 0.8
    brow_raise: float = 0.0
    brow_frown: float = 0.0
    mouth_open: float = 0.0
    smile: float = 0.0
    pucker: float = 0.0
    translate_x: float = 0.0
    translate_y: float = 0.0

    @property
    def happiness(self) -> float:
        """The smile as far as it lifts the corners of the mouth, 0..1."""
        return max(self.smile, 0.0)


@dataclasses.dataclass(frozen=True)
class Scene:
    """Light, background and camera of one track. Units and ranges: SCENE_SPANS."""

    light_azimuth: float = 25.0
    light_elevation: float = 30.0
    light_warmth: float = 0.0
    ambient: float = 0.4
    background_pattern: float = 0.1
    background_hue: float = 0.55
    background_value: float = 0.5
    camera_scale: float = 1.0


# The one table of ranges. "x" is a factor on the average adult; a palette is a path through the colours in shading.py.
PERSONA_SPANS = {
    "skin_tone": Span(0.0, 1.0),  # palette, light to dark
    "skin_warmth": Span(-1.0, 1.0),  # undertone, rosy to olive
    "head_width": Span(0.88, 1.12),  # x
    "head_height": Span(0.92, 1.08),  # x
    "jaw_width": Span(0.78, 1.25),  # x
    "chin_length": Span(-0.08, 0.12),  # added length, head units (1 unit = 10 cm)
    "cheek_fullness": Span(0.0, 1.0),  # hollow to round
    "eye_spacing": Span(0.9, 1.12),  # x
    "eye_size": Span(0.85, 1.25),  # x
    "eye_tilt": Span(-0.12, 0.22),  # slope of the eye axis, positive: outer corner higher
    "eye_colour": Span(0.0, 1.0),  # palette, dark brown to grey
    "brow_thickness": Span(0.5, 1.7),  # x
    "brow_height": Span(-0.04, 0.06),  # head units above average
    "brow_darkness": Span(0.0, 1.0),  # from the hair's colour to black
    "nose_length": Span(0.85, 1.15),  # x
    "nose_width": Span(0.75, 1.4),  # x
    "mouth_width": Span(0.8, 1.2),  # x
    "lip_fullness": Span(0.55, 1.6),  # x
    "lip_redness": Span(0.0, 1.0),  # skin-coloured to red
    "hair_colour": Span(0.0, 1.0),  # palette, black to white
    "hair_line": Span(0.44, 0.84),  # height of the hair line above the eyes, head units
    "hair_volume": Span(0.02, 0.22),  # thickness of the hair, head units
    "hair_length": Span(0.0, 1.0, absent=0.4),  # cropped to shoulder length
    "beard": Span(0.0, 1.0, absent=0.55),  # density
    "freckles": Span(0.0, 1.0, absent=0.6),  # density
    # 0: none, else the frame from round and thin to square and heavy.
    "glasses": Span(0.0, 1.0, absent=0.65),
}
PERFORMANCE_SPANS = {
    "yaw": Span(-40.0, 40.0),  # degrees
    "pitch": Span(-25.0, 25.0),  # degrees
    "roll": Span(-20.0, 20.0),  # degrees
    "gaze_x": Span(-1.0, 1.0),  # 1 = 28 degrees relative to the head
    "gaze_y": Span(-1.0, 1.0),  # 1 = 20 degrees relative to the head
    "lid_left": Span(0.0, 1.0),  # closed to wide open
    "lid_right": Span(0.0, 1.0),
    "brow_raise": Span(-0.5, 1.0),  # 1 = 9 mm up
    "brow_frown": Span(0.0, 1.0),  # relaxed to drawn together
    "mouth_open": Span(0.0, 1.0),  # closed to 2.3 cm
    "smile": Span(-1.0, 1.0),  # corners down to up
    "pucker": Span(0.0, 1.0),  # relaxed to kissing
    "translate_x": Span(-0.2, 0.2),  # head units, right
    "translate_y": Span(-0.15, 0.15),  # head units, up
}
DEGREES = {"yaw": 1.0, "pitch": 1.0, "roll": 1.0, "gaze_x": 28.0, "gaze_y": 20.0}
"""Of one unit of the parameters that are angles."""

EXPRESSION = {
    "lids": ("lid_left", "lid_right"),
    "brows": ("brow_raise", "brow_frown"),
    "mouth": ("mouth_open", "smile", "pucker"),
}
"""Parameters of the performance whose errors are told together."""

ACTED = ("gaze_x", "gaze_y", *(name for names in EXPRESSION.values() for name in names))
"""Parameters of the performance that are neither pose nor place in the image."""

ACCESSORIES = (
    "skin_tone",
    "skin_warmth",
    "hair_colour",
    "hair_line",
    "hair_volume",
    "hair_length",
    "beard",
    "glasses",
)
"""Parameters of a persona that some systems keep when they exchange the face."""

SCENE_SPANS = {
    # Degrees from the camera, positive: light from the right of the image.
    "light_azimuth": Span(-65.0, 65.0),
    "light_elevation": Span(5.0, 55.0),  # degrees above the camera
    "light_warmth": Span(-1.0, 1.0),  # bluish to yellowish
    "ambient": Span(0.3, 0.6),  # fraction of the light that comes from everywhere
    "background_pattern": Span(0.0, 1.0),  # quarters: plain, stripes, checks, discs
    "background_hue": Span(0.0, 1.0),  # turns of the colour circle
    "background_value": Span(0.15, 0.85),  # brightness
    "camera_scale": Span(0.9, 1.08),  # x
}

# The personas 8k..8k+7 form a Latin hypercube: no parameter repeats within a group.
_STRATA = 8
# Separate random streams of one world.
_PERSONA_STREAM = 1
_SCENE_STREAM = 2
_STYLE_STREAM = 3
Parameters = TypeVar("Parameters", Persona, Performance, Scene)


def spans(kind: type[Parameters]) -> dict[str, Span]:
    """The table of ranges that belongs to a parameter class."""
    tables = {Persona: PERSONA_SPANS, Performance: PERFORMANCE_SPANS, Scene: SCENE_SPANS}
    return tables[kind]


def clip(parameters: Parameters) -> Parameters:
    """Every parameter moved into its legal range.

    Raises:
        InputError: one is not a finite number.
    """
    values = {}
    for name, span in spans(type(parameters)).items():
        value = float(getattr(parameters, name))
        if not np.isfinite(value):
            raise InputError(f"The puppet parameter {name} is {value}; give a finite number.")
        values[name] = min(max(value, span.low), span.high)
    return type(parameters)(**values)


def _from_fractions(kind: type[Parameters], fractions: np.ndarray) -> Parameters:
    """Parameters from one fraction in 0..1 per field."""
    values = []
    table = spans(kind).values()
    for span, fraction in zip(table, fractions.tolist(), strict=True):
        present = (fraction - span.absent) / (1.0 - span.absent)
        values.append(span.at(max(0.0, present)))
    return kind(*values)


def limits(table: Mapping[str, Span]) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Low and high ends of all ranges of a table."""
    low = np.array([span.low for span in table.values()])
    high = np.array([span.high for span in table.values()])
    return low, high


def check_index(**indices: int) -> None:
    """InputError unless every index (world seed, persona, track, frame) is a whole number >= 0."""
    for name, value in indices.items():
        if int(value) != value or value < 0:
            raise InputError(f"{name} is {value}; it must be a whole number of at least 0.")


def sample_persona(world_seed: int, persona: int) -> Persona:
    """Identity number `persona` of a world. Consecutive personas are spread over every range (Latin hypercube)."""
    check_index(world_seed=world_seed, persona=persona)
    group, member = divmod(int(persona), _STRATA)
    rng = np.random.default_rng([world_seed, _PERSONA_STREAM, group])

    # Each member of the group has a stratum of its own in every field, and a place in it.
    in_order = np.tile(np.arange(_STRATA), (len(PERSONA_SPANS), 1))  # [field, member]
    strata = rng.permuted(in_order, axis=1)
    fractions = (strata + rng.random(strata.shape)) / _STRATA
    return _from_fractions(Persona, fractions[:, member])


def sample_scene(world_seed: int, persona: int, track: int) -> Scene:
    """Light, background and camera of one track of one persona."""
    check_index(world_seed=world_seed, persona=persona, track=track)
    rng = np.random.default_rng([world_seed, _SCENE_STREAM, persona, track])
    fractions = rng.random(len(SCENE_SPANS))
    return _from_fractions(Scene, fractions)


def sample_stylist(world_seed: int, persona: int, track: int) -> int:
    """Number of the persona whose glasses, hair, beard and skin tone a persona has in a track where it is restyled."""
    check_index(world_seed=world_seed, persona=persona, track=track)
    rng = np.random.default_rng([world_seed, _STYLE_STREAM, persona, track])
    return int(rng.integers(2**20))


def acting(performance: Performance, other: Performance) -> Performance:
    """A performance with the gaze, lids, brows and mouth of another one."""
    return dataclasses.replace(performance, **{name: getattr(other, name) for name in ACTED})


def wearing(persona: Persona, other: Persona) -> Persona:
    """A persona with the glasses, hair, beard and skin tone of another one."""
    return dataclasses.replace(persona, **{name: getattr(other, name) for name in ACCESSORIES})
