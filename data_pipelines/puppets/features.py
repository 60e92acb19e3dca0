"""Paints the features of a face - eyes, brows, nose, mouth, beard, freckles - over the surface of a head.

All features are functions of the surface point in the head's frame, so they turn with the head.
Samples are float32, and stay so: a Python number takes the type of the array that it meets.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from data_pipelines.puppets.anatomy import Anatomy, Brow, Eye
from data_pipelines.puppets.camera import Camera, Field, Points, VectorField, Window, box_corners
from data_pipelines.puppets.shading import Palette, linear
from data_pipelines.puppets.surface import (
    bell,
    dot,
    falloff,
    planar,
    saturate,
    smoothstep,
    wave,
)
from faceswap_jax.faces.ibug import (
    BROWS,
    LEFT_BROW,
    LEFT_EYE,
    MOUTH,
    NOSE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
)

# Colours that all puppets share.
_SCLERA = linear((236, 230, 226))
_PUPIL = linear((12, 10, 12))
_LASH = linear((26, 18, 18))
_CAVITY = linear((48, 14, 16))
_TEETH = linear((246, 240, 228))
_TONGUE = linear((160, 62, 66))
_CARUNCLE = linear((206, 128, 118))
_IRIS_RADIUS = 0.47  # chord on the unit ball
_GLINT = np.array([-0.18, 0.2, 0.96])  # direction in the world of what the cornea mirrors

# The grain of a beard.
_STUBBLE = np.random.default_rng(5).uniform(
    low=-1.0,
    high=1.0,
    size=(128, 128),
)
_STUBBLE = _STUBBLE.astype(np.float32)
_STUBBLE_CELL = 0.008  # head units

# Where freckles sit: x, y and radius of each, head units.
_FRECKLES = np.random.default_rng(11).uniform(
    low=[-0.48, -0.6, 0.009],
    high=[0.48, 0.06, 0.02],
    size=(90, 3),
)
_FRECKLES = _FRECKLES.astype(np.float32)
# They are looked up in a square map, which is centred on x = 0 and begins at this y.
_FRECKLE_CELL = np.float32(0.004)  # head units
_FRECKLE_CELLS = 256
_FRECKLE_LEFT = np.float32(-0.512)
_FRECKLE_LOW = np.float32(-0.77)


@functools.cache
def _freckle_map() -> tuple[np.ndarray, np.ndarray]:
    """Number of the freckle at every place of the map [row, column] and its strength there."""
    x, y, radius = _FRECKLES.T
    axis = np.arange(_FRECKLE_CELLS).astype(np.float32) * _FRECKLE_CELL
    columns = axis[:, None] + _FRECKLE_LEFT
    rows = axis[:, None, None] + _FRECKLE_LOW
    away = np.square(columns - x) + np.square(rows - y)  # [row, column, freckle]
    falling = np.float32(1.5) / np.square(radius)
    strength = saturate(1.5 - away * falling)
    return strength.argmax(-1), strength.max(-1)


class Canvas:
    """The material of the visible surface in a window: albedo, normal and gloss of every sample."""

    def __init__(
        self,
        anatomy: Anatomy,
        face: Float[np.ndarray, "68 3"],
        camera: Camera,
        window: Window,
        points: VectorField,
        normals: VectorField,
        palette: Palette,
    ):
        self.anatomy = anatomy
        self.face = face
        self.camera = camera
        self.window = window
        self.points = points
        self.normals = normals
        self.palette = palette
        self.albedo = _filled(palette.skin, points)
        self.gloss = np.full(points.shape[1:], palette.sheen, np.float32)

    def patch(self, corners: Points, reach: float) -> "Patch | None":
        """The part of the canvas around points of the head's frame, widened by `reach` head units."""
        # Pixels, and some more for what comes nearer to the camera.
        margin = reach / (self.camera.sample_spacing * 2) * 1.15
        corners = self.anatomy.pose.to_world(corners)
        box = self.camera.window(corners, margin).within(self.window)
        return None if box is None else Patch(self, box)

    def around(self, landmarks: Sequence[int], reach: float) -> "Patch | None":
        """The part of the canvas around some landmarks of the face."""
        return self.patch(self.face[landmarks], reach)


