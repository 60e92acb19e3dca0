"""Smooth implicit surfaces made of ellipsoids, and rays cast onto them.

A surface is the zero set of

    g(p) = (sum_i w_i(p)^8)^(1/8) - 1  +  sum_j c_j / 8 w_j(p)^8,      g > 0 inside,

where w = max(0, 1 + k (1 - q(p)) / 8) for the solids i, w = max(0, 1 - q(p) / 8) for the reliefs j, and every
q(p) = (p - c)^T M (p - c) is the quadratic form of an ellipsoid. The first sum is a smooth union (larger sharpness k:
harder seams), the second adds bumps (c > 0) and dents (c < 0); (1 + x / 8)^8 is close to exp(x). Along a ray every w is
a quadratic in depth, so a cast is a few Newton steps on polynomials.

Arithmetic is +, *, / and square roots alone, which IEEE 754 defines to the last bit: exp, log and sin differ between
processors, and images must not.
"""

import math
from typing import NamedTuple

import numpy as np

from data_pipelines.puppets.camera import Camera, Field, Points, Pose, VectorField, Window

# Newton steps of every second ray, of all rays, of those that try again (single ones too), and of single rays.
_COARSE_STEPS = 7
_FINE_STEPS = 3
_RETRY_STEPS = 8
_POINT_STEPS = 9
_MAX_STEP = 0.3  # head units per Newton step
# Along single rays the longest step shrinks by this factor: no cycles where a ray grazes a part.
_DAMPING = 0.75
# Of g along a ray. Where it grazes the surface the slope is smaller, and would throw it far away.
_LEAST_SLOPE = 0.4
# g above which a ray counts as a hit: at most 0.01 units in front of the surface.
_CONTACT = -0.0125
_UNION_REACH = 4.5  # a solid is ignored where k (1 - q) is this far below the surface
_RELIEF_REACH = 3.2  # a relief is ignored where q exceeds this
_HEADROOM = 0.16  # g of a smooth union of some coinciding solids on the surface of each
_LEAST = 1e-24  # keeps quotients finite
_HUGE = 1e9  # np.clip between two numbers is three times as fast as np.maximum with one


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
        solids = [part for part in parts if part.height == 0.0]
        reliefs = [part for part in parts if part.height != 0.0]
        parts = solids + reliefs
        self.solids = len(solids)
        self.heights = np.array([part.height for part in reliefs])
        self.centres = np.array([part.centre for part in parts], np.float64)  # [part, 3]
        self.upright = [not any(part.tilt) for part in parts]

        # M and its inverse [part, 3, 3], from each part's axes (the columns of `turns`) and squared radii.
        turns = np.stack([Pose.turn(*part.tilt) for part in parts])
        squares = np.square([part.radii for part in parts])[:, None]
        self.forms = (turns / squares) @ turns.mT
        self.spreads = (turns * squares) @ turns.mT

        # w = offset - gain * q; a relief, of sharpness 0, has k = 1 and falls from 1.
        sharpness = np.array([part.sharpness for part in parts])
        self.gains = np.where(sharpness > 0, sharpness, 1.0) / 8
        self.offsets = 1 + sharpness / 8

        # q beyond which a part is ignored.
        reach = 1 + _UNION_REACH / sharpness[: self.solids]
        self.levels = np.full(len(parts), _RELIEF_REACH)
        self.levels[: self.solids] = reach

    def cast_from(self, origins: Points, directions: Points) -> Points:
        """First surface points on a few rays in the surface's own frame, from origins outside. NaN where missed."""
        # Every part's w = a t^2 + b t + c at depth t, [part, ray].
        away = origins - self.centres[:, None]  # [part, ray, axis]
        along = directions @ self.forms
        gains = self.gains[:, None]
        squared_slope = np.einsum("pri,ri->pr", along, directions)
        product = np.einsum("pri,pri->pr", along, away)
        form = np.einsum("pri,pri->pr", away @ self.forms, away)
        a = -gains * squared_slope
        b = -2.0 * gains * product
        c = self.offsets[:, None] - gains * form

        all_rays = (...,)
        parts = [_Term(all_rays, *abc) for abc in zip(a, b, c, strict=True)]
        start = _entry(parts[: self.solids], origins.shape[:1])
        start[np.isinf(start)] = np.nan
        depth, field = self.walk(a, b, c, start, _POINT_STEPS)

        # A ray that grazes a part may have spent its long steps there: on from where it is, with long ones again.
        missed = field < _CONTACT
        rest = (x[:, missed] for x in (a, b, c))
        depth[missed], field[missed] = self.walk(*rest, depth[missed], _RETRY_STEPS)
        depth[field < _CONTACT] = np.nan
        return origins + depth[:, None] * directions

    def walk(
        self,
        a: np.ndarray,
        b: np.ndarray,
        c: np.ndarray,
        depth: np.ndarray,
        steps: int,
    ) -> tuple:
        """Newton steps along single rays from given depths [ray]: the depths reached, and g just before.

        a, b, c [part, ray] give every part's w = a t^2 + b t + c at depth t.
        """
        solids = self.solids
        heights = self.heights.astype(a.dtype)[:, None] / 128
        least = a.dtype.type(_LEAST)
        for step in range(steps):
            # 2 w, its eighth power, and w' w^7 up to a factor.
            rise = a * depth
            tangent = rise + b
            base = _ramp(tangent * depth + c)
            power = _seventh(base)
            tangent += rise
            tangent *= power
            power *= base

            # g and its derivative along the ray. No BLAS: it may fuse products and sums.
            union = power[:solids].sum(0) + least
            root = _eighth_root(union)
            reliefs = (heights * power[solids:]).sum(0)
            field = root / 2 - 1 + reliefs / 16
            slope = tangent[:solids].sum(0) * (root / union)
            slope += (heights * tangent[solids:]).sum(0)

            longest = _MAX_STEP * _DAMPING**step
            depth = depth - _step(field, slope, longest)
        return depth, field


