"""The body of a puppet: which ellipsoids make its head, hair and torso, and the curves of its features.

Everything lives in the head's frame: origin midway between the eyes and between the ears, x to the right of the
image, y up, z out of the face, unit 10 cm. The features are curves over the frontal plane (x, y), carried by the
surface; the renderer paints them and the landmarks sample them, so both agree exactly. Average proportions follow
common adult anthropometry (head 15 cm wide, 20 cm deep, 23 cm high).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from data_pipelines.puppets.camera import Points, Pose
from data_pipelines.puppets.parameters import DEGREES, Performance, Persona
from data_pipelines.puppets.surface import Ellipsoid, Surface, falloff, smoothstep

PIVOT = np.array([0.0, -0.45, -0.2])  # the head turns about the top of the neck
FRAMING = np.array([0.0, 0.11, 0.0])  # moves the head's middle to the middle of the image


@dataclasses.dataclass(frozen=True)
class Eye:
    """One eye: lid curves over the frontal plane and the ball behind them. `side` is -1 at the left of the image."""

    side: int
    x: float
    y: float
    half_width: float
    rise_upper: float  # height of the lid curves above the eye's axis, in the middle
    rise_lower: float
    tilt: float
    openness: float
    size: float  # x the average
    radius: float  # of the ball

    def across(self, x: np.ndarray) -> np.ndarray:
        """Position along the eye's axis: -1 at the outer corner, 1 at the inner one."""
        return (self.x - x) * (self.side / self.half_width)

    def axis(self, s: np.ndarray) -> np.ndarray:
        """Height of the line through both corners."""
        return self.y - (self.tilt * self.half_width) * s

    def upper(self, s: np.ndarray) -> np.ndarray:
        """Height of the upper lid's edge at position s; highest a little towards the nose."""
        return self.axis(s) + self.rise_upper * _lid(s, 0.12)

    def lower(self, s: np.ndarray) -> np.ndarray:
        """Height of the lower lid's edge at position s; lowest a little away from the nose."""
        return self.axis(s) + self.rise_lower * _lid(s, -0.12)

    def point(self, s: float, curve: str) -> tuple[float, float]:
        """Frontal position of one point of a lid curve: "upper" or "lower"."""
        height = getattr(self, curve)(np.float64(s))
        x = self.x - s * self.half_width * self.side
        return x, float(height)


def _lid(s: np.ndarray, skew: float) -> np.ndarray:
    """Profile of a lid, 0 at the corners and about 1 in the middle."""
    return (1.0 - s * s) * (1.0 + skew * s)


@dataclasses.dataclass(frozen=True)
class Brow:
    """One eyebrow: the centre line and half thickness of a tapered band."""

    side: int
    x_inner: float  # distance from the middle of the face
    x_outer: float
    y_inner: float
    y_outer: float
    arch: float
    half_thickness: float

    def along(self, x: np.ndarray) -> np.ndarray:
        """Position along the brow: 0 at the inner end, 1 at the outer one."""
        from_inner = x * self.side - self.x_inner
        return from_inner / (self.x_outer - self.x_inner)

    def centre(self, r: np.ndarray) -> np.ndarray:
        """Height of the centre line: a slope and an arch, highest at r = 0.55."""
        slope = self.y_inner + (self.y_outer - self.y_inner) * r
        hump = 1.0 - np.square(2.0 * r - 1.1) / 1.21
        return slope + self.arch * hump

    def point(self, r: float) -> tuple[float, float]:
        """Frontal position of one point of the centre line."""
        away = self.x_inner + r * (self.x_outer - self.x_inner)
        height = self.centre(np.float64(r))
        return self.side * away, float(height)


