"""The perspective camera, the pose of the head before it, and rectangles of the sample grid.

World and head frames are right-handed: x to the right of the image, y up, z towards the camera; 1 unit is 10 cm.
The camera stands on the z axis and looks along -z. Image position (u, v) is the tangent of the viewing angle to the
right and up, depth the distance along the axis: the point at (u, v, depth) is (u depth, v depth, distance - depth).
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

Points = Float[np.ndarray, "n 3"]
Forms = Float[np.ndarray, "n 3 3"]  # symmetric, of ellipsoids
Field = Float32[np.ndarray, "h w"]  # over the samples of a window
VectorField = Float32[np.ndarray, "3 h w"]  # points, directions or colours

SUPERSAMPLING = 2  # samples per pixel along each axis
# Head units from the image's centre to its edge, at the head and at camera scale 1.
_HALF_FIELD = 2.0


def box_corners(x: Sequence[float], y: Sequence[float], z: Sequence[float]) -> Points:
    """Corners of an upright box between its limits along each axis."""
    corners = itertools.product(x, y, z)
    return np.array(list(corners), np.float64)


_CUBE = box_corners((-1, 1), (-1, 1), (-1, 1))


class Pose(NamedTuple):
    """A rigid motion from a body's own frame into the world: world = rotation @ local + translation."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    @staticmethod
    def turn(pitch: float, yaw: float, roll: float) -> Float[np.ndarray, "3 3"]:
        """Rotation from angles in degrees: pitch (up) first, then yaw (right), then roll (clockwise)."""
        angles = np.deg2rad([pitch, yaw, roll])
        cos_pitch, cos_yaw, cos_roll = np.cos(angles)
        sin_pitch, sin_yaw, sin_roll = np.sin(angles)

        about_x = np.array(
            [
                [1, 0, 0],
                [0, cos_pitch, sin_pitch],
                [0, -sin_pitch, cos_pitch],
            ]
        )
        about_y = np.array(
            [
                [cos_yaw, 0, sin_yaw],
                [0, 1, 0],
                [-sin_yaw, 0, cos_yaw],
            ]
        )
        about_z = np.array(
            [
                [cos_roll, sin_roll, 0],
                [-sin_roll, cos_roll, 0],
                [0, 0, 1],
            ]
        )
        return about_z @ about_y @ about_x

    def to_world(self, points: Points) -> Points:
        """Points of the body's frame, in the world."""
        return points @ self.rotation.T + self.translation

    def turn_back(self, directions: Points) -> Points:
        """Directions of the world, in the body's frame."""
        return directions @ self.rotation


