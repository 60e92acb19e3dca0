"""Rays meet analytic surfaces where they should."""

import numpy as np
import pytest

from data_pipelines.puppets.camera import Camera, Pose
from data_pipelines.puppets.surface import Ellipsoid, Surface, View
from data_pipelines.puppets.tracks import Cast, Take, truth

POSE = Pose(Pose.turn(12.0, -30.0, 8.0), np.array([0.1, -0.2, 0.3]))
EGG = Ellipsoid((0.1, 0.0, -0.2), (0.8, 1.1, 0.6), 7.0)


def test_turns_follow_the_picture():
    ahead, up = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    assert (Pose.turn(0, 30, 0) @ ahead)[0] > 0  # yaw: to the right
    assert (Pose.turn(30, 0, 0) @ ahead)[1] > 0  # pitch: up
    assert (Pose.turn(0, 0, 30) @ up)[0] > 0  # roll: clockwise


def test_rays_and_projection_agree():
    camera = Camera(64, 1.1)
    u, v = camera.rays(camera.whole())
    point = np.array([[u[0, 37] * 11.0, v[90, 0] * 11.0, camera.distance - 11.0]])
    assert camera.project(point)[0] == pytest.approx([(37 - 0.5) / 2, (90 - 0.5) / 2], abs=1e-4)


@pytest.mark.parametrize("size", [16, 33, 64])
def test_cast_and_normals_of_one_ellipsoid(size):
    camera = Camera(size)
    view = View(Surface([EGG]), camera, POSE)
    window = view.window()
    depth = view.cast(window)
    hit = np.isfinite(depth)
    points = camera.points(POSE, window, np.where(hit, depth, 12.0).astype(np.float32))
    scaled = (points - np.array(EGG.centre)[:, None, None]) / np.array(EGG.radii)[:, None, None]
    assert np.abs(np.sqrt((scaled**2).sum(0)) - 1)[hit].max() < 0.02
    expected = scaled / np.array(EGG.radii)[:, None, None]
    expected /= np.linalg.norm(expected, axis=0)
    assert np.abs(view.normals(window, points) - expected)[:, hit].max() < 1e-3
    # The silhouette: a ray hits where its quadratic has a root.
    a, b, c = camera.quadrics(POSE, np.array([EGG.centre]), np.diag(1 / np.square(EGG.radii))[None])
    u, v = np.broadcast_arrays(*camera.rays(window))
    ray = np.stack([u, v, np.ones_like(u)])
    a, b, c = (
        np.einsum("ihw,ij,jhw->hw", ray, form[0], ray) for form in (a, b, c - np.diag([0, 0, 1.0]))
    )
    assert np.mean((b * b > a * c) != hit) < 0.04


def test_smooth_union_contains_its_parts_and_reliefs_move_the_surface():
    ball, bump = (
        Ellipsoid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 7.0),
        Ellipsoid((0, 0, 1.0), (0.3, 0.3, 0.3), height=1.0),
    )
    other = Ellipsoid((0.0, 1.2, 0.0), (0.5, 0.5, 0.5), 5.0, tilt=(10.0, 20.0, 30.0))
    origins, ahead = (
        np.array([[0.0, 0.0, 3.0], [0.0, 1.2, 3.0], [5.0, 0.0, 3.0]]),
        np.tile([0.0, 0.0, -1.0], (3, 1)),
    )
    plain = Surface([ball, other]).cast_from(origins, ahead)
    assert plain[0, 2] == pytest.approx(1.0, abs=0.02)
    assert plain[1, 2] > 0.499
    assert np.isnan(plain[2]).all()
    assert Surface([bump, ball, other]).cast_from(origins, ahead)[0, 2] > plain[0, 2] + 0.05


def test_a_ray_that_grazes_a_near_part_goes_on_to_the_far_one():
    wall, knob = (
        Ellipsoid((0, 0, 0), (1.2, 1.2, 0.4), 7.0),
        Ellipsoid((0, 0, 1.0), (0.3, 0.3, 0.3), 7.0),
    )
    camera, pose = Camera(64), Pose(np.eye(3), np.zeros(3))
    view = View(Surface([wall, knob]), camera, pose)
    window = view.window()
    u, v = camera.rays(window)
    inside = np.hypot(u, v) * camera.distance < 1.0
    assert np.isfinite(view.cast(window))[inside].all()


def test_single_rays_go_on_past_a_near_part_that_slows_them_down():
    """Landmarks beside this puppet's chin, between the tip of the chin and the jaw."""
    cast = Cast(4821, Take(4821, 0, 0), Take(4821, 0, 0), accessories=271937)
    points = truth(7, cast, 64, rate=1.0).landmarks
    # As far apart as others along the jaw
    steps = np.linalg.norm(np.diff(points[:17], axis=0), axis=1)
    assert (steps < 3 * np.median(steps)).all()