class Patch:
    """A rectangle of a canvas. The arrays are views: writing to them paints."""

    def __init__(self, canvas: Canvas, window: Window):
        rows, columns = window.slices(canvas.window)
        self.window = window
        self.points = canvas.points[:, rows, columns]
        self.x, self.y, self.z = self.points
        self.normals = canvas.normals[:, rows, columns]
        self.albedo = canvas.albedo[:, rows, columns]
        self.gloss = canvas.gloss[rows, columns]
        self.canvas = canvas
        self.edge = canvas.camera.edge_slope

    def rays(self) -> VectorField:
        """Directions of the rays per unit of depth, in the head's frame."""
        return self.canvas.camera.directions(self.canvas.anatomy.pose, self.window)

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Coverage of a sample that lies `distance` head units inside an edge (negative: outside)."""
        return saturate(distance * self.edge + 0.5)

    def paint(self, colour: np.ndarray, weight: np.ndarray) -> None:
        """Mixes a colour [3, 1, 1] or a field of colours [3, h, w] into the albedo."""
        for old, new in zip(self.albedo, colour, strict=True):
            change = new - old
            change *= weight
            old += change

    def darken(self, weight: np.ndarray) -> None:
        """Mixes in the colour of folds in the skin."""
        self.paint(self.canvas.palette.fold, weight)


def _filled(colour: np.ndarray, like: np.ndarray) -> VectorField:
    """A field of one colour, as large as another field."""
    field = np.empty_like(like)
    field[:] = colour
    return field


def _mix(field: np.ndarray, value: np.ndarray | float, weight: np.ndarray) -> None:
    """Mixes a value, a colour [3, 1, 1] or a field [3, h, w] into a field, in place."""
    field += (value - field) * weight


def paint_face(canvas: Canvas) -> None:
    """All features, from the skin outwards."""
    _complexion(canvas)
    _freckles(canvas)
    _shadows(canvas)
    _folds(canvas)
    _scalp(canvas)
    _beard(canvas)
    _nostrils(canvas)
    _mouth(canvas)
    for eye in canvas.anatomy.eyes:
        _eye(canvas, eye)
    for brow in canvas.anatomy.brows:
        _brow(canvas, brow)


def _bump(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Close to exp(-(x^2 + y^2))."""
    square = x * x
    square += y * y
    return falloff(square)


def _complexion(canvas: Canvas) -> None:
    """Rosy cheeks and nose, shaded eye sockets."""
    anatomy = canvas.anatomy
    happy = anatomy.performance.happiness
    patch = canvas.patch(canvas.face, 0.1)
    if patch is None:
        return
    x = patch.x
    y = patch.y
    away = np.abs(x)

    # Cheeks, rosier in a smile, and the tip of the nose.
    cheek_x = 0.42 * anatomy.persona.head_width
    from_cheek = away - cheek_x
    cheek = _bump(from_cheek / 0.2, (y + 0.42) / 0.2)
    cheek *= 0.35 + 0.25 * happy
    nose = _bump(x / 0.13, (y - anatomy.nose_tip_y) / 0.12)
    nose *= 0.35
    patch.paint(canvas.palette.blush, np.maximum(cheek, nose))

    # Eye sockets, both at once.
    eye = anatomy.eyes[1]
    from_socket = away - eye.x * 0.97
    socket_x = from_socket / (1.35 * eye.half_width)
    socket = _bump(socket_x, (y - 0.02) / 0.12)
    patch.darken(0.2 * socket)


def _freckles(canvas: Canvas) -> None:
    """The first of the freckles of a fixed map, as many as the persona has."""
    count = round(canvas.anatomy.persona.freckles * len(_FRECKLES))
    if not count:
        return
    freckled = [*RIGHT_EYE, *LEFT_EYE, *OUTER_LIPS]
    patch = canvas.around(freckled, 0.12)
    if patch is None:
        return

    def cells(distance: np.ndarray) -> np.ndarray:
        number = distance * (1 / _FRECKLE_CELL)
        return number.astype(np.int32).clip(0, _FRECKLE_CELLS - 1)

    row = cells(patch.y - _FRECKLE_LOW)
    column = cells(patch.x - _FRECKLE_LEFT)
    numbers, strengths = _freckle_map()
    there = numbers[row, column] < count
    weight = strengths[row, column] * (0.55 * there)
    patch.paint(canvas.palette.freckle, weight)


