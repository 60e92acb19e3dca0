"""Smooth implicit surfaces made of ellipsoids, and rays cast onto them.

A surface is the zero set of

    g(p) = log sum_i exp(k_i (1 - q_i(p)))  +  sum_j c_j exp(-q_j(p)),      g > 0 inside,

where every q(p) = (p - c)^T M (p - c) is the quadratic form of an ellipsoid. The first sum is a smooth union (larger
sharpness k: harder seams), the second adds reliefs: bumps (c > 0) and dents (c < 0). Along a ray every q is a
quadratic in depth, so a cast is a few Newton steps on cheap polynomials.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from data_pipelines.puppets.camera import Camera, Pose, Window

_COARSE_STEPS, _FINE_STEPS, _RETRY_STEPS, _POINT_STEPS = 6, 3, 10, 16
_MAX_STEP = 0.3  # head units per Newton step
_DAMPING = 0.75  # of the longest step from step to step along single rays: no cycles where a ray grazes a part
_LEAST_SLOPE = 3.0  # of g along a ray; smaller ones occur where it grazes the surface, and would throw it far away
_CONTACT = -0.1  # g above which a ray counts as a hit: at most 0.01 units in front of the surface
_UNION_REACH = 6.0  # a solid is ignored where its exponent is this far below the surface
_RELIEF_REACH = 5.0  # a relief is ignored where q exceeds this
_HEADROOM = 1.3  # a smooth union of n coinciding solids is inflated by log n
_FLOOR = np.float32(-60.0)  # of exponents: keeps denormal numbers, which are slow, away


class Ellipsoid(NamedTuple):
    """One part of a surface: a solid of the union (`sharpness` > 0) or a relief (`height` != 0)."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    sharpness: float = 0.0
    height: float = 0.0
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)  # degrees about x, y, z