class View:
    """A surface in a pose before a camera."""

    def __init__(self, surface: Surface, camera: Camera, pose: Pose):
        self.surface = surface
        self.camera = camera
        self.pose = pose
        # The samples that each part matters to.
        self.boxes = camera.ellipsoid_windows(
            pose, surface.centres, surface.spreads, surface.levels
        )
        # Every w = a t^2 + b t + c at depth = distance + t; a, b, c are quadratic forms of (u, v, 1).
        a, b, c = camera.quadrics(pose, surface.centres, surface.forms)
        gains = planar(surface.gains)
        constant = planar(surface.offsets) * np.diag([0.0, 0.0, 1.0])
        coefficients = [
            -gains * a,
            -2.0 * gains * b,
            constant - gains * c,
        ]
        self.coefficients = np.stack(coefficients, axis=1).astype(np.float32)  # [part, 3, 3, 3]

    def window(self) -> Window | None:
        """The rectangle of samples that may see the surface, None if it is out of the image."""
        solids = self.boxes[: self.surface.solids]
        return Window.union(solids).within(self.camera.whole())

    def cast(self, window: Window) -> Field:
        """Depth of the first hit of every ray in a window, in head units from the camera; inf where there is none.

        Every second ray along both axes is solved from scratch; all rays then start at the nearest of its neighbours.
        The few that pass a nearer part by without touching it try again from the farthest neighbour.
        """
        height, width = window.height, window.width

        # Every second ray.
        coarse_shape = (math.ceil(height / 2), math.ceil(width / 2))
        terms = self._terms(window, 2)
        start = _entry(_solids(terms), coarse_shape)
        coarse, _ = self._solve(terms, start, _COARSE_STEPS)

        # All rays, from the nearest neighbour.
        near = _neighbourhood(coarse, np.minimum)
        start = _upsample(near, height, width)
        depth, field = self._solve(self._terms(window, 1), start, _FINE_STEPS)

        # The few that missed, from the farthest neighbour.
        missed = (field < _CONTACT) & np.isfinite(start)
        rows, columns = np.nonzero(missed)
        coarse[np.isinf(coarse)] = -np.inf
        far = _neighbourhood(coarse, np.maximum)
        start = far[rows // 2, columns // 2]
        u, v = self.camera.rays(window)
        u = u[0, columns]
        v = v[rows, 0]
        a, b, c = _quadratic_form(self.coefficients.T[..., None], u, v)
        again, field = self.surface.walk(a, b, c, start, _RETRY_STEPS)
        again[~(field > _CONTACT)] = np.inf
        depth[rows, columns] = again

        depth += np.float32(self.camera.distance)
        return depth

    def normals(self, window: Window, points: VectorField) -> VectorField:
        """Unit outward normals at surface points (own frame) of a window: minus the gradient of g."""
        surface = self.surface
        total = np.full(points.shape[1:], _LEAST, np.float32)
        slope = np.zeros_like(points)
        for index, box in enumerate(self.boxes):
            # After the last solid their sum becomes the gradient of its root.
            if index == surface.solids:
                slope *= _eighth_root(total) / total
            box = box.within(window)
            if box is None:
                continue

            # Half the gradient of q.
            rows, columns = box.slices(window)
            centre = surface.centres[index].astype(np.float32)
            away = points[:, rows, columns] - planar(centre)
            form = surface.forms[index].astype(np.float32)
            if surface.upright[index]:
                pull = planar(np.diag(form)) * away
            else:
                pull = np.stack([dot(row, away) for row in form])

            # Its weight, w^7 up to a factor.
            gain = surface.gains[index]
            base = dot(away, pull)
            base *= np.float32(-gain)
            base += np.float32(surface.offsets[index])
            weight = _seventh(_ramp(base))
            if index < surface.solids:
                base *= weight
                total[rows, columns] += base
                weight *= np.float32(8 * gain)
            else:
                height = surface.heights[index - surface.solids]
                weight *= np.float32(height / 128)
            pull *= weight
            slope[:, rows, columns] += pull

        length = dot(slope, slope)
        np.maximum(length, 1e-12, out=length)
        slope /= np.sqrt(length, out=length)
        return slope

    def _terms(self, window: Window, stride: int) -> "list[_Term]":
        """Every part that matters, along every `stride`-th ray of a window; solids first."""
        u, v = self.camera.rays(window)
        u = u[:, ::stride]
        v = v[::stride]
        heights = [0.0] * self.surface.solids + self.surface.heights.tolist()
        terms = []
        for box, forms, height in zip(self.boxes, self.coefficients, heights, strict=True):
            box = box.within(window)
            if box is None:
                continue
            rows, columns = box.slices(window)
            rows = _strided(rows, stride)
            columns = _strided(columns, stride)
            a, b, c = _quadratic_form(planar(forms.T), u[:, columns], v[rows])
            terms.append(_Term((rows, columns), a, b, c, height))
        return terms

    def _solve(self, terms: "list[_Term]", start: Field, steps: int) -> tuple:
        """Newton steps on whole windows: the depth of the first root of g (inf where there is none), and the last g."""
        reached = np.isfinite(start)
        depth = np.where(reached, start, np.float32(0.0))
        field = np.empty_like(depth)
        slope = np.empty_like(depth)
        solids = _solids(terms)
        reliefs = terms[len(solids) :]
        for _ in range(steps):
            # The union: sum of powers, then its root.
            field.fill(_LEAST)
            slope.fill(0.0)
            for term in solids:
                _accumulate(term, depth, field, slope)
            root = _eighth_root(field)
            slope *= np.divide(root, field, out=field)
            root *= 0.5
            root -= 1.0

            # The reliefs on it.
            field = root
            for term in reliefs:
                _accumulate(term, depth, field, slope)
            depth -= _step(field, slope)
        hit = reached & (field > _CONTACT)
        depth[~hit] = np.inf
        return depth, field


class _Term(NamedTuple):
    """A part along every ray of a rectangle: w = a t^2 + b t + c at depth t."""

    where: tuple
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    height: float = 0.0  # of a relief; 0 for a solid


def _solids(terms: list[_Term]) -> list[_Term]:
    return [term for term in terms if term.height == 0.0]


def _accumulate(term: _Term, depth: np.ndarray, field: np.ndarray, slope: np.ndarray) -> None:
    """Adds a solid's (2 w)^8 and the derivative of 16 w^8 along the ray, or a relief's c / 8 w^8 and its derivative."""
    t = depth[term.where]
    rise = term.a * t
    tangent = rise + term.b
    base = tangent * t
    base += term.c
    tangent += rise
    power = _seventh(_ramp(base))
    if term.height:
        power *= np.float32(term.height / 128)
        base *= 1 / 16
    tangent *= power
    slope[term.where] += tangent
    power *= base
    field[term.where] += power


def _ramp(base: np.ndarray) -> np.ndarray:
    """2 max(0, base), in place: in half the time of np.maximum, which minds NaN."""
    base += np.abs(base)
    return base


def _seventh(base: np.ndarray) -> np.ndarray:
    """base^7."""
    square = base * base
    fourth = square * square
    square *= base
    square *= fourth
    return square


def _eighth_root(power: np.ndarray) -> np.ndarray:
    """power^(1/8)."""
    root = np.sqrt(power)
    np.sqrt(root, out=root)
    return np.sqrt(root, out=root)


def falloff(square: np.ndarray) -> np.ndarray:
    """A bell over a squared distance, close to exp(-square) and 0 from 8 on."""
    bell = square * (-1 / 8)
    bell += 1.0
    np.clip(bell, 0.0, 1.0, out=bell)
    for _ in range(3):
        bell *= bell
    return bell


def bell(distance: np.ndarray) -> np.ndarray:
    """`falloff` over a distance: close to exp(-distance^2)."""
    return falloff(np.square(distance))


def saturate(value: np.ndarray) -> np.ndarray:
    """Values clipped to 0..1."""
    return np.clip(value, 0.0, 1.0)


def planar(vectors: np.ndarray) -> np.ndarray:
    """Each number with two axes more, so that a vector [3] broadcasts over a field [3, h, w]."""
    return vectors[..., None, None]


def wave(turns: np.ndarray) -> np.ndarray:
    """Close to sin(2 pi turns): parabolas of alternating sign."""
    turns = turns - np.rint(turns)
    height = np.abs(turns)
    height *= -16.0
    height += 8.0
    height *= turns
    return height


def _entry(solids: list[_Term], shape: tuple) -> np.ndarray:
    """A depth just in front of the surface: the nearest entry into any slightly inflated solid; inf without one."""
    dtype = solids[0].a.dtype if solids else np.float32
    depth = np.full(shape, np.inf, dtype)
    for where, a, b, c, _ in solids:
        # The nearer root of w = 1 - _HEADROOM.
        constant = c + (_HEADROOM - 1)
        discriminant = b * b - 4 * a * constant
        root = np.sqrt(np.clip(discriminant, 0, _HUGE))
        near = (root - b) / (2 * a)
        near[~(discriminant > 0)] = np.inf
        part = depth[where]
        np.minimum(part, near, out=part)
    return depth


def _step(field: np.ndarray, slope: np.ndarray, longest: float = _MAX_STEP) -> np.ndarray:
    """Newton's step. Overwrites `slope`.

    Outside it always leads forward and inside back: a ray that grazes the nose goes on to the cheek.
    """
    np.abs(slope, out=slope)
    np.clip(slope, _LEAST_SLOPE, _HUGE, out=slope)
    step = np.divide(field, slope, out=slope)
    return np.clip(step, -longest, longest, out=step)


def _neighbourhood(depth: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """Least (np.minimum) or greatest (np.maximum) depth of every sample and its eight neighbours."""
    rows = depth.copy()
    choose(rows[1:], depth[:-1], out=rows[1:])
    choose(rows[:-1], depth[1:], out=rows[:-1])
    out = rows.copy()
    choose(out[:, 1:], rows[:, :-1], out=out[:, 1:])
    choose(out[:, :-1], rows[:, 1:], out=out[:, :-1])
    return out


def _strided(part: slice, stride: int) -> slice:
    """The slice of every `stride`-th of some samples that covers a slice of all of them."""
    last = math.ceil(part.stop / stride)
    return slice(part.start // stride, last)


def _upsample(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every sample repeated twice along both axes, cut to a size."""
    rows = field.repeat(2, axis=0)[:height]
    return rows.repeat(2, axis=1)[:, :width]


def _quadratic_form(form: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(u, v, 1) Q (u, v, 1)^T for symmetric Q [3, 3, ...], where the axes of u, v and the rest of Q broadcast."""
    (uu, uv, u1), (_, vv, v1), (_, _, one) = form
    row = (uu * u + 2 * u1) * u + one
    column = (vv * v + 2 * v1) * v
    out = (2 * uv * v) * u
    out += row
    out += column
    return out


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the reverse if low > high), smooth between."""
    span = high - low
    x = value * (1.0 / span)
    x -= low / span
    x = saturate(x)

    # x^2 (3 - 2 x)
    rest = x * -2.0
    rest += 3.0
    x *= x
    x *= rest
    return x


def dot(first: np.ndarray, second: VectorField) -> Field:
    """Scalar product of planar vectors; the first may be a single vector [3]."""
    out = first[0] * second[0]
    out += first[1] * second[1]
    out += first[2] * second[2]
    return out