def _shadows(canvas: Canvas) -> None:
    """Where the light of the sky hardly reaches: beside and below the nose, and below the lower lip."""
    mouth = canvas.anatomy.mouth
    tip = canvas.anatomy.nose_tip_y
    wing = canvas.anatomy.nose_half_width

    patch = canvas.around(NOSE, 0.16)
    if patch is not None:
        x = patch.x
        y = patch.y
        below_y = y - tip + 0.155
        below = _bump(x / (1.25 * wing), below_y / 0.06)
        beside_x = np.abs(x) - 1.35 * wing
        beside_y = y - 0.65 * tip
        beside = _bump(beside_x / (0.5 * wing), beside_y / 0.2)
        patch.darken(np.maximum(0.5 * below, 0.2 * beside))

    under_lip = OUTER_LIPS[9]
    patch = canvas.around([under_lip], 1.1 * mouth.half_width)
    if patch is not None:
        _, edge = mouth.point(0.0, "outer_lower")
        shadow_x = patch.x / (0.62 * mouth.half_width)
        shadow = _bump(shadow_x, (patch.y - edge + 0.045) / 0.042)
        patch.darken(0.42 * shadow)


def _scalp(canvas: Canvas) -> None:
    """Roots below the edge of the hair, which also keeps light away: no hard line between hair and skin."""
    # Only rows that show something above the cheeks.
    high = (canvas.points[1] > -0.1).any(axis=1)
    rows = np.flatnonzero(high).tolist()
    if not rows:
        return
    top = canvas.window.top
    window = canvas.window._replace(
        top=top + rows[0],
        bottom=top + rows[-1] + 1,
    )
    patch = Patch(canvas, window)

    # From nothing 0.08 units below the edge to full cover 0.02 units above it.
    x, y, z = patch.points
    above = y - canvas.anatomy.hair_edge(x, z)
    cover = saturate(above * (1 / 0.1) + 0.8)
    cover *= cover
    cover *= smoothstep(-0.1, 0.15, y)
    patch.paint(canvas.palette.hair * 0.6, 0.8 * cover)


def _folds(canvas: Canvas) -> None:
    """Lines that the performance draws: beside the mouth, between the brows and on the forehead."""
    act = canvas.anatomy.performance
    for side in (-1, 1):
        _smile_line(canvas, side)
    if act.brow_frown > 0:
        _frown_lines(canvas)
    if act.brow_raise > 0:
        _forehead_lines(canvas)


def _smile_line(canvas: Canvas, side: int) -> None:
    """From the wing of the nose to the corner of the mouth, deeper in a smile."""
    anatomy = canvas.anatomy
    mouth = anatomy.mouth
    left = [NOSE[4], OUTER_LIPS[0]]
    right = [NOSE[8], OUTER_LIPS[6]]
    patch = canvas.around(left if side < 0 else right, 0.14)
    if patch is None:
        return

    # Position along the line, 0 at the nose and 1 at the mouth, and how far from the middle it is there.
    top = anatomy.nose_tip_y + 0.02
    along = (top - patch.y) * (1.0 / (top - mouth.corner_y))
    inner = 1.12 * anatomy.nose_half_width
    outer = mouth.half_width + 0.07
    curve = 1.35 - 0.35 * along
    line = inner + (outer - inner) * along * curve

    from_line = side * patch.x - line
    weight = _bump(from_line / 0.028, (along - 0.5) / 0.52)
    smile = anatomy.performance.happiness
    patch.darken((0.16 + 0.4 * smile) * weight)


def _frown_lines(canvas: Canvas) -> None:
    """Two upright lines between the brows."""
    between = [RIGHT_BROW[4], LEFT_BROW[0], NOSE[0]]
    patch = canvas.around(between, 0.08)
    if patch is not None:
        from_line = np.abs(patch.x) - 0.045
        weight = _bump(from_line / 0.014, (patch.y - 0.17) / 0.09)
        frown = canvas.anatomy.performance.brow_frown
        patch.darken((0.75 * frown) * weight)