class Surface:
    """A smooth union of solids with reliefs; see the module's formula. Solids come first in every array."""

    def __init__(self, parts: list[Ellipsoid]):
        parts = sorted(parts, key=lambda part: part.height != 0.0)
        self.solids = sum(part.height == 0.0 for part in parts)
        self.centres = np.array([part.centre for part in parts], np.float64)  # [part, 3]
        turns = np.stack([Pose.turn(*part.tilt) for part in parts])
        squares = np.square([part.radii for part in parts])
        self.forms = (turns / squares[:, None]) @ turns.mT  # M [part, 3, 3]
        self.spreads = (turns * squares[:, None]) @ turns.mT  # inverse of M
        self.upright = np.array([part.tilt == (0.0, 0.0, 0.0) for part in parts])
        # Exponents are offset - gain * q.
        self.gains = np.array([part.sharpness or 1.0 for part in parts])
        self.offsets = np.array([part.sharpness for part in parts])
        self.heights = np.array([part.height for part in parts[self.solids :]])
        self.levels = np.array(
            [1 + _UNION_REACH / part.sharpness if part.sharpness else _RELIEF_REACH for part in parts]
        )

    def cast_from(
        self, origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """First surface points on a few rays in the surface's own frame, from origins outside. NaN where missed."""
        away = origins - self.centres[:, None]  # [part, ray, axis]
        along = directions @ self.forms
        gains = self.gains[:, None]
        a = -gains * np.einsum("pri,ri->pr", along, directions)
        b = -2.0 * gains * np.einsum("pri,pri->pr", along, away)
        c = self.offsets[:, None] - gains * np.einsum("pri,pri->pr", away @ self.forms, away)
        start = _entry([_Term((...,), *rows) for rows in zip(a, b, c, strict=True)][: self.solids], (len(origins),))
        start[np.isinf(start)] = np.nan
        depth, field = self.walk(a, b, c, start, _POINT_STEPS)
        depth[field < _CONTACT] = np.nan
        return origins + depth[:, None] * directions

    def walk(self, a: np.ndarray, b: np.ndarray, c: np.ndarray, depth: np.ndarray, steps: int) -> tuple:
        """Newton steps along single rays from given depths [ray]: the depths reached, and g just before.

        a, b, c [part, ray] give every part's exponent a t^2 + b t + c at depth t.
        """
        solids, heights = self.solids, self.heights.astype(a.dtype)
        for step in range(steps):
            rise = a * depth
            tangent = rise + b
            exponent = tangent * depth
            exponent += c
            np.maximum(exponent, _FLOOR, out=exponent)
            np.exp(exponent, out=exponent)
            tangent += rise
            tangent *= exponent
            union = exponent[:solids].sum(0)
            field = np.log(union) + heights @ exponent[solids:]
            slope = tangent[:solids].sum(0) / union + heights @ tangent[solids:]
            depth = depth - _step(field, slope, _MAX_STEP * _DAMPING**step)
        return depth, field


class View:
    """A surface in a pose before a camera."""

    def __init__(self, surface: Surface, camera: Camera, pose: Pose):
        self.surface, self.camera, self.pose = surface, camera, pose
        self.boxes = camera.ellipsoid_windows(pose, surface.centres, surface.spreads, surface.levels)
        a, b, c = camera.quadrics(pose, surface.centres, surface.forms)
        gains = surface.gains[:, None, None]
        constant = np.diag([0.0, 0.0, 1.0])
        # Every exponent a t^2 + b t + c at depth = distance + t; a, b, c are quadratic forms of (u, v, 1).
        exponents = [-gains * a, -2.0 * gains * b, surface.offsets[:, None, None] * constant - gains * c]
        self.exponents = np.stack(exponents, axis=1).astype(np.float32)  # [part, 3, 3, 3]

    def window(self) -> Window | None:
        """The rectangle of samples that may see the surface, None if it is out of the picture."""
        return Window.union(self.boxes[: self.surface.solids]).within(self.camera.whole())

    def cast(self, window: Window) -> Float32[np.ndarray, "h w"]:
        """Depth of the first hit of every ray in a window, in head units from the camera; inf where there is none.

        Every second ray along both axes is solved from scratch; all rays then start at the nearest of its neighbours.
        The few that pass a nearer part by without touching it try again from the farthest neighbour.
        """
        height, width = window.height, window.width
        coarse_shape = -(-height // 2), -(-width // 2)
        terms = self._terms(window, 2)
        coarse, _ = self._solve(terms, _entry(terms[: self._solids_in(terms)], coarse_shape), _COARSE_STEPS)
        start = _upsample(_neighbourhood(coarse, np.minimum), height, width)
        depth, field = self._solve(self._terms(window, 1), start, _FINE_STEPS)

        rows, columns = np.nonzero((field < _CONTACT) & np.isfinite(start))
        far = _neighbourhood(np.where(np.isfinite(coarse), coarse, -np.inf), np.maximum)
        u, v = self.camera.rays(window)
        a, b, c = _quadratic_form(self.exponents.T[..., None], u[0, columns], v[rows, 0])
        again, field = self.surface.walk(a, b, c, far[rows // 2, columns // 2], _RETRY_STEPS)
        depth[rows, columns] = np.where(field > _CONTACT, again, np.inf)
        depth += np.float32(self.camera.distance)
        return depth

    def normals(self, window: Window, points: Float32[np.ndarray, "3 h w"]) -> Float32[np.ndarray, "3 h w"]:
        """Unit outward normals at surface points (own frame) of a window: minus the gradient of g."""
        surface = self.surface
        total = np.full(points.shape[1:], 1e-12, np.float32)
        slope = np.zeros_like(points)
        for index, box in enumerate(self.boxes):
            if index == surface.solids:  # the sum of the solids becomes the gradient of its logarithm
                slope /= total
            box = box.within(window)
            if box is None:
                continue
            rows, columns = box.slices(window)
            away = points[:, rows, columns] - surface.centres[index].astype(np.float32)[:, None, None]
            form = surface.forms[index].astype(np.float32)
            if surface.upright[index]:
                pull = np.diag(form)[:, None, None] * away
            else:
                pull = np.einsum("ij,jhw->ihw", form, away)
            exponent = dot(away, pull)
            exponent *= np.float32(-surface.gains[index])
            exponent += np.float32(surface.offsets[index])
            np.maximum(exponent, _FLOOR, out=exponent)
            weight = np.exp(exponent, out=exponent)
            if index < surface.solids:
                total[rows, columns] += weight
                weight *= np.float32(surface.gains[index])
            else:
                weight *= np.float32(surface.heights[index - surface.solids])
            pull *= weight
            slope[:, rows, columns] += pull
        length = dot(slope, slope)
        np.maximum(length, 1e-12, out=length)
        slope /= np.sqrt(length, out=length)
        return slope

    def _terms(self, window: Window, stride: int) -> "list[_Term]":
        """Every part that matters, along every `stride`-th ray of a window; solids first."""
        u, v = self.camera.rays(window)
        u, v = u[:, ::stride], v[::stride]
        terms = []
        for index, (box, forms) in enumerate(zip(self.boxes, self.exponents, strict=True)):
            box = box.within(window)
            if box is None:
                continue
            rows, columns = (slice(s.start // stride, -(-s.stop // stride)) for s in box.slices(window))
            a, b, c = (_quadratic_form(form, u[:, columns], v[rows]) for form in forms)
            height = self.surface.heights[index - self.surface.solids] if index >= self.surface.solids else 0.0
            terms.append(_Term((rows, columns), a, b, c, np.float32(height)))
        return terms

    @staticmethod
    def _solids_in(terms: "list[_Term]") -> int:
        return sum(term.height == 0.0 for term in terms)

    def _solve(self, terms: "list[_Term]", start: Float32[np.ndarray, "h w"], steps: int) -> tuple:
        """Newton steps on whole windows: the depth of the first root of g (inf where there is none), and the last g."""
        reached = np.isfinite(start)
        depth = np.where(reached, start, np.float32(0.0))
        field, slope = np.empty_like(depth), np.empty_like(depth)
        solids = self._solids_in(terms)
        for _ in range(steps):
            field.fill(1e-30)
            slope.fill(0.0)
            for index, term in enumerate(terms):
                if index == solids:
                    slope /= field
                    np.log(field, out=field)
                _accumulate(term, depth, field, slope)
            if solids == len(terms):
                slope /= field
                np.log(field, out=field)
            depth -= _step(field, slope)
        depth[~(reached & (field > _CONTACT))] = np.inf
        return depth, field


class _Term(NamedTuple):
    """A part along every ray of a rectangle: its exponent is a t^2 + b t + c at depth t."""

    where: tuple
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    height: float = 0.0  # of a relief; 0 for a solid


def _accumulate(term: _Term, depth: np.ndarray, field: np.ndarray, slope: np.ndarray) -> None:
    """Adds a part's exponential and its derivative along the ray."""
    t = depth[term.where]
    rise = term.a * t
    tangent = rise + term.b
    exponent = tangent * t
    exponent += term.c
    tangent += rise
    np.maximum(exponent, _FLOOR, out=exponent)
    np.exp(exponent, out=exponent)
    if term.height:
        exponent *= term.height
    field[term.where] += exponent
    tangent *= exponent
    slope[term.where] += tangent


def _entry(solids: list[_Term], shape: tuple) -> np.ndarray:
    """A depth just in front of the surface: the nearest entry into any slightly inflated solid; inf without one."""
    depth = np.full(shape, np.inf, solids[0].a.dtype if solids else np.float32)
    for term in solids:
        root = term.b * term.b - 4 * term.a * (term.c + _HEADROOM)
        near = np.where(root > 0, (np.sqrt(np.maximum(root, 0)) - term.b) / (2 * term.a), np.inf)
        part = depth[term.where]
        np.minimum(part, near, out=part)
    return depth


def _step(field: np.ndarray, slope: np.ndarray, longest: float = _MAX_STEP) -> np.ndarray:
    """Newton's step. Overwrites `slope`.

    Outside it always leads forward and inside back: a ray that grazes the nose goes on to the cheek.
    """
    np.abs(slope, out=slope)
    np.maximum(slope, _LEAST_SLOPE, out=slope)
    step = np.divide(field, slope, out=slope)
    np.maximum(step, -longest, out=step)
    return np.minimum(step, longest, out=step)


def _neighbourhood(depth: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """Least (np.minimum) or greatest (np.maximum) depth of every sample and its eight neighbours."""
    rows = depth.copy()
    choose(rows[1:], depth[:-1], out=rows[1:])
    choose(rows[:-1], depth[1:], out=rows[:-1])
    out = rows.copy()
    choose(out[:, 1:], rows[:, :-1], out=out[:, 1:])
    choose(out[:, :-1], rows[:, 1:], out=out[:, :-1])
    return out


def _upsample(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every sample repeated twice along both axes, cut to a size."""
    return field.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]


def _quadratic_form(form: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(u, v, 1) Q (u, v, 1)^T for symmetric Q [3, 3, ...], where the axes of u, v and the rest of Q broadcast."""
    row = (form[0, 0] * u + 2 * form[0, 2]) * u + form[2, 2]
    column = (form[1, 1] * v + 2 * form[1, 2]) * v
    out = (2 * form[0, 1] * v) * u
    out += row
    out += column
    return out


def dot(first: np.ndarray, second: Float32[np.ndarray, "3 h w"]) -> Float32[np.ndarray, "h w"]:
    """Scalar product of planar vectors; the first may be a single vector [3]."""
    out = first[0] * second[0]
    out += first[1] * second[1]
    out += first[2] * second[2]
    return out