@dataclasses.dataclass(frozen=True)
class Mouth:
    """The lips: four curves over s = -1..1 from the left to the right corner of the image."""

    y: float
    half_width: float
    corner_y: float
    drop: float  # of the lower lip's inner edge
    lift: float  # of the upper lip's inner edge
    upper_fullness: float
    lower_fullness: float

    def across(self, x: np.ndarray) -> np.ndarray:
        """Position between the corners."""
        return x / self.half_width

    def _inner(self, s: np.ndarray, middle: float) -> np.ndarray:
        depth = middle - self.corner_y
        return self.corner_y + depth * (1.0 - s * s)

    def inner_upper(self, s: np.ndarray) -> np.ndarray:
        """Lower edge of the upper lip."""
        return self._inner(s, self.y + self.lift)

    def inner_lower(self, s: np.ndarray) -> np.ndarray:
        """Upper edge of the lower lip."""
        return self._inner(s, self.y - self.drop)

    def outer_upper(self, s: np.ndarray) -> np.ndarray:
        """Upper edge of the upper lip: a bow with a dip in the middle."""
        square = s * s
        dip = np.square(np.maximum(1.0 - 9.0 * square, 0.0))
        bow = (1.0 - square) * (1.0 + 0.55 * square)
        return self.inner_upper(s) + self.upper_fullness * (bow - 0.2 * dip)

    def outer_lower(self, s: np.ndarray) -> np.ndarray:
        """Lower edge of the lower lip."""
        square = s * s
        fullness = self.lower_fullness * (1.0 - square)
        return self.inner_lower(s) - fullness * (1.0 + 0.45 * square)

    def point(self, s: float, curve: str) -> tuple[float, float]:
        """Frontal position of one point of a lip curve, e.g. "outer_upper"."""
        height = getattr(self, curve)(np.float64(s))
        return s * self.half_width, float(height)


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """One puppet in one performance: surfaces and feature curves in the head's frame."""

    persona: Persona
    performance: Performance
    pose: Pose
    body_pose: Pose
    head: Surface
    body: Surface
    hair: Surface
    eyes: tuple[Eye, Eye]
    brows: tuple[Brow, Brow]
    mouth: Mouth
    nose_tip_y: float
    nose_half_width: float
    chin_y: float
    chin_z: float

    def on_face(self, frontal: Float[np.ndarray, "n 2"]) -> Points:
        """Surface points straight behind positions (x, y) of the frontal plane."""
        return self.head.cast_from(*frontal_rays(frontal))

    @functools.cached_property
    def ball_centres(self) -> Float[np.ndarray, "2 3"]:
        """Centres of the eyeballs: their fronts almost touch the lids."""
        frontal = np.array([(eye.x, eye.y) for eye in self.eyes])
        behind = [(0.0, 0.0, 0.97 * eye.radius) for eye in self.eyes]
        return self.on_face(frontal) - behind

    @property
    def irises(self) -> Float[np.ndarray, "2 3"]:
        """Centres of the pupils on the balls, the eye at the left of the image first."""
        radii = np.array([[eye.radius] for eye in self.eyes])
        return self.ball_centres + self.gaze() * radii

    def hair_edge(
        self, x: np.ndarray, z: np.ndarray, strands: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Height above which a point of the head at (x, z) bears hair; `strands` (-1..1) makes it uneven.

        A parting, whose place follows the height of the hair line, divides the fringe; beside the face the edge runs
        down to the sideburns, or to the ends of long hair.
        """
        persona = self.persona

        # The fringe above the forehead: two falling slopes from the parting, lower towards the temples.
        parting = 1.8 * (persona.hair_line - 0.64)
        away = x - parting
        middle = persona.hair_line * persona.head_height + 0.075
        line = middle + 0.008 * strands
        line -= 0.24 * np.sqrt(away * away + 0.003)
        line -= 0.3 * (x * x)

        # Long hair covers all behind the fringe.
        if persona.hair_length > 0:
            return -3.0 + smoothstep(0.08, 0.5, z) * (line + 3.0)

        # Cropped hair ends in sideburns before the ears, above the ears, and at the neck behind them.
        from_burn = (z - 0.06) * (1 / 0.09)
        sideburn = 0.16 * falloff(np.square(from_burn))
        above_ear = 0.46 * smoothstep(-0.6, -0.36, z)
        side = -0.38 + above_ear - sideburn
        return side + smoothstep(0.05, 0.4, z) * (line - side)

    def gaze(self) -> Float[np.ndarray, "3"]:
        """Unit direction of the gaze in the head's frame."""
        yaw = np.deg2rad(DEGREES["gaze_x"] * self.performance.gaze_x)
        pitch = np.deg2rad(DEGREES["gaze_y"] * self.performance.gaze_y)
        level = np.cos(pitch)
        return np.array(
            [
                np.sin(yaw) * level,
                np.sin(pitch),
                np.cos(yaw) * level,
            ]
        )


def frontal_rays(
    frontal: Float[np.ndarray, "n 2"],
) -> tuple[Points, Points]:
    """Origins and directions of rays that meet the face straight behind positions of the frontal plane."""
    count = len(frontal)
    origins = np.column_stack([frontal, np.full(count, 2.0)])
    directions = np.tile([0.0, 0.0, -1.0], (count, 1))
    return origins, directions


def build(persona: Persona, performance: Performance) -> Anatomy:
    """The anatomy of a persona in a performance."""
    eyes = tuple(_eye(persona, performance, side) for side in (-1, 1))
    mouth = _mouth(persona, performance)
    # The head turns about its pivot; the body only follows the translation.
    translation = [performance.translate_x, performance.translate_y, 0.0]
    shift = np.array(translation) + FRAMING
    rotation = Pose.turn(performance.pitch, performance.yaw, performance.roll)
    return Anatomy(
        persona=persona,
        performance=performance,
        pose=Pose(rotation, shift + PIVOT - rotation @ PIVOT),
        body_pose=Pose(np.eye(3), shift),
        head=_head(persona, performance, eyes, mouth),
        body=_body(persona),
        hair=_hair(persona),
        eyes=eyes,
        brows=tuple(_brow(persona, performance, eye) for eye in eyes),
        mouth=mouth,
        nose_tip_y=_nose_tip_y(persona),
        nose_half_width=0.11 * persona.nose_width,
        chin_y=_chin_y(persona, performance),
        chin_z=_chin_z(performance),
    )


def _nose_tip_y(persona: Persona) -> float:
    return -0.43 * persona.nose_length * persona.head_height


def _chin_y(persona: Persona, performance: Performance) -> float:
    closed = -1.05 * persona.head_height - persona.chin_length
    return closed - 0.19 * performance.mouth_open


def _chin_z(performance: Performance) -> float:
    return 0.56 - 0.1 * performance.mouth_open


def _eye(persona: Persona, performance: Performance, side: int) -> Eye:
    openness = performance.lid_left if side < 0 else performance.lid_right
    size = persona.eye_size

    # The closed lids meet a little below the corners.
    closed = -0.022 * size
    # Open lids follow a vertical gaze; a smile pushes the lower one up.
    cheek_push = 0.018 * performance.happiness
    wide_upper = (0.095 + 0.014 * performance.gaze_y) * size
    wide_lower = (-0.062 + 0.006 * performance.gaze_y) * size + cheek_push
    return Eye(
        side=side,
        x=0.325 * side * persona.eye_spacing * persona.head_width,
        y=0.0,
        half_width=0.14 * size,
        rise_upper=closed + openness * (wide_upper - closed),
        rise_lower=closed + openness * (wide_lower - closed),
        tilt=persona.eye_tilt,
        openness=openness,
        size=size,
        radius=0.165 * size,
    )


def _brow(persona: Persona, performance: Performance, eye: Eye) -> Brow:
    frown = performance.brow_frown
    lift = 0.09 * performance.brow_raise
    above_eye = 0.19 + 0.06 * (persona.eye_size - 1.0)
    base = above_eye + persona.brow_height + lift
    spacing = persona.eye_spacing * persona.head_width
    # A frown draws the inner ends together and down; raised brows are more arched.
    return Brow(
        side=eye.side,
        x_inner=(0.13 - 0.045 * frown) * spacing,
        x_outer=0.54 * spacing,
        y_inner=base - 0.075 * frown + 0.02 * performance.brow_raise,
        y_outer=base - 0.03,
        arch=0.055 + 0.035 * performance.brow_raise - 0.02 * frown,
        half_thickness=0.032 * persona.brow_thickness,
    )


def _mouth(persona: Persona, performance: Performance) -> Mouth:
    opening = performance.mouth_open
    smile = performance.smile
    pucker = performance.pucker
    happy = performance.happiness

    # A long nose moves the mouth down, a smile lifts it a little.
    y = -0.735 * persona.head_height
    y -= 0.3 * (persona.nose_length - 1.0)
    y += 0.015 * happy

    # Smiles widen the mouth; pucker and opening make it narrower.
    width = 0.28 * persona.mouth_width
    width *= 1.0 + 0.12 * smile + 0.06 * happy
    width *= 1.0 - 0.3 * pucker
    width *= 1.0 - 0.05 * opening

    # Puckered lips are fuller; stretched ones thinner.
    fullness = persona.lip_fullness
    fullness *= 1.0 + 0.35 * pucker - 0.2 * happy
    fullness *= 1.0 - 0.15 * opening
    return Mouth(
        y=y,
        half_width=width,
        corner_y=y + 0.022 + 0.07 * smile - 0.085 * opening,
        drop=0.21 * opening * (1.0 - 0.35 * pucker),
        lift=0.02 * opening + 0.025 * happy * opening,
        upper_fullness=0.064 * fullness,
        lower_fullness=0.08 * fullness,
    )


def _head(
    persona: Persona,
    performance: Performance,
    eyes: tuple[Eye, Eye],
    mouth: Mouth,
) -> Surface:
    """Skull, face, jaw, nose and ears, with sockets, brow ridge, cheeks and lips as reliefs."""
    parts = _skull(persona, performance) + _nose(persona)
    for eye in eyes:
        parts += _side(persona, performance, eye)
    parts += _middle_reliefs(persona, performance, mouth)
    return Surface(parts)


def _skull(persona: Persona, performance: Performance) -> list[Ellipsoid]:
    """The big solids: cranium, face, jaw and chin, which the opening mouth moves down and back."""
    wide = persona.head_width
    high = persona.head_height
    jaw = wide * persona.jaw_width
    chin = persona.chin_length
    opening = performance.mouth_open
    beard = 0.05 * max(persona.beard - 0.4, 0.0)  # a full beard adds volume

    cranium = Ellipsoid(
        centre=(0, 0.3 * high, -0.12),
        radii=(0.73 * wide, 0.8 * high, 0.9),
        sharpness=7,
    )
    face = Ellipsoid(
        centre=(0, -0.22 * high, 0.27),
        radii=(0.64 * wide, 0.72 * high, 0.5),
        sharpness=7,
    )
    jaw_y = -0.64 * high - 0.2 * opening - 0.4 * chin
    jaw_height = 0.42 * high + 0.08 * opening + 0.3 * chin
    jawbone = Ellipsoid(
        centre=(0, jaw_y, 0.35 - 0.04 * opening),
        radii=(0.5 * jaw + beard, jaw_height + beard, 0.48 + beard),
        sharpness=6,
    )
    chin_width = 0.09 + 0.13 * jaw
    tip_of_chin = Ellipsoid(
        centre=(0, _chin_y(persona, performance), _chin_z(performance)),
        radii=(chin_width + beard, 0.15 + beard, 0.24 + beard),
        sharpness=1.5,
    )
    return [cranium, face, jawbone, tip_of_chin]


def _nose(persona: Persona) -> list[Ellipsoid]:
    """Bridge and tip."""
    tip = _nose_tip_y(persona)
    width = persona.nose_width
    bridge = Ellipsoid(
        centre=(0, 0.64 * tip, 0.74),
        radii=(0.07 + 0.02 * width, 0.06 - 0.6 * tip, 0.18),
        sharpness=2,
        tilt=(-28, 0, 0),
    )
    ball = Ellipsoid(
        centre=(0, tip, 0.94),
        radii=(0.08 * width, 0.08, 0.13),
        sharpness=1.3,
    )
    return [bridge, ball]


def _side(persona: Persona, performance: Performance, eye: Eye) -> list[Ellipsoid]:
    """What each half of a face has: wing of the nose, ear, eye socket, lids and cheek."""
    side = eye.side
    wide = persona.head_width
    nose = persona.nose_width
    happy = performance.happiness
    ear_x = 0.69 if persona.hair_length > 0 else 0.74  # long hair presses the ears to the head

    wing = Ellipsoid(
        centre=(0.088 * side * nose, _nose_tip_y(persona) - 0.03, 0.82),
        radii=(0.045 * nose, 0.048, 0.08),
        sharpness=1.3,
    )
    ear = Ellipsoid(
        centre=(ear_x * side * wide, -0.12, -0.14),
        radii=(0.075, 0.27, 0.17),
        sharpness=5,
        tilt=(8, -25 * side, -8 * side),
    )
    socket = Ellipsoid(
        centre=(eye.x * 0.8, 0.04, 0.8),
        radii=(0.24, 0.16, 0.3),
        height=-1.2,
    )
    lids = Ellipsoid(
        centre=(eye.x * 1.1, -0.005, 0.74),
        radii=(0.18, 0.12, 0.26),
        height=1.0,
    )
    # A smile lifts and rounds the cheek.
    cheek_y = -0.36 * persona.head_height + 0.06 * happy
    cheek = Ellipsoid(
        centre=(0.42 * side * wide, cheek_y, 0.62),
        radii=(0.24, 0.2, 0.28),
        height=0.75 * persona.cheek_fullness - 0.15 + 0.4 * happy,
    )
    return [wing, ear, socket, lids, cheek]


def _middle_reliefs(persona: Persona, performance: Performance, mouth: Mouth) -> list[Ellipsoid]:
    """Brow ridge, both lips, which a pucker pushes out, and the fold above the chin."""
    lower = mouth.y - mouth.drop
    push = 0.5 + 0.45 * performance.pucker + 0.25
    full = persona.lip_fullness
    width = 0.85 * mouth.half_width

    ridge = Ellipsoid(
        centre=(0, 0.21 + persona.brow_height, 0.8),
        radii=(0.5 * persona.head_width, 0.1, 0.3),
        height=0.4,
    )
    upper_lip = Ellipsoid(
        centre=(0, mouth.y + 0.035, 0.86),
        radii=(width, 0.075 * full, 0.3),
        height=push,
    )
    lower_lip = Ellipsoid(
        centre=(0, lower - 0.05, 0.83),
        radii=(0.85 * width, 0.07 * full, 0.3),
        height=push,
    )
    fold = Ellipsoid(
        centre=(0, lower - 0.17, 0.7),
        radii=(0.2, 0.06, 0.3),
        height=-0.3,
    )
    return [ridge, upper_lip, lower_lip, fold]


def _body(persona: Persona) -> Surface:
    """Neck and shoulders."""
    width = 0.45 * (0.5 + 0.5 * persona.jaw_width * persona.head_width)
    neck = Ellipsoid(
        centre=(0, -1.2, -0.28),
        radii=(width, 1.0, 0.42),
        sharpness=6,
    )
    chest = Ellipsoid(
        centre=(0, -2.5, -0.35),
        radii=(1.5, 0.8, 0.62),
        sharpness=4,
    )
    neck_to_shoulders = Ellipsoid(
        centre=(0, -1.72, -0.35),
        radii=(0.8, 0.32, 0.4),
        sharpness=3,
    )
    return Surface([neck, chest, neck_to_shoulders])


def _hair(persona: Persona) -> Surface:
    """A shell around the skull; long hair adds a curtain behind and beside the face. The painter cuts the hair line."""
    volume = persona.hair_volume
    length = persona.hair_length
    wide = persona.head_width
    high = persona.head_height

    # Short hair stands up rather than out.
    beside = volume * (0.4 + 0.6 * min(1.0, 3.0 * length))
    shell = Ellipsoid(
        centre=(0, 0.3 * high + 0.1 * volume, -0.14 - 0.5 * volume),
        radii=(
            0.74 * wide + 0.03 + beside,
            0.82 * high + 0.03 + volume,
            0.93 + 0.5 * volume,
        ),
        sharpness=9,
    )
    if length == 0:
        return Surface([shell])

    reach = 0.25 + 0.75 * length
    back = Ellipsoid(
        centre=(0, 0.1 - 0.5 * reach, -0.48),
        radii=(0.74 * wide + volume, 0.5 + 0.6 * reach, 0.4),
        sharpness=6,
    )
    parts = [shell, back]
    for side in (-1, 1):
        curtain = Ellipsoid(
            centre=(0.66 * side * wide, 0.15 - 0.5 * reach, -0.14),
            radii=(0.17 + volume, 0.35 + 0.55 * reach, 0.36),
            sharpness=4,
        )
        parts.append(curtain)
    return Surface(parts)