def _forehead_lines(canvas: Canvas) -> None:
    """Level wrinkles above raised brows, 0.085 units apart, that sink towards the temples."""
    patch = canvas.around(BROWS, 0.32)
    if patch is not None:
        x = patch.x
        base = canvas.anatomy.brows[0].y_inner + 0.16
        height = patch.y - base + 0.12 * np.square(x)
        waves = wave(height * (0.5 / 0.085))
        lines = falloff(np.square(waves) * 14.0)
        weight = lines * _bump(x / 0.3, (height - 0.085) / 0.11)
        lift = canvas.anatomy.performance.brow_raise
        patch.darken((0.4 * lift) * weight)


def _beard(canvas: Canvas) -> None:
    """Stubble to full beard: cheeks and chin below a line, and a moustache."""
    anatomy = canvas.anatomy
    mouth = anatomy.mouth
    density = anatomy.persona.beard
    if density <= 0:
        return
    lowest = anatomy.chin_y - 0.2
    box = box_corners((-0.75, 0.75), (-0.1, lowest), (0.0, 0.9))
    patch = canvas.patch(box, 0.0)
    if patch is None:
        return
    x, y, z = patch.points
    away = np.abs(x)
    grain = _stubble(canvas, patch)

    # Cheeks and chin: below a line that rises from the corners of the mouth to the ears.
    rise = 0.72 * smoothstep(0.22, 0.72, away)
    line = mouth.corner_y - 0.02 + rise
    cover = smoothstep(-0.03, 0.1, line - y + 0.15 * grain)

    # The moustache fills the space between lip and nose, and thins out beyond the corners of the mouth.
    under_nose = anatomy.nose_tip_y - 0.165 - 0.25 * away - 0.04 * grain
    s = np.clip(mouth.across(x), -1.0, 1.0)
    above_lip = y - mouth.outer_upper(s)
    within = np.minimum(under_nose - y, above_lip + 0.04)
    moustache = smoothstep(-0.012, 0.03, within)
    corner = mouth.half_width
    moustache *= smoothstep(corner + 0.09, corner - 0.04, away)
    np.maximum(cover, moustache, out=cover)

    # It ends before the ears.
    before_ears = smoothstep(0.7, 0.64, away / anatomy.persona.head_width)
    cover *= smoothstep(-0.12, 0.02, z) * before_ears
    cover *= min(0.25 + density, 0.94) * (1.0 + grain)
    patch.paint(canvas.palette.beard, saturate(cover))
    patch.gloss *= 1.0 - 0.7 * cover


def _stubble(canvas: Canvas, patch: Patch) -> Field:
    """The grain of a beard, -0.3..0.3."""
    # The map repeats.
    scale = 1.0 / _STUBBLE_CELL
    x, y, z = patch.points
    along = y + 0.3 * z
    column = (x * scale).astype(np.int32) & 127
    row = (along * scale).astype(np.int32) & 127
    strength = 0.3 * canvas.camera.contrast(_STUBBLE_CELL)
    return _STUBBLE[row, column] * strength


def _nostrils(canvas: Canvas) -> None:
    """Dark ellipses, turned outwards, around the landmarks below the wings of the nose."""
    dark = canvas.palette.fold * 0.35
    half_width = 0.34 * canvas.anatomy.nose_half_width
    for side, landmark in ((-1, NOSE[5]), (1, NOSE[7])):
        point = canvas.face[landmark]
        patch = canvas.around([landmark], 0.09)
        if patch is not None:
            x, y, _ = point
            away = patch.x - x
            dy = patch.y - y - 0.012 + 0.12 * side * away
            hole = _bump(away / half_width, dy / 0.026)
            patch.paint(dark, np.clip(1.5 * hole - 0.35, 0.0, 0.9))


