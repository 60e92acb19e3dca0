"""The 68 iBUG landmarks of a puppet, sampled from the same curves and surfaces that the renderer paints."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipelines.puppets.anatomy import Anatomy
from data_pipelines.puppets.camera import Camera

# Head units by which a visible point may lie behind the head's or the hair's first surface on its line of sight.
_HEAD_SLACK, _HAIR_SLACK = 0.07, 0.01


def head_points(anatomy: Anatomy) -> Float[np.ndarray, "68 3"]:
    """Landmarks in the head's frame, head units."""
    frontal = _frontal(anatomy)
    ahead = (
        np.column_stack([frontal, np.full(len(frontal), 2.0)]),
        np.tile([0.0, 0.0, -1.0], (len(frontal), 1)),
    )
    origins, directions = (np.concatenate(rays) for rays in zip(_jaw(anatomy), ahead, strict=True))
    return anatomy.head.cast_from(origins, directions)


def landmarks(
    anatomy: Anatomy, camera: Camera, points: Float[np.ndarray, "68 3"]
) -> tuple[Float32[np.ndarray, "68 2"], Bool[np.ndarray, "68"]]:
    """Pixels x, y of the head points, and whether the head itself and its hair leave each of them visible."""
    eye = camera.eye(anatomy.pose)
    sight = points - eye
    distance = np.linalg.norm(sight, axis=1)
    hidden = np.zeros(len(points), bool)
    for surface, slack in ((anatomy.head, _HEAD_SLACK), (anatomy.hair, _HAIR_SLACK)):
        first = surface.cast_from(np.broadcast_to(eye, points.shape), sight / distance[:, None])
        x, y, z = first.T  # NaN where the ray passes by, as it may along the silhouette
        before = np.linalg.norm(first - eye, axis=1) < distance - slack
        hidden |= before if surface is anatomy.head else before & (y > anatomy.hair_edge(x, z))
    return camera.project(anatomy.pose.to_world(points)).astype(np.float32), ~hidden


def _frontal(anatomy: Anatomy) -> list[tuple[float, float]]:
    """Landmarks 17..67 as positions over the frontal plane."""
    left, right = anatomy.brows
    points = [left.point(r) for r in (0.96, 0.74, 0.5, 0.26, 0.04)]
    points += [right.point(r) for r in (0.04, 0.26, 0.5, 0.74, 0.96)]
    tip, wing = anatomy.nose_tip_y, anatomy.nose_half_width
    points += [(0.0, share * tip) for share in (0.05, 0.36, 0.68, 1.0)]
    points += [
        (x * wing, tip - drop)
        for x, drop in ((-1, 0.07), (-0.5, 0.1), (0, 0.12), (0.5, 0.1), (1, 0.07))
    ]
    left, right = anatomy.eyes
    points += [left.point(s, "upper") for s in (-1.0, -0.38, 0.38, 1.0)]
    points += [left.point(s, "lower") for s in (0.36, -0.36)]
    points += [right.point(s, "upper") for s in (1.0, 0.38, -0.38, -1.0)]
    points += [right.point(s, "lower") for s in (-0.36, 0.36)]
    mouth = anatomy.mouth
    points += [mouth.point(s, "outer_upper") for s in (-1.0, -0.64, -0.28, 0.0, 0.28, 0.64, 1.0)]
    points += [mouth.point(s, "outer_lower") for s in (0.64, 0.3, 0.0, -0.3, -0.64)]
    points += [mouth.point(s, "inner_upper") for s in (-0.9, -0.28, 0.0, 0.28, 0.9)]
    points += [mouth.point(s, "inner_lower") for s in (0.28, 0.0, -0.28)]
    return points


def _jaw(anatomy: Anatomy) -> tuple[Float[np.ndarray, "17 3"], Float[np.ndarray, "17 3"]]:
    """Rays to landmarks 0..16, the edge of the face from eye height over the chin to eye height."""
    angle = np.deg2rad(np.linspace(-90.0, 90.0, 17))
    low = -np.cos(angle)
    outward = np.column_stack([np.sin(angle), low * 1.3, np.zeros(17)])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    middle = np.column_stack(
        [np.zeros((17, 2)), 0.24 + (anatomy.chin_z - 0.17) * np.square(low)]
    )  # the edge runs forward to the chin
    return middle + 3.0 * outward, -outward
