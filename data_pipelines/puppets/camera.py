"""The perspective camera, the pose of the head before it, and rectangles of the sample grid.

World and head frames are right-handed: x to the right of the picture, y up, z towards the camera; 1 unit is 10 cm.
The camera stands on the z axis and looks along -z. Image position (u, v) is the tangent of the viewing angle to the
right and up, depth the distance along the axis: the point at (u, v, depth) is (u depth, v depth, distance - depth).
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

SUPERSAMPLING = 2  # samples per pixel along each axis
_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
_HALF_FIELD = (
    2.0  # head units from the picture's centre to its edge, at the head and at camera scale 1
)


class Pose(NamedTuple):
    """A rigid motion from a body's own frame into the world: world = rotation @ local + translation."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    @staticmethod
    def turn(pitch: float, yaw: float, roll: float) -> Float[np.ndarray, "3 3"]:
        """Rotation from angles in degrees: pitch (up) first, then yaw (right), then roll (clockwise)."""
        (cp, cy, cr), (sp, sy, sr) = (f(np.deg2rad([pitch, yaw, roll])) for f in (np.cos, np.sin))
        about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return about_z @ about_y @ about_x

    def to_world(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Points of the body's frame, in the world."""
        return points @ self.rotation.T + self.translation

    def turn_back(self, directions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
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
        return Window(min(tops), max(bottoms), min(lefts), max(rights))

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
        top, left = (outer.top, outer.left) if outer else (0, 0)
        return slice(self.top - top, self.bottom - top), slice(self.left - left, self.right - left)


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera with a square picture of `size` pixels, sampled SUPERSAMPLING times along each axis."""

    size: int
    scale: float = 1.0
    distance: float = 12.0  # head units from the world's origin

    @property
    def grid(self) -> int:
        """Samples along one side of the picture."""
        return self.size * SUPERSAMPLING

    @property
    def pixels_per_tangent(self) -> float:
        """Picture scale: pixels per unit of u or v."""
        return self.size / 2 * self.scale * self.distance / _HALF_FIELD

    @property
    def sample_spacing(self) -> float:
        """Distance of neighbouring samples at the head, in head units: the finest detail worth drawing."""
        return self.distance / (self.pixels_per_tangent * SUPERSAMPLING)

    def whole(self) -> Window:
        """The whole sample grid."""
        return Window(0, self.grid, 0, self.grid)

    def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """World points to x, y in pixels; pixel centres lie at whole numbers."""
        depth = self.distance - points[:, 2]
        offset = (self.size - 1) / 2
        x = offset + points[:, 0] / depth * self.pixels_per_tangent
        y = offset - points[:, 1] / depth * self.pixels_per_tangent
        return np.stack([x, y], axis=1)

    def rays(self, window: Window) -> tuple[Float32[np.ndarray, "1 w"], Float32[np.ndarray, "h 1"]]:
        """Image positions u, v of the samples of a window."""
        step = 1.0 / (self.pixels_per_tangent * SUPERSAMPLING)
        middle = (self.grid - 1) / 2
        u = (np.arange(window.left, window.right) - middle) * step
        v = (middle - np.arange(window.top, window.bottom)) * step
        return u[None, :].astype(np.float32), v[:, None].astype(np.float32)

    def points(
        self, pose: Pose, window: Window, depth: Float32[np.ndarray, "h w"]
    ) -> Float32[np.ndarray, "3 h w"]:
        """Points at given depths of a window's rays, in the body's frame."""
        u, v = self.rays(window)
        eye, directions = self.eye(pose).astype(np.float32), pose.rotation.astype(np.float32)
        out = np.empty((3, *depth.shape), np.float32)
        for axis in range(3):
            # The direction (u, v, -1) turned back into the body's frame.
            np.add(
                directions[0, axis] * u,
                directions[1, axis] * v - directions[2, axis],
                out=out[axis],
            )
            out[axis] *= depth
            out[axis] += eye[axis]
        return out

    def directions(self, pose: Pose, window: Window) -> Float32[np.ndarray, "3 h w"]:
        """Ray directions of a window per unit of depth, in the body's frame."""
        u, v = self.rays(window)
        turn = pose.rotation.astype(np.float32)
        return np.stack([turn[0, k] * u + (turn[1, k] * v - turn[2, k]) for k in range(3)])

    def eye(self, pose: Pose) -> Float[np.ndarray, "3"]:
        """The camera's position in the body's frame."""
        return pose.turn_back(np.array([0.0, 0.0, self.distance]) - pose.translation)

    def quadrics(
        self, pose: Pose, centres: Float[np.ndarray, "n 3"], forms: Float[np.ndarray, "n 3 3"]
    ) -> tuple[Float[np.ndarray, "n 3 3"], Float[np.ndarray, "n 3 3"], Float[np.ndarray, "n 3 3"]]:
        """Quadratic forms of ellipsoids along the rays: q = a t^2 + 2 b t + c at depth = distance + t.

        Each of a, b, c is itself a quadratic form of the homogeneous image position (u, v, 1), returned as a
        symmetric matrix.
        """
        forms = pose.rotation @ forms @ pose.rotation.T
        ray = np.diag([1.0, 1.0, -1.0])  # (u, v, 1) -> direction
        away = np.tile(
            self.distance * np.diag([1.0, 1.0, 0.0]), (len(centres), 1, 1)
        )  # -> point at t = 0
        away[:, :, 2] -= pose.to_world(centres)
        b = ray @ forms @ away
        return ray @ forms @ ray, (b + b.mT) / 2, away.mT @ forms @ away

    def ellipsoid_windows(
        self,
        pose: Pose,
        centres: Float[np.ndarray, "n 3"],
        spreads: Float[np.ndarray, "n 3 3"],
        levels: Float[np.ndarray, "n"],
    ) -> list[Window]:
        """The samples that may see q <= level of each ellipsoid (spread: inverse of its form), even off the picture."""
        spreads = pose.rotation @ spreads @ pose.rotation.T
        reach = np.sqrt(levels[:, None] * np.diagonal(spreads, axis1=1, axis2=2))
        corners = pose.to_world(centres)[:, None] + reach[:, None] * _CUBE
        x, y = self.project(corners.reshape(-1, 3)).T.reshape(2, len(centres), len(_CUBE))
        return [
            self._around(*bounds)
            for bounds in zip(x.min(1), x.max(1), y.min(1), y.max(1), strict=True)
        ]

    def window(self, points: Float[np.ndarray, "n 3"], margin: float = 0.0) -> Window:
        """The samples around the projections of world points, widened by a margin in pixels."""
        x, y = self.project(points).T
        return self._around(x.min() - margin, x.max() + margin, y.min() - margin, y.max() + margin)

    @staticmethod
    def _around(left: float, right: float, top: float, bottom: float) -> Window:
        """Samples of a rectangle of pixels."""
        low = (int(np.floor((edge + 0.5) * SUPERSAMPLING)) - 1 for edge in (top, left))
        high = (int(np.ceil((edge + 0.5) * SUPERSAMPLING)) + 1 for edge in (bottom, right))
        (first_row, first_column), (last_row, last_column) = low, high
        return Window(first_row, last_row, first_column, last_column)