class Window(NamedTuple):
    """A rectangle of the sample grid: rows top..bottom-1, columns left..right-1."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @staticmethod
    def union(windows: list["Window"]) -> "Window":
        """The smallest rectangle around all of them."""
        tops, bottoms, lefts, rights = zip(*windows, strict=True)
        return Window(
            min(tops),
            max(bottoms),
            min(lefts),
            max(rights),
        )

    def within(self, outer: "Window") -> "Window | None":
        """The part inside another rectangle, None if there is none."""
        part = Window(
            max(self.top, outer.top),
            min(self.bottom, outer.bottom),
            max(self.left, outer.left),
            min(self.right, outer.right),
        )
        return part if part.height > 0 and part.width > 0 else None

    def slices(self, outer: "Window | None" = None) -> tuple[slice, slice]:
        """Row and column slices, relative to an outer rectangle or to the whole grid."""
        top = outer.top if outer else 0
        left = outer.left if outer else 0
        rows = slice(self.top - top, self.bottom - top)
        columns = slice(self.left - left, self.right - left)
        return rows, columns


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera with a square image of `size` pixels, sampled SUPERSAMPLING times along each axis."""

    size: int
    scale: float = 1.0
    distance: float = 12.0  # head units from the world's origin

    @property
    def grid(self) -> int:
        """Samples along one side of the image."""
        return self.size * SUPERSAMPLING

    @property
    def pixels_per_tangent(self) -> float:
        """Image scale: pixels per unit of u or v."""
        return self.size / 2 * self.scale * self.distance / _HALF_FIELD

    @property
    def sample_spacing(self) -> float:
        """Distance of neighbouring samples at the head, in head units: the finest detail worth drawing."""
        return self.distance / (self.pixels_per_tangent * SUPERSAMPLING)

    @property
    def edge_slope(self) -> np.float32:
        """Of a soft edge, 1.4 samples wide: coverage per head unit."""
        return np.float32(1.0 / (1.4 * self.sample_spacing))

    def contrast(self, detail: float) -> float:
        """What to draw details of a size (head units) with: less than 1 where they are finer than samples.

        Otherwise they would flicker.
        """
        return min(1.0, detail / self.sample_spacing)

    def whole(self) -> Window:
        """The whole sample grid."""
        return Window(0, self.grid, 0, self.grid)

    def project(self, points: Points) -> Float[np.ndarray, "n 2"]:
        """World points to x, y in pixels; pixel centres lie at whole numbers."""
        x, y, z = points.T
        depth = self.distance - z
        u = x / depth * self.pixels_per_tangent
        v = y / depth * self.pixels_per_tangent
        middle = (self.size - 1) / 2
        return np.stack([middle + u, middle - v], axis=1)

    def rays(self, window: Window) -> tuple[Float32[np.ndarray, "1 w"], Float32[np.ndarray, "h 1"]]:
        """Image positions u, v of the samples of a window."""
        step = 1.0 / (self.pixels_per_tangent * SUPERSAMPLING)
        middle = (self.grid - 1) / 2
        columns = np.arange(window.left, window.right)
        rows = np.arange(window.top, window.bottom)
        u = ((columns - middle) * step).astype(np.float32)
        v = ((middle - rows) * step).astype(np.float32)
        return u[None, :], v[:, None]

    def points(self, pose: Pose, window: Window, depth: Field) -> VectorField:
        """Points at given depths of a window's rays, in the body's frame."""
        out = self.directions(pose, window)
        eye = self.eye(pose).astype(np.float32)
        for axis in range(3):
            out[axis] *= depth
            out[axis] += eye[axis]
        return out

    def directions(self, pose: Pose, window: Window) -> VectorField:
        """Ray directions of a window per unit of depth, in the body's frame."""
        u, v = self.rays(window)
        out = np.empty((3, window.height, window.width), np.float32)
        columns = pose.rotation.T.astype(np.float32)
        for (right, up, back), values in zip(columns, out, strict=True):
            # The direction (u, v, -1) turned back into the body's frame.
            along_column = up * v - back
            np.add(right * u, along_column, out=values)
        return out

    def eye(self, pose: Pose) -> Float[np.ndarray, "3"]:
        """The camera's position in the body's frame."""
        position = np.array([0.0, 0.0, self.distance])
        return pose.turn_back(position - pose.translation)

    def quadrics(self, pose: Pose, centres: Points, forms: Forms) -> tuple[Forms, Forms, Forms]:
        """Quadratic forms of ellipsoids along the rays: q = a t^2 + 2 b t + c at depth = distance + t.

        Each of a, b, c is itself a quadratic form of the homogeneous image position (u, v, 1), returned as a
        symmetric matrix.
        """
        forms = pose.rotation @ forms @ pose.rotation.T
        # Linear maps of (u, v, 1): to the ray's direction, and to its point at t = 0, seen from the centre.
        ray = np.diag([1.0, 1.0, -1.0])
        point = self.distance * np.diag([1.0, 1.0, 0.0])
        away = np.tile(point, (len(centres), 1, 1))
        away[:, :, 2] -= pose.to_world(centres)

        a = ray @ forms @ ray
        b = ray @ forms @ away
        c = away.mT @ forms @ away
        return a, (b + b.mT) / 2, c

    def ellipsoid_windows(
        self,
        pose: Pose,
        centres: Points,
        spreads: Forms,
        levels: Float[np.ndarray, "n"],
    ) -> list[Window]:
        """The samples that may see q <= level of each ellipsoid (spread: inverse of its form), even off the image."""
        # The upright box around each ellipsoid in the world.
        spreads = pose.rotation @ spreads @ pose.rotation.T
        squares = np.diagonal(spreads, axis1=1, axis2=2)
        reach = np.sqrt(levels[:, None] * squares)
        middles = pose.to_world(centres)
        corners = middles[:, None] + reach[:, None] * _CUBE

        pixels = self.project(corners.reshape(-1, 3))
        pixels = pixels.reshape(len(centres), len(_CUBE), 2)
        bounds = np.hstack([pixels.min(1), pixels.max(1)])
        return [self._around(*box) for box in bounds.tolist()]

    def window(self, points: Points, margin: float = 0.0) -> Window:
        """The samples around the projections of world points, widened by a margin in pixels."""
        pixels = self.project(points)
        low = pixels.min(0) - margin
        high = pixels.max(0) + margin
        return self._around(*low.tolist(), *high.tolist())

    @staticmethod
    def _around(left: float, top: float, right: float, bottom: float) -> Window:
        """Samples of a rectangle of pixels, and one more on every side."""

        def before(pixel: float) -> int:
            return math.floor((pixel + 0.5) * SUPERSAMPLING) - 1

        def after(pixel: float) -> int:
            return math.ceil((pixel + 0.5) * SUPERSAMPLING) + 1

        return Window(before(top), after(bottom), before(left), after(right))
