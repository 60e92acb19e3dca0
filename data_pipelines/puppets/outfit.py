"""What surrounds the face: neck and shirt, hair and glasses."""

import numpy as np
from jaxtyping import Bool, Float32

from data_pipelines.puppets.anatomy import Anatomy
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.features import smoothstep
from data_pipelines.puppets.shading import Palette


def paint_body(
    points: Float32[np.ndarray, "3 h w"], anatomy: Anatomy, palette: Palette
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
    front = smoothstep(0.0, 0.5, z)
    # Cropped hair ends above the ears and at the neck behind them.
    side = -3.0 if persona.hair_length > 0 else -0.5 + 0.55 * smoothstep(-0.35, -0.12, z)
    forehead = persona.hair_line * persona.head_height - 0.3 * np.square(x) + 0.015 * strands
    there = y > side + front * (forehead - side)
    albedo = palette.hair[:, None, None] * (1.0 + 0.3 * strands)
    normals[0] += 0.22 * strands
    return albedo, 0.1 + 0.05 * strands, there


def paint_glasses(
    colour: Float32[np.ndarray, "3 g g"],
    depth: Float32[np.ndarray, "g g"],
    anatomy: Anatomy,
    camera: Camera,
    palette: Palette,
) -> None:
    """Frame, lenses and temples over the finished picture (in place), hidden by whatever is nearer."""
    style = anatomy.persona.glasses
    if style <= 0:
        return
    right = anatomy.eyes[1]
    plane_z = float(anatomy.ball_centres[1, 2]) + right.radius + 0.17
    rim = 0.016 + 0.022 * style
    width, height = 0.25 * right.half_width / 0.18, 0.2
    hinge = right.x + width, 0.06, plane_z
    box = np.array([[sx * hinge[0], sy * 0.25, plane_z] for sx in (-1, 1) for sy in (-1, 1)])
    window = camera.window(anatomy.pose.to_world(box), 2.0).within(camera.whole())
    if window is None:
        return
    rows, columns = window.slices()
    ray = camera.directions(anatomy.pose, window)
    eye = camera.eye(anatomy.pose).astype(np.float32)
    where = (plane_z - eye[2]) / ray[2]
    x, y = eye[0] + ray[0] * where, eye[1] + ray[1] * where
    edge = np.float32(1.0 / (1.4 * camera.sample_spacing))
    power = 2.0 + 2.5 * style
    away = np.abs(np.abs(x) - right.x) / width
    round_ = np.power(np.power(away, power) + np.power(np.abs(y + 0.03) / height, power), 1.0 / power)
    distance = (round_ - 1.0) * np.float32(min(width, height))
    cover = np.clip((rim - np.abs(distance)) * edge + 0.5, 0.0, 1.0)
    bridge = np.clip((rim * 0.8 - np.abs(y - 0.03 + 2.0 * x * x)) * edge + 0.5, 0.0, 1.0)
    bridge *= np.abs(x) < right.x - width
    np.maximum(cover, bridge, out=cover)
    lens = np.clip(-distance * edge, 0.0, 1.0)
    ahead = where < depth[rows, columns]
    view = colour[:, rows, columns]
    glare = lens * ahead * np.float32(0.07)
    view += (np.float32(0.6) - view) * (glare * np.clip(1.0 + 2.0 * (y - 0.5 * np.abs(x)), 0.0, 1.5))
    view += (palette.frame[:, None, None] - view) * (cover * ahead)
    for side in (-1, 1):
        _temple(colour, depth, anatomy, camera, palette, np.array([side * hinge[0], 0.06, plane_z]), side, rim)


def _temple(colour, depth, anatomy: Anatomy, camera: Camera, palette: Palette, hinge, side: int, rim: float) -> None:
    """The bar from the hinge to the ear: a narrow strip of an upright plane."""
    ear = np.array([side * 0.76 * anatomy.persona.head_width, 0.06, -0.1])
    window = camera.window(anatomy.pose.to_world(np.stack([hinge, ear])), 3.0).within(camera.whole())
    if window is None:
        return
    rows, columns = window.slices()
    ray = camera.directions(anatomy.pose, window)
    eye = camera.eye(anatomy.pose)
    normal = np.cross(ear - hinge, [0.0, 1.0, 0.0]).astype(np.float32)
    facing = normal[0] * ray[0] + normal[2] * ray[2]
    where = np.float32(normal @ (hinge - eye)) / np.where(np.abs(facing) < 1e-6, np.float32(1e-6), facing)
    y = np.float32(eye[1]) + ray[1] * where
    z = np.float32(eye[2]) + ray[2] * where
    cover = np.clip((rim - np.abs(y - 0.06)) / (1.4 * camera.sample_spacing) + 0.5, 0.0, 1.0)
    cover *= (z > ear[2]) & (z < hinge[2]) & (where < depth[rows, columns])
    view = colour[:, rows, columns]
    view += (palette.frame[:, None, None] - view) * cover
