"""What surrounds the face: neck and shirt, hair and glasses."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipelines.puppets.anatomy import Anatomy
from data_pipelines.puppets.camera import Camera, Field, Points, VectorField, box_corners
from data_pipelines.puppets.shading import Palette
from data_pipelines.puppets.surface import bell, dot, planar, saturate, smoothstep, wave


def paint_body(points: VectorField, palette: Palette) -> tuple[VectorField, Field]:
    """Albedo and gloss of neck and shirt; the neck is darker below the chin, which keeps the light away."""
    x, y, _ = points

    # How far below the edge of the collar, which rises towards the shoulders.
    below = np.clip(np.abs(x), 0.0, 0.8)
    below *= 0.35
    below -= y
    below -= 1.5
    shirt = saturate(below * 60.0)

    # Neck
    shadow = smoothstep(-1.05, -1.65, y)
    shadow *= 0.62
    shadow += 0.38
    albedo = palette.skin * shadow

    # Shirt, darker at the collar's edge and along a seam 0.13 units below it
    cloth = bell((below - 0.13) * (1 / 0.016))
    cloth *= -0.4
    near_edge = saturate(1.0 - below * (1 / 0.05))
    cloth += 1.0 - 0.35 * near_edge
    albedo += (palette.shirt * cloth - albedo) * shirt
    return albedo, 0.06 * (1.0 - shirt)


def paint_hair(
    points: VectorField,
    normals: VectorField,
    anatomy: Anatomy,
    palette: Palette,
    camera: Camera,
) -> tuple[VectorField, Field, Bool[np.ndarray, "h w"]]:
    """Albedo, gloss and presence of hair. Tilts the normals along the strands (in place)."""
    x, y, z = points

    # Strands fall from the crown along meridians of the head. The finest serve the colour alone.
    around = x / np.sqrt(x * x + z * z + 0.02)
    strands = wave(around * 4.3 + y * 0.6)
    strands += wave(around * 10.7 - y)
    there = y > anatomy.hair_edge(x, z, strands)
    strands += wave(around * 23.9 + y * 0.8)
    strands *= 0.33 * np.float32(camera.contrast(0.02))

    # A band of light lies around the crown; roots and ends are darker.
    height = y - 0.62 * anatomy.persona.head_height
    height += 0.06 * strands
    band = bell(height * (1 / 0.22))
    tint = 0.4 * strands
    tint += 0.3 * band
    tint += 0.9
    albedo = palette.hair * tint

    normals[0] += 0.2 * strands
    gloss = band * (0.16 + 0.12 * strands)
    gloss += 0.04
    return albedo, gloss, there


class Glasses:
    """Frame, lenses and temples, laid over the finished sample grid and hidden by whatever is nearer."""

    def __init__(self, anatomy: Anatomy, camera: Camera, palette: Palette):
        self.anatomy = anatomy
        self.camera = camera
        self.colour = palette.frame
        self.edge = camera.edge_slope

        # From round and thin to square and heavy.
        style = anatomy.persona.glasses
        eye = anatomy.eyes[1]
        self.rim = 0.016 + 0.022 * style  # half thickness
        self.squareness = style
        self.lens_x = eye.x
        self.half_width = 0.25 * eye.size
        self.half_height = 0.2
        # The plane z of the lenses, before the eyeballs.
        self.front = float(anatomy.ball_centres[1, 2]) + eye.radius + 0.17

    def paint(
        self, colour: Float32[np.ndarray, "3 g g"], depth: Float32[np.ndarray, "g g"]
    ) -> None:
        """Draws the glasses, if the persona wears any, into the colours (in place)."""
        if self.anatomy.persona.glasses <= 0:
            return
        outer = self.lens_x + self.half_width
        corners = box_corners((-outer, outer), (-0.25, 0.25), (self.front,))
        ahead = np.array([0.0, 0.0, 1.0])
        self._plane(colour, depth, corners, ahead, self._front)

        head_width = self.anatomy.persona.head_width
        for side in (-1, 1):
            hinge = np.array([side * outer, 0.06, self.front])
            ear = np.array([side * 0.76 * head_width, 0.06, -0.1])
            outwards = np.cross(ear - hinge, [0.0, 1.0, 0.0])
            corners = np.stack([hinge, ear])
            self._plane(colour, depth, corners, outwards, self._temple)

    def _plane(
        self,
        colour: Float32[np.ndarray, "3 g g"],
        depth: Float32[np.ndarray, "g g"],
        corners: Points,
        normal: Float[np.ndarray, "3"],
        cover: Callable[[np.ndarray], tuple],
    ) -> None:
        """Paints a part that lies in the plane through `corners`; `cover` gives frame and glare at its points."""
        pose = self.anatomy.pose
        around = self.camera.window(pose.to_world(corners), margin=3.0)
        window = around.within(self.camera.whole())
        if window is None:
            return
        rows, columns = window.slices()

        # Where each ray meets the plane; far away if it is nearly parallel.
        ray = self.camera.directions(pose, window)
        eye = self.camera.eye(pose)
        slant = dot(normal.astype(np.float32), ray)
        slant[np.abs(slant) < 1e-6] = 1e-6
        to_plane = normal @ (corners[0] - eye)
        distance = np.float32(to_plane) / slant
        points = planar(eye.astype(np.float32)) + ray * distance

        frame, glare = cover(points)
        ahead = distance < depth[rows, columns]
        view = colour[:, rows, columns]
        view += (0.6 - view) * (glare * ahead)
        view += (self.colour - view) * (frame * ahead)

    def _front(self, points: VectorField) -> tuple:
        """Rims, bridge and lenses."""
        x, y, _ = points
        away = np.abs(x)
        across = np.square((away - self.lens_x) * (1 / self.half_width))
        along = np.square((y + 0.03) * (1 / self.half_height))

        # Between the norm of a circle and that of a square with round corners.
        radius = np.sqrt(across + along)
        fourth_powers = across * across + along * along
        square = np.sqrt(np.sqrt(fourth_powers))
        radius += self.squareness * (square - radius)
        outside = (radius - 1.0) * min(self.half_width, self.half_height)
        rims = self._bar(outside, self.rim)

        # The bridge, an arch between the lenses.
        above_arch = y - 0.03 + 2.0 * x * x
        bridge = self._bar(above_arch, self.rim * 0.8)
        bridge *= away < self.lens_x - self.half_width

        # Glare, most at the top, towards the nose.
        lens = saturate(-outside * self.edge)
        towards_nose = 1.0 + 2.0 * (y - 0.5 * away)
        glare = 0.07 * lens * np.clip(towards_nose, 0.0, 1.5)
        return np.maximum(rims, bridge), glare

    def _temple(self, points: VectorField) -> tuple:
        """The bar from hinge to ear."""
        _, y, z = points
        bar = self._bar(y - 0.06, self.rim)
        bar *= (z > -0.1) & (z < self.front)
        return bar, np.float32(0.0)

    def _bar(self, distance: np.ndarray, half_thickness: float) -> np.ndarray:
        """Coverage of a bar at some distance from its middle line."""
        inside = half_thickness - np.abs(distance)
        return saturate(inside * self.edge + 0.5)
