"""The 68 iBUG landmarks of a puppet, sampled from the same curves and surfaces that the renderer paints."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipelines.puppets.anatomy import Anatomy, frontal_rays
from data_pipelines.puppets.camera import Camera

# Head units by which a visible point may lie behind the first surface on its line of sight.
_HEAD_SLACK = 0.07
_HAIR_SLACK = 0.01

# Where the landmarks lie on the curves of the features, in their order: those of the brow and the eye at the left of
# the image. At the right they run back.
_BROW = [0.96, 0.74, 0.5, 0.26, 0.04]
_LIDS = {
    "upper": [-1.0, -0.38, 0.38, 1.0],
    "lower": [0.36, -0.36],
}
_LIPS = {
    "outer_upper": [-1.0, -0.64, -0.28, 0.0, 0.28, 0.64, 1.0],
    "outer_lower": [0.64, 0.3, 0.0, -0.3, -0.64],
    "inner_upper": [-0.9, -0.28, 0.0, 0.28, 0.9],
    "inner_lower": [0.28, 0.0, -0.28],
}
# Fractions of the way from the height of the eyes down to the tip of the nose.
_BRIDGE = [0.05, 0.36, 0.68, 1.0]
# Along the nose's base: x in half widths, and head units below the tip.
_BELOW_NOSE = [
    (-1, 0.07),
    (-0.5, 0.1),
    (0, 0.12),
    (0.5, 0.1),
    (1, 0.07),
]


def head_points(anatomy: Anatomy) -> Float[np.ndarray, "68 3"]:
    """Landmarks in the head's frame, head units."""
    others = np.array(_frontal(anatomy))
    jaw_origins, jaw_directions = _jaw_rays(anatomy)
    origins, directions = frontal_rays(others)
    origins = np.concatenate([jaw_origins, origins])
    directions = np.concatenate([jaw_directions, directions])
    return anatomy.head.cast_from(origins, directions)


def landmarks(
    anatomy: Anatomy, camera: Camera, points: Float[np.ndarray, "68 3"]
) -> tuple[Float32[np.ndarray, "68 2"], Bool[np.ndarray, "68"]]:
    """Pixels x, y of the head points, and whether the head itself and its hair leave each of them visible."""
    eye = camera.eye(anatomy.pose)
    sight = points - eye
    distance = np.linalg.norm(sight, axis=1)
    origins = np.broadcast_to(eye, points.shape)
    directions = sight / distance[:, None]

    # NaN, which is before nothing, where a ray passes by, as it may along the silhouette.
    skin = anatomy.head.cast_from(origins, directions)
    skin_distance = np.linalg.norm(skin - eye, axis=1)
    hidden = skin_distance < distance - _HEAD_SLACK

    # The hair's shell surrounds the face, too; there is hair above its edge alone.
    hair = anatomy.hair.cast_from(origins, directions)
    hair_distance = np.linalg.norm(hair - eye, axis=1)
    x, y, z = hair.T
    is_hair = y > anatomy.hair_edge(x, z)
    hidden |= is_hair & (hair_distance < distance - _HAIR_SLACK)

    pixels = camera.project(anatomy.pose.to_world(points))
    return pixels.astype(np.float32), ~hidden


def _frontal(anatomy: Anatomy) -> list[tuple[float, float]]:
    """Landmarks 17..67 as positions (x, y) over the frontal plane."""
    left, right = anatomy.brows
    points = [left.point(r) for r in _BROW]
    points += [right.point(r) for r in reversed(_BROW)]

    tip = anatomy.nose_tip_y
    wing = anatomy.nose_half_width
    points += [(0.0, fraction * tip) for fraction in _BRIDGE]
    points += [(x * wing, tip - drop) for x, drop in _BELOW_NOSE]

    left, right = anatomy.eyes
    for lid, positions in _LIDS.items():
        points += [left.point(s, lid) for s in positions]
    for lid, positions in _LIDS.items():
        points += [right.point(s, lid) for s in reversed(positions)]

    for edge, positions in _LIPS.items():
        points += [anatomy.mouth.point(s, edge) for s in positions]
    return points


def _jaw_rays(anatomy: Anatomy) -> tuple[Float[np.ndarray, "17 3"], Float[np.ndarray, "17 3"]]:
    """Rays to landmarks 0..16, the edge of the face from eye height over the chin to eye height."""
    # Seen from the front, they come from all sides below the eyes, steeper than a circle's radii.
    angle = np.deg2rad(np.linspace(-90.0, 90.0, 17))
    low = -np.cos(angle)
    nothing = np.zeros(17)
    outward = np.column_stack([np.sin(angle), low * 1.3, nothing])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)

    # The edge runs forward to the chin.
    z = 0.24 + (anatomy.chin_z - 0.17) * np.square(low)
    middle = np.column_stack([nothing, nothing, z])
    return middle + 3.0 * outward, -outward
