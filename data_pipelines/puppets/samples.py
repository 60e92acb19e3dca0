"""Samples for the oracle: puppets of every look and performance, cropped as the oracle sees them.

A parameter's share is its place in its span, 0 at the low end and 1 at the high one.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import cv2
import grain
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.batches.assembly import polygon_masks
from data_pipelines.batches.pipeline import ENDLESS, share
from data_pipelines.puppets.anatomy import FRAMING
from data_pipelines.puppets.parameters import (
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    Performance,
    sample_persona,
    sample_scene,
)
from data_pipelines.puppets.renderer import Frame, render
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import LEFT_EYE, NOSE, RIGHT_EYE

SIDE = 64
"""Side in pixels of what the oracle sees."""

ZOOM, RISE, NOSE_DISTANCE = 1.2, 0.07, 1.1
"""How much closer than the aligned crop of all other networks it looks, how much lower in widths of that crop, and by
how many distances between eyes and nose the eyes are apart in a face seen from the front."""

SPANS = {**PERSONA_SPANS, **PERFORMANCE_SPANS}
_LOW, _HIGH = (np.array([span[end] for span in SPANS.values()], np.float32) for end in (0, 1))
_NAMES = list(SPANS)
_ROLL, _PLACE = (
    _NAMES.index("roll"),
    [_NAMES.index(name) for name in ("translate_x", "translate_y")],
)
_NEGATED = [_NAMES.index(name) for name in ("yaw", "roll", "gaze_x", "translate_x")]
_LIDS = [_NAMES.index(name) for name in ("lid_left", "lid_right")]

_OVERSHOOT = 0.12  # share of samples at each end of a performance parameter's span
_SIZES, _QUALITIES = (88, 152), (75, 98)  # pixels of the rendered frame; of JPEG
_STORED, _MARGIN = (
    96,
    1.4,
)  # side of a kept picture in pixels, and in sides of what the oracle sees of it
_TURN, _NEAR, _AWAY = (
    8.0,
    0.12,
    0.06,
)  # ± degrees, share and widths of the kept picture, off the face's alignment
_MASKED = 0.8  # share of training samples of which only the face is seen
_SCALE, _SHIFT, _BUMP, _BUMPS = (
    (0.85, 1.15),
    0.04,
    0.04,
    5,
)  # see `_varied`; shift in widths of the crop
_SAMPLE, _BATCH = 10, 11  # separate random streams of one world


class Sample(NamedTuple):
    """One picture around a face and what it shows.

    Attributes:
        image: RGB, wider than what the oracle sees.
        landmarks: in its pixels.
        transform: from the rendered frame's pixels to its own.
        size: side of the rendered frame in pixels.
        values: all parameters, in their units.
    """

    image: UInt8[np.ndarray, "96 96 3"]
    landmarks: Float32[np.ndarray, "68 2"]
    transform: Float[np.ndarray, "2 3"]
    size: int
    values: Float32[np.ndarray, "40"]


class Batch(TypedDict):
    """One step's samples.

    Attributes:
        image: RGB.
        mask: which share of each pixel may be seen, 0..255.
        shares: of all parameters, personas' first, in the order of `SPANS`, as `to_shares` sees them.
    """

    image: UInt8[np.ndarray, "b 64 64 3"]
    mask: UInt8[np.ndarray, "b 64 64"]
    shares: Float32[np.ndarray, "b 40"]


def view(
    landmarks: Float[np.ndarray, "68 2"], side: int = SIDE, zoom: float = ZOOM
) -> Float[np.ndarray, "2 3"]:
    """Similarity transform from a picture's pixels to those of what the oracle sees [side, side]: its eyes are level.

    So the features of a face are always at about the same place, in profile, too: then the distance from the eyes to
    the nose counts instead of that between the eyes. Training varies the view, so that nothing can be told from where
    exactly it lies, which the landmarks of another face decide when a swap is read.
    """
    right, left = landmarks[RIGHT_EYE].mean(0), landmarks[LEFT_EYE].mean(0)
    apart, down = (
        np.linalg.norm(left - right),
        np.linalg.norm(landmarks[NOSE[6]] - (left + right) / 2),
    )
    shift = (0, -RISE * zoom * side)
    zoom *= min(1.0, float(apart / (NOSE_DISTANCE * down)))
    return _about_centre(
        align.alignment_transform(landmarks, side, "eyes"), side, zoom, shift=shift
    )


def to_shares(
    values: Float[np.ndarray, "40"], transform: Float[np.ndarray, "2 3"], size: int
) -> Float32[np.ndarray, "40"]:
    """Shares of all parameters, those of place as seen in a view.

    Roll counts from the view's own tilt. Instead of the translation there are x and y in the view, from 0 to 1, of
    where the head's origin would be unturned: what can be seen of it, whatever part of the picture the view shows.

    Args:
        values: in the parameters' units.
        transform: from the picture's pixels to the view's.
        size: of the picture in pixels.
    """
    values = values.astype(np.float64)
    values[_ROLL] += _tilt(transform)
    shares = (values - _LOW) / (_HIGH - _LOW)
    place = (size - 1) / 2 + size / 4 * np.array([1, -1]) * (values[_PLACE] + FRAMING[:2])
    shares[_PLACE] = (transform @ [*place, 1] + 0.5) / SIDE
    return shares.astype(np.float32)


def to_values(
    shares: Float[np.ndarray, "40"], transform: Float[np.ndarray, "2 3"], size: int
) -> Float32[np.ndarray, "40"]:
    """The inverse of `to_shares`."""
    values = _LOW + shares.astype(np.float64) * (_HIGH - _LOW)
    values[_ROLL] -= _tilt(transform)
    place = align.invert(transform) @ [*(shares[_PLACE] * SIDE - 0.5), 1]
    values[_PLACE] = (place - (size - 1) / 2) * [1, -1] * 4 / size - FRAMING[:2]
    return values.astype(np.float32)


def mirrored(shares: Float[np.ndarray, "... 40"]) -> Float[np.ndarray, "... 40"]:
    """Shares of what the mirrored picture shows."""
    shares = shares.copy()
    shares[..., _NEGATED] = 1 - shares[..., _NEGATED]
    shares[..., _LIDS] = shares[..., _LIDS[::-1]]
    return shares


def sample_frame(world_seed: int, index: int, size: int) -> Frame:
    """Picture number `index` of a world: a persona of its own, its performance anywhere between all extremes."""
    rng = np.random.default_rng((world_seed, _SAMPLE, index))
    shares = rng.uniform(-_OVERSHOOT, 1 + _OVERSHOOT, len(PERFORMANCE_SPANS)).clip(0, 1)
    low, high = (np.array([span[end] for span in PERFORMANCE_SPANS.values()]) for end in (0, 1))
    performance = Performance(*(low + shares * (high - low)).tolist())
    return render(
        sample_persona(world_seed, index), performance, sample_scene(world_seed, index, 0), size
    )


def parameters(frame: Frame) -> Float32[np.ndarray, "40"]:
    """All parameters of a rendered frame, in the order of `SPANS`."""
    return np.float32([*vars(frame.persona).values(), *vars(frame.performance).values()])


class Samples:
    """The samples of a world, each rendered when it is first asked for and then kept (28 KiB)."""

    def __init__(self, world_seed: int):
        self._world_seed = world_seed
        self._kept: dict[int, Sample] = {}

    def __getitem__(self, index: int) -> Sample:
        """Rendered at some size and compressed as JPEG of some quality, both decided by the index."""
        if index not in self._kept:
            rng = np.random.default_rng((self._world_seed, _SAMPLE, index, 0))
            size, quality = (int(rng.integers(low, high + 1)) for low, high in (_SIZES, _QUALITIES))
            frame = sample_frame(self._world_seed, index, size)
            _, encoded = cv2.imencode(
                ".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
            transform = view(frame.landmarks, _STORED, ZOOM / _MARGIN)
            image = align.warp(
                cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), transform, _STORED, _STORED
            )
            points = align.transform_points(frame.landmarks, transform)
            self._kept[index] = Sample(image, points, transform, size, parameters(frame))
        return self._kept[index]


def training_batches(
    samples: Samples, *, batch: int, fresh: int, seed: int, host: int = 0, hosts: int = 1
) -> grain.MapDataset[Batch]:
    """Endless data set whose element [step] is this host's share of the batch of that step.

    Every step has `fresh` samples that no step before has seen; the others are drawn from all so far. So rendering goes
    on beside training at an even pace. Half of the pictures are mirrored. Of most only the face may be seen, through a
    mask whose outline is so varied that it tells little itself; of the others, all.
    """

    def load(step: int) -> Batch:
        rng = np.random.default_rng((seed, _BATCH, step))
        new = np.arange(step * fresh, (step + 1) * fresh)
        numbers = np.concatenate([new, rng.integers(0, new[-1] + 1, batch - fresh)])
        mine = share(batch, host, hosts)
        flip, whole = (rng.random((2, batch)) < [[0.5], [1 - _MASKED]])[:, mine]
        views = rng.uniform(-1, 1, (batch, 4))[mine]
        variations = rng.uniform(-1, 1, (batch, 5 + 2 * _BUMPS))[mine]
        made = _assemble([samples[number] for number in numbers[mine].tolist()], views, variations)
        made["mask"][whole] = 255
        made["image"][flip], made["mask"][flip] = (
            made["image"][flip, :, ::-1],
            made["mask"][flip, :, ::-1],
        )
        made["shares"][flip] = mirrored(made["shares"][flip])
        return made

    return grain.MapDataset.range(ENDLESS).map(load)


def test_batches(
    samples: Samples, *, batch: int, host: int = 0, hosts: int = 1
) -> grain.MapDataset[Batch]:
    """The samples one after the other, as they are, with the masks of their faces."""

    def load(step: int) -> Batch:
        return _assemble(
            [
                samples[number]
                for number in range(step * batch, (step + 1) * batch)[share(batch, host, hosts)]
            ]
        )

    return grain.MapDataset.range(ENDLESS).map(load)


def _about_centre(
    transform: Float[np.ndarray, "2 3"],
    side: int,
    zoom: float,
    turn: float = 0.0,
    shift: Sequence[float] = (0, 0),
) -> Float[np.ndarray, "2 3"]:
    """A transform followed by zoom and turn (degrees) about the middle of the picture, then a shift in pixels."""
    cos, sin = zoom * np.cos(np.deg2rad(turn)), zoom * np.sin(np.deg2rad(turn))
    linear, middle = np.array([[cos, -sin], [sin, cos]]), (side - 1) / 2
    moved = linear @ transform
    moved[:, 2] += middle - linear @ [middle, middle] + shift
    return moved


def _tilt(transform: Float[np.ndarray, "2 3"]) -> float:
    """Clockwise turn of a similarity transform, degrees."""
    return float(np.rad2deg(np.arctan2(transform[1, 0], transform[0, 0])))


def _varied(
    outline: Float[np.ndarray, "n 2"], draws: Float[np.ndarray, "k"]
) -> Float[np.ndarray, "n 2"]:
    """The outline stretched along each axis, shifted, turned and dented, all by draws from -1..1."""
    centre = outline.mean(0)
    x, y = (outline - centre).T
    turns = np.arctan2(y, x)[:, None] * np.arange(1, 1 + _BUMPS)  # waves around the outline
    waves = np.concatenate([np.cos(turns), np.sin(turns)], 1) @ draws[5:]
    radii = np.interp(draws[:2], (-1, 1), _SCALE) + _BUMP * waves[:, None]
    cos, sin = np.cos(np.deg2rad(_TURN * draws[4])), np.sin(np.deg2rad(_TURN * draws[4]))
    return (
        centre
        + _SHIFT * SIDE * draws[2:4]
        + radii * (outline - centre) @ np.array([[cos, sin], [-sin, cos]])
    )


def _assemble(
    samples: Sequence[Sample],
    views: Float[np.ndarray, "b 4"] | None = None,
    variations: Float[np.ndarray, "b k"] | None = None,
) -> Batch:
    """What is seen of the samples. Views and masks vary by draws from -1..1; without, they are those of the face."""
    images, outlines, shares = [], [], []
    for i, sample in enumerate(samples):
        turn, near, *away = (0, 0, 0, 0) if views is None else views[i]
        inner = _about_centre(
            np.eye(2, 3), _STORED, 1 + _NEAR * near, _TURN * turn, _AWAY * _STORED * np.array(away)
        )
        # From the middle of the kept picture to all of the seen one.
        inner = align.scale_transform(_about_centre(inner, _STORED, _MARGIN), SIDE / _STORED)
        images.append(
            cv2.warpAffine(sample.image, inner, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        )
        whole = np.vstack([inner, [0, 0, 1]]) @ np.vstack([sample.transform, [0, 0, 1]])
        shares.append(to_shares(sample.values, whole[:2], sample.size))
        outline = align.face_polygon(align.transform_points(sample.landmarks, inner))
        outlines.append(outline if variations is None else _varied(outline, variations[i]))
    mask = polygon_masks(
        np.concatenate(outlines), np.array([len(outline) for outline in outlines]), SIDE
    )
    return {"image": np.stack(images), "mask": mask, "shares": np.stack(shares)}