def _mouth(canvas: Canvas) -> None:
    """Lips, what shows between them, and the line where they meet."""
    mouth = canvas.anatomy.mouth
    patch = canvas.around(MOUTH, 0.05)
    if patch is None:
        return
    y = patch.y
    s = np.clip(mouth.across(patch.x), -1.3, 1.3)
    top = mouth.inner_upper(s)
    bottom = mouth.inner_lower(s)
    middle = (top + bottom) / 2

    # Lips: the upper one is darker, the lower one glossy.
    lips = patch.inside(mouth.outer_upper(s) - y)
    lips *= patch.inside(y - mouth.outer_lower(s))
    upper_lip = patch.inside(y - middle)
    colour = canvas.palette.lips * (1.0 - 0.22 * upper_lip)
    patch.paint(colour, lips * 0.9)
    patch.gloss += 0.16 * lips * (1.0 - upper_lip)

    if mouth.drop > 0.004:
        _open_mouth(canvas, patch, top, bottom)

    # The seam fades as the mouth opens; the corners stay.
    seam = bell((y - middle) / 0.013)
    closed = max(0.0, 1.0 - mouth.drop / 0.05)
    seam *= saturate(1.0 - np.square(s)) * closed
    from_corner = np.abs(s) - 1.0
    corner = _bump(from_corner / 0.09, (y - mouth.corner_y) / 0.016)
    line = np.maximum(0.75 * seam, 0.6 * corner)
    patch.paint(canvas.palette.fold * 0.5, line)


def _open_mouth(canvas: Canvas, patch: Patch, top: np.ndarray, bottom: np.ndarray) -> None:
    """Tongue and upper teeth in the dark between the inner edges of the lips (heights at every sample)."""
    mouth = canvas.anatomy.mouth
    cavity = patch.inside(top - patch.y)
    cavity *= patch.inside(patch.y - bottom)

    # Teeth and tongue lie 0.1 units behind the lips: follow each ray into the mouth before looking them up.
    ray = patch.rays()
    deeper = -0.1 / ray[2]
    x = patch.x + ray[0] * deeper
    y = patch.y + ray[1] * deeper
    inside = _filled(_CAVITY, patch.points)

    # Tongue, with a groove along its middle.
    middle = mouth.y - mouth.drop + 0.035
    tongue_x = x / (0.8 * mouth.half_width)
    tongue = _ellipse(tongue_x, (y - middle + 0.05) / 0.11)
    groove = 1.0 - 0.3 * bell(x * (1 / 0.02))
    _mix(inside, _TONGUE * groove, tongue)

    # Upper teeth, 0.075 units wide, in an arc, with darker gaps.
    tooth = x * (1 / 0.075)
    tooth -= np.rint(tooth)
    gap = 0.8 + 0.2 * saturate(np.abs(tooth) * 9.0)
    edge = 0.35 * np.square(x) + (mouth.y - 0.05)
    teeth = patch.inside(y - edge)
    _mix(inside, _TEETH, teeth * gap)

    # The corners and the part behind the upper lip are dark.
    aside = np.clip(x / (1.1 * mouth.half_width), -1.0, 1.0)
    shade = 1.0 - 0.7 * np.square(aside)
    below_lip = saturate((top - patch.y) / 0.035)
    shade *= 0.6 + 0.4 * below_lip

    # No highlight, and light as on a wall that faces the front.
    patch.paint(inside * shade, cavity)
    front = np.float32([0.0, 0.0, 1.0])
    _mix(patch.normals, planar(front), cavity)
    patch.gloss *= 1.0 - cavity


