"""The 68 iBUG landmarks of a puppet, sampled from the same curves and surfaces that the renderer paints."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipelines.puppets.anatomy import Anatomy, frontal_rays
from data_pipelines.puppets.camera import Camera

# Head units by which a visible point may lie behind the first surface on its line of sight.
_HEAD_SLACK = 0.07
_HAIR_SLACK = 0.01


def head_points(anatomy: Anatomy) -> Float[np.ndarray, "68 3"]:
    """Landmarks in the head's frame, head units."""
    frontal = np.array(_frontal(anatomy))
    jaw_origins, jaw_directions = _jaw_rays(anatomy)
    origins, directions = frontal_rays(frontal)
    return anatomy.head.cast_from(
        np.concatenate([jaw_origins, origins]), np.concatenate([jaw_directions, directions])
    )


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
    hair = anatomy.hair.cast_from(origins, directions)
    behind_skin = np.linalg.norm(skin - eye, axis=1) < distance - _HEAD_SLACK
    behind_hair = np.linalg.norm(hair - eye, axis=1) < distance - _HAIR_SLACK
    # The hair's shell surrounds the face, too; there is hair above its edge alone.
    behind_hair &= hair[:, 1] > anatomy.hair_edge(hair[:, 0], hair[:, 2])

    pixels = camera.project(anatomy.pose.to_world(points)).astype(np.float32)
    return pixels, ~(behind_skin | behind_hair)


def _frontal(anatomy: Anatomy) -> list[tuple[float, float]]:
    """Landmarks 17..67 as positions (x, y) over the frontal plane."""
    # Brows, each from its end at the left of the image to that at the right.
    left, right = anatomy.brows
    points = [left.point(r) for r in (0.96, 0.74, 0.5, 0.26, 0.04)]
    points += [right.point(r) for r in (0.04, 0.26, 0.5, 0.74, 0.96)]

    # Nose: down the bridge to the tip, then from wing to wing.
    tip, wing = anatomy.nose_tip_y, anatomy.nose_half_width
    points += [(0.0, fraction * tip) for fraction in (0.05, 0.36, 0.68, 1.0)]
    below = [(-1, 0.07), (-0.5, 0.1), (0, 0.12), (0.5, 0.1), (1, 0.07)]
    points += [(x * wing, tip - drop) for x, drop in below]

    # Eyes: along the upper lid and back along the lower one. On a lid, -1 is the outer corner, 1 the inner one.
    left, right = anatomy.eyes
    points += [left.point(s, "upper") for s in (-1.0, -0.38, 0.38, 1.0)]
    points += [left.point(s, "lower") for s in (0.36, -0.36)]
    points += [right.point(s, "upper") for s in (1.0, 0.38, -0.38, -1.0)]
    points += [right.point(s, "lower") for s in (-0.36, 0.36)]

    # Lips: the outer edges, then the inner ones.
    mouth = anatomy.mouth
    points += [mouth.point(s, "outer_upper") for s in (-1.0, -0.64, -0.28, 0.0, 0.28, 0.64, 1.0)]
    points += [mouth.point(s, "outer_lower") for s in (0.64, 0.3, 0.0, -0.3, -0.64)]
    points += [mouth.point(s, "inner_upper") for s in (-0.9, -0.28, 0.0, 0.28, 0.9)]
    points += [mouth.point(s, "inner_lower") for s in (0.28, 0.0, -0.28)]
    return points


def _jaw_rays(anatomy: Anatomy) -> tuple[Float[np.ndarray, "17 3"], Float[np.ndarray, "17 3"]]:
    """Rays to landmarks 0..16, the edge of the face from eye height over the chin to eye height."""
    # Seen from the front, they come from all sides below the eyes, steeper than a circle's radii.
    angle = np.deg2rad(np.linspace(-90.0, 90.0, 17))
    low = -np.cos(angle)
    outward = np.column_stack([np.sin(angle), low * 1.3, np.zeros(17)])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)

    # The edge runs forward to the chin.
    depth = 0.24 + (anatomy.chin_z - 0.17) * np.square(low)
    middle = np.column_stack([np.zeros((17, 2)), depth])
    return middle + 3.0 * outward, -outward
