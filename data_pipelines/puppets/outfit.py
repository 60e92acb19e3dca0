"""What surrounds the face: neck and shirt, hair and glasses."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipelines.puppets.anatomy import Anatomy
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.shading import Palette, smoothstep
from data_pipelines.puppets.surface import dot


def paint_body(
    points: Float32[np.ndarray, "3 h w"], palette: Palette
) -> tuple[Float32[np.ndarray, "3 h w"], Float32[np.ndarray, "h w"]]:
    """Albedo and gloss of neck and shirt; the neck is darker below the chin, which keeps the light away."""
    x, y, _ = points
    shirt = np.clip((-1.5 + 0.35 * np.minimum(np.abs(x), 0.8) - y) * 60.0, 0.0, 1.0)
    shadow = 0.45 + 0.55 * smoothstep(-1.1, -1.6, y)
    albedo = palette.skin[:, None, None] * shadow
    albedo += (palette.shirt[:, None, None] - albedo) * shirt
    return albedo, 0.06 * (1.0 - shirt)


def paint_hair(
    points: Float32[np.ndarray, "3 h w"],
    normals: Float32[np.ndarray, "3 h w"],
    anatomy: Anatomy,
    palette: Palette,
    camera: Camera,
) -> tuple[Float32[np.ndarray, "3 h w"], Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Albedo, gloss and presence of hair. Tilts the normals along the strands (in place)."""
    persona = anatomy.persona
    x, y, z = points
    detail = np.float32(min(1.0, 0.02 / camera.sample_spacing))
    around = x / np.sqrt(x * x + z * z + 0.02)  # strands fall from the crown: they follow the meridians of the head
    strands = np.sin(around * 38.0 + np.sin(y * 5.0)) + 0.8 * np.sin(around * 87.0 + 4.0 * y)
    strands *= 0.5 * detail
    if persona.hair_length > 0:
        front, side = smoothstep(0.0, 0.5, z), np.float32(-3.0)
    else:  # ends above the ears and at the neck behind them
        front, side = smoothstep(-0.12, 0.3, z), -0.38 + 0.43 * smoothstep(-0.35, -0.12, z)
    forehead = persona.hair_line * persona.head_height - 0.3 * np.square(x) + 0.015 * strands
    there = y > side + front * (forehead - side)
    albedo = palette.hair[:, None, None] * (1.0 + 0.3 * strands)
    normals[0] += 0.22 * strands
    return albedo, 0.1 + 0.05 * strands, there


class Glasses:
    """Frame, lenses and temples, laid over the finished sample grid and hidden by whatever is nearer."""

    def __init__(self, anatomy: Anatomy, camera: Camera, palette: Palette):
        self.anatomy, self.camera, self.colour = anatomy, camera, palette.frame[:, None, None]
        style, eye = anatomy.persona.glasses, anatomy.eyes[1]
        self.rim = 0.016 + 0.022 * style  # half thickness
        self.power = 2.0 + 2.5 * style  # 2: round, more: square
        self.lens_x, self.half_width, self.half_height = eye.x, 0.25 * eye.size, 0.2
        self.front = float(anatomy.ball_centres[1, 2]) + eye.radius + 0.17  # the plane z of the lenses
        self.edge = np.float32(1.0 / (1.4 * camera.sample_spacing))

    def paint(self, colour: Float32[np.ndarray, "3 g g"], depth: Float32[np.ndarray, "g g"]) -> None:
        """Draws the glasses, if the persona wears any, into the colours (in place)."""
        if self.anatomy.persona.glasses <= 0:
            return
        outer = self.lens_x + self.half_width
        corners = np.array([[x, y, self.front] for x in (-outer, outer) for y in (-0.25, 0.25)])
        self._plane(colour, depth, corners, np.array([0.0, 0.0, 1.0]), self._front)
        for side in (-1, 1):
            hinge = np.array([side * outer, 0.06, self.front])
            ear = np.array([side * 0.76 * self.anatomy.persona.head_width, 0.06, -0.1])
            self._plane(colour, depth, np.stack([hinge, ear]), np.cross(ear - hinge, [0.0, 1.0, 0.0]), self._temple)

    def _plane(
        self,
        colour: Float32[np.ndarray, "3 g g"],
        depth: Float32[np.ndarray, "g g"],
        corners: Float[np.ndarray, "n 3"],
        normal: Float[np.ndarray, "3"],
        cover: Callable[[np.ndarray], tuple],
    ) -> None:
        """Paints a part that lies in the plane through `corners`; `cover` gives frame and glare at its points."""
        pose = self.anatomy.pose
        window = self.camera.window(pose.to_world(corners), 3.0).within(self.camera.whole())
        if window is None:
            return
        rows, columns = window.slices()
        ray = self.camera.directions(pose, window)
        eye = self.camera.eye(pose)
        slant = dot(normal.astype(np.float32), ray)
        distance = np.float32(normal @ (corners[0] - eye)) / np.where(np.abs(slant) < 1e-6, np.float32(1e-6), slant)
        frame, glare = cover(eye.astype(np.float32)[:, None, None] + ray * distance)
        ahead = distance < depth[rows, columns]
        view = colour[:, rows, columns]
        view += (np.float32(0.6) - view) * (glare * ahead)
        view += (self.colour - view) * (frame * ahead)

    def _front(self, points: Float32[np.ndarray, "3 h w"]) -> tuple:
        """Rims, bridge and lenses."""
        x, y, _ = points
        away = np.abs(np.abs(x) - self.lens_x) / self.half_width
        radius = (away**self.power + (np.abs(y + 0.03) / self.half_height) ** self.power) ** (1.0 / self.power)
        outside = (radius - 1.0) * np.float32(min(self.half_width, self.half_height))
        rims = np.clip((self.rim - np.abs(outside)) * self.edge + 0.5, 0.0, 1.0)
        bridge = np.clip((self.rim * 0.8 - np.abs(y - 0.03 + 2.0 * x * x)) * self.edge + 0.5, 0.0, 1.0)
        bridge *= np.abs(x) < self.lens_x - self.half_width
        lens = np.clip(-outside * self.edge, 0.0, 1.0)
        return np.maximum(rims, bridge), 0.07 * lens * np.clip(1.0 + 2.0 * (y - 0.5 * np.abs(x)), 0.0, 1.5)

    def _temple(self, points: Float32[np.ndarray, "3 h w"]) -> tuple:
        """The bar from hinge to ear."""
        _, y, z = points
        bar = np.clip((self.rim - np.abs(y - 0.06)) * self.edge + 0.5, 0.0, 1.0)
        return bar * ((z > -0.1) & (z < self.front)), np.float32(0.0)