def _ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coverage of the unit disc, with a soft edge inside."""
    return saturate((1.0 - x * x - y * y) * 3.0)


def _eye(canvas: Canvas, eye: Eye) -> None:
    """Lids and their folds, lashes, and the ball between them."""
    size = eye.size
    landmarks = RIGHT_EYE if eye.side < 0 else LEFT_EYE
    patch = canvas.around(landmarks, 0.11 * size)
    if patch is None:
        return
    s = np.clip(eye.across(patch.x), -1.3, 1.3)
    below = eye.upper(s) - patch.y  # how far below the upper lid's edge
    above = patch.y - eye.lower(s)  # how far above the lower one's
    aperture = patch.inside(below) * patch.inside(above)
    within = saturate((1.05 - np.square(s)) * 4.0)
    fade = saturate((1.6 - np.square(s)) * 2.0)

    # Lid crease, deeper when the eye is open; it fades towards the corners.
    crease_height = (0.02 + 0.035 * eye.openness) * size
    crease_y = (below + crease_height) / (0.016 * size)
    crease = _bump(crease_y, s * 0.8)
    patch.darken((0.25 + 0.3 * eye.openness) * crease * fade)

    # Bag below the eye.
    bag = _bump((above + 0.05 * size) / (0.02 * size), s)
    patch.darken(0.16 * bag * fade)

    # The ball, with the caruncle in the inner corner.
    if eye.openness > 0:
        ball, normal = _eyeball(canvas, eye, patch, below)
        caruncle_y = (below - above) / (0.12 * size)
        caruncle = _ellipse((s - 1.0) / 0.24, caruncle_y)
        _mix(ball, _CARUNCLE, caruncle)
        patch.paint(ball, aperture)
        _mix(patch.normals, normal, aperture)
        _mix(patch.gloss, 0.25, aperture)

    # Lashes of the upper lid, thicker towards the outer corner, and the rim of the lower one.
    thickness = (0.012 + 0.006 * (1.0 - s)) * size
    from_lash = np.abs(below + 0.3 * thickness)
    lash = saturate(1.2 - from_lash / thickness) * within
    patch.paint(_LASH, 0.85 * lash)
    rim = bell((above + 0.004) / (0.009 * size)) * within
    patch.darken(0.65 * rim)


def _eyeball(
    canvas: Canvas,
    eye: Eye,
    patch: Patch,
    below: np.ndarray,
) -> tuple[VectorField, VectorField]:
    """Albedo and normal of the ball where each ray meets it; `below`: how far below the upper lid, head units."""
    # The nearer root of the ray's quadratic, from the skin on; the nearest point if it misses the ball.
    centre = canvas.anatomy.ball_centres[0 if eye.side < 0 else 1]
    ray = patch.rays()
    away = patch.points - planar(centre.astype(np.float32))
    a = dot(ray, ray)
    b = dot(ray, away)
    c = dot(away, away) - eye.radius**2
    discriminant = np.maximum(b * b - a * c, 0.0)
    step = (-b - np.sqrt(discriminant)) / a
    normal = (away + ray * step) * (1.0 / eye.radius)

    # Distance from the pupil's centre along the chord, in radii of the iris.
    gaze = canvas.anatomy.gaze().astype(np.float32)
    offset = normal - planar(gaze)
    radius = np.sqrt(dot(offset, offset)) * (1.0 / _IRIS_RADIUS)
    edge = eye.radius * _IRIS_RADIUS  # head units

    # White, iris with a dark ring around it, pupil.
    colour = _filled(_SCLERA, normal)
    iris = patch.inside((1.0 - radius) * edge)
    dark_ring = 0.75 * smoothstep(0.72, 1.0, radius)
    light_middle = 0.5 * np.clip(0.85 - radius, 0.0, 0.4)
    brightness = 1.0 - dark_ring + light_middle
    _mix(colour, canvas.palette.iris * brightness, iris)
    pupil = patch.inside((0.42 - radius) * edge)
    _mix(colour, _PUPIL, pupil)

    # The upper lid shades the ball.
    colour *= 0.5 + 0.5 * saturate(below / (0.06 * eye.size))

    # A window up to the left behind the camera is mirrored on the cornea.
    glint = canvas.anatomy.pose.turn_back(_GLINT)
    mirror = normal - planar(glint.astype(np.float32))
    window = saturate(1.6 - dot(mirror, mirror) / 0.012)
    _mix(colour, 2.2, window * iris)
    return colour, normal


def _brow(canvas: Canvas, brow: Brow) -> None:
    """A tapered band of slanted hairs, soft at its edges and ends."""
    landmarks = RIGHT_BROW if brow.side < 0 else LEFT_BROW
    patch = canvas.around(landmarks, brow.half_thickness + 0.03)
    if patch is None:
        return
    r = brow.along(patch.x)
    taper = 1.05 - 0.75 * np.square(saturate(r))
    half = brow.half_thickness * np.clip(taper, 0.05, 1.0)
    centre = brow.centre(np.clip(r, -0.2, 1.2))
    inside = half - np.abs(patch.y - centre)

    hairs = wave(patch.x * (15.1 * brow.side) - patch.y * 11.1)
    hairs *= 0.18 * canvas.camera.contrast(0.01)

    cover = saturate(inside / 0.016 + 0.35 + hairs)
    ends = smoothstep(-0.06, 0.1, r) * smoothstep(1.06, 0.9, r)
    cover *= ends
    patch.paint(canvas.palette.brow, 0.9 * cover)
    patch.gloss *= 1.0 - cover
