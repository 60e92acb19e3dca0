"""Samples for the oracle: puppets of every look and performance, cropped as the oracle sees them.

A normalised parameter is its place in its span, 0 at the low end and 1 at the high one.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import cv2
import grain
import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from data_pipelines.batches.addresses import ENDLESS, host_slice
from data_pipelines.batches.described import Described, stand_in
from data_pipelines.batches.masks import polygon_masks
from data_pipelines.puppets.anatomy import FRAMING
from data_pipelines.puppets.parameters import (
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    Performance,
    limits,
    sample_persona,
    sample_scene,
)
from data_pipelines.puppets.renderer import Frame, render
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Landmarks
from faceswap_jax.faces.ibug import NOSE

SIDE = 64
"""Side in pixels of what the oracle sees of a face."""

DETAIL_SIDE = 48
"""Side in pixels of each of its closer looks."""

DETAILS = ((10, 4, 24), (30, 4, 24), (16, 29, 32))
"""Left, top and side of what they show, in pixels of the view: the eyes at the left and at the right, each with its
brow, and the mouth. At a frame of 256 px they lose nothing of its resolution."""

ZOOM = 1.2
"""How much closer than the aligned crop of all other networks the oracle looks."""

RISE = 0.07
"""How much lower it looks, in widths of that crop."""

NOSE_DISTANCE = 1.1
"""How many distances between eyes and nose the eyes are apart in a face seen from the front."""

SPANS = {**PERSONA_SPANS, **PERFORMANCE_SPANS}
_LOW, _HIGH = np.float32(limits(SPANS))
_UPRIGHT = np.array([1, -1])  # y of the head goes up, that of images down


# Where parameters stand in the order of `SPANS`.
_COLUMN = {name: number for number, name in enumerate(SPANS)}
_ROLL = _COLUMN["roll"]
_LIDS = [_COLUMN["lid_left"], _COLUMN["lid_right"]]
_PLACE = [_COLUMN["translate_x"], _COLUMN["translate_y"]]
# Negated by mirroring.
_NEGATED = [_COLUMN[name] for name in ("yaw", "roll", "gaze_x", "translate_x")]

# What is rendered and kept.
_OVERSHOOT = 0.12  # fraction of the samples at each end of a performance parameter's span
_SIZES = (96, 288)  # least and largest side of the rendered frame, pixels
_QUALITIES = (75, 98)  # least and best, of JPEG

# How training varies the view around the face's alignment, to either side.
_TURN = 8.0  # degrees
_NEAR = 0.12  # of the size
_AWAY = 0.06  # widths of the view

# How it varies the mask; see `_varied`.
_MASKED = 0.8  # fraction of the training samples of which only the face is seen
_SCALE = (0.85, 1.15)
_SHIFT = 0.04  # widths of the crop
_BUMP = 0.04  # radii
_BUMPS = 5

# Separate random streams of one world.
_SAMPLE = 10
_BATCH = 11


class Sample(NamedTuple):
    """One frame and what it shows.

    Attributes:
        encoded: the frame as JPEG.
        landmarks: in its pixels.
        size: its side in pixels.
        values: all parameters, in their units.
    """

    encoded: UInt8[np.ndarray, "bytes"]
    landmarks: Float32[np.ndarray, "68 2"]
    size: int
    values: Float32[np.ndarray, "40"]


class Batch(TypedDict):
    """One step's samples.

    Attributes:
        image: RGB.
        mask: which fraction of each pixel may be seen, 0..255.
        details: closer looks, see `closer`.
        detail_masks: as `mask`, of the details.
        parameters: all of them, normalised, in the order of `SPANS`.
    """

    image: UInt8[np.ndarray, "b 64 64 3"]
    mask: UInt8[np.ndarray, "b 64 64"]
    details: UInt8[np.ndarray, "b 3 48 48 3"]
    detail_masks: UInt8[np.ndarray, "b 3 48 48"]
    parameters: Float32[np.ndarray, "b 40"]


def view(landmarks: Landmarks, side: int = SIDE, zoom: float = ZOOM) -> align.Transform:
    """Similarity transform from an image's pixels to those of what the oracle sees [side, side]: its eyes are level.

    So the features of a face are always at about the same place, in profile, too: then the distance from the eyes to
    the nose counts instead of that between the eyes. Training varies the view, so that nothing can be told from where
    exactly it lies, which the landmarks of another face decide when a swap is read.
    """
    right, left = align.eye_centres(landmarks)
    apart = np.linalg.norm(left - right)
    nose = landmarks[NOSE[6]]
    down = np.linalg.norm(nose - (left + right) / 2)
    turned = min(1.0, float(apart / (NOSE_DISTANCE * down)))

    aligned = align.alignment_transform(landmarks, side, "eyes")
    shift = (0, -RISE * zoom * side)
    return _about_centre(aligned, side, zoom * turned, shift=shift)


def closer(transform: align.Transform) -> list[align.Transform]:
    """The transforms of the closer looks at `DETAILS`, given that of the view.

    The eye at the right is seen mirrored, so that both look alike.
    """
    looks = []
    for left, top, side in DETAILS:
        moved = transform.astype(np.float64)
        moved[:, 2] -= (left, top)
        looks.append(align.scale_transform(moved, DETAIL_SIDE / side))
    mirrored = looks[1]
    mirrored[0] *= -1
    mirrored[0, 2] += DETAIL_SIDE - 1
    return looks


def look(
    image: np.ndarray, transform: align.Transform
) -> tuple[Shaped[np.ndarray, "64 64 3"], Shaped[np.ndarray, "3 48 48 3"]]:
    """What the oracle sees of an image through a view: the face, and its details."""
    face = align.warp(image, transform, SIDE, SIDE)
    details = [align.warp(image, t, DETAIL_SIDE, DETAIL_SIDE) for t in closer(transform)]
    return face, np.stack(details)


def normalise(
    values: Float[np.ndarray, "40"], transform: align.Transform, size: int
) -> Float32[np.ndarray, "40"]:
    """All parameters normalised, those of place as seen in a view.

    Roll counts from the view's own tilt. Instead of the translation there are x and y in the view, from 0 to 1, of
    where the head's origin would be unturned: what can be seen of it, whatever part of the image the view shows.

    Args:
        values: in the parameters' units.
        transform: from the image's pixels to the view's.
        size: of the image in pixels.
    """
    values = values.astype(np.float64)
    values[_ROLL] += _tilt(transform)
    normalised = (values - _LOW) / (_HIGH - _LOW)

    # The head's origin in the image: a quarter of its side is a head unit.
    centre = (size - 1) / 2
    from_centre = values[_PLACE] + FRAMING[:2]
    x, y = centre + size / 4 * _UPRIGHT * from_centre
    place = transform @ [x, y, 1]
    normalised[_PLACE] = (place + 0.5) / SIDE
    return normalised.astype(np.float32)


def denormalise(
    normalised: Float[np.ndarray, "40"], transform: align.Transform, size: int
) -> Float32[np.ndarray, "40"]:
    """The inverse of `normalise`."""
    values = _LOW + normalised.astype(np.float64) * (_HIGH - _LOW)
    values[_ROLL] -= _tilt(transform)

    x, y = normalised[_PLACE] * SIDE - 0.5
    place = align.invert(transform) @ [x, y, 1]
    centre = (size - 1) / 2
    from_centre = (place - centre) * _UPRIGHT * 4 / size
    values[_PLACE] = from_centre - FRAMING[:2]
    return values.astype(np.float32)


def mirrored(normalised: Float[np.ndarray, "... 40"]) -> Float[np.ndarray, "... 40"]:
    """Normalised parameters of what the mirrored image shows."""
    result = normalised.copy()
    result[..., _NEGATED] = 1 - normalised[..., _NEGATED]
    left, right = _LIDS
    result[..., left] = normalised[..., right]
    result[..., right] = normalised[..., left]
    return result


def sample_frame(world_seed: int, index: int, size: int) -> Frame:
    """Frame number `index` of a world: a persona of its own, its performance anywhere between all extremes."""
    rng = np.random.default_rng((world_seed, _SAMPLE, index))
    draws = rng.uniform(-_OVERSHOOT, 1 + _OVERSHOOT, len(PERFORMANCE_SPANS))
    fractions = draws.clip(0, 1).tolist()
    values = []
    for span, fraction in zip(PERFORMANCE_SPANS.values(), fractions, strict=True):
        values.append(span.at(fraction))
    persona = sample_persona(world_seed, index)
    scene = sample_scene(world_seed, index, track=0)
    return render(persona, Performance(*values), scene, size)


def parameters(frame: Frame) -> Float32[np.ndarray, "40"]:
    """All parameters of a rendered frame, in the order of `SPANS`."""
    values = vars(frame.persona) | vars(frame.performance)
    return np.float32([values[name] for name in SPANS])


class Samples:
    """The samples of a world, each rendered when it is first asked for and then kept (some 10 KiB)."""

    def __init__(self, world_seed: int):
        self._world_seed = world_seed
        self._kept: dict[int, Sample] = {}

    def __getitem__(self, index: int) -> Sample:
        """Rendered at some size and compressed as JPEG of some quality, both decided by the index."""
        if index not in self._kept:
            self._kept[index] = self._make(index)
        return self._kept[index]

    def _make(self, index: int) -> Sample:
        rng = np.random.default_rng((self._world_seed, _SAMPLE, index, 0))
        size = int(rng.integers(*_SIZES, endpoint=True))
        quality = int(rng.integers(*_QUALITIES, endpoint=True))

        frame = sample_frame(self._world_seed, index, size)
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        bgr = frame.image[..., ::-1]
        _, encoded = cv2.imencode(".jpg", bgr, options)
        return Sample(encoded, frame.landmarks, size, parameters(frame))


def training_batches(
    samples: Samples,
    *,
    batch: int,
    fresh: int,
    seed: int,
    host: int = 0,
    hosts: int = 1,
) -> grain.MapDataset[Batch]:
    """Endless data set whose element [step] is this host's slice of the batch of that step.

    Every step has `fresh` samples that no step before has seen; the others are drawn from all so far. So rendering goes
    on beside training at an even pace. Half of the images are mirrored. Of most only the face may be seen, through a
    mask whose outline is so varied that it tells little itself; of the others, all.
    """

    def load(step: int) -> Batch:
        # All hosts draw the whole batch, then each makes its own slice.
        rng = np.random.default_rng((seed, _BATCH, step))
        seen = (step + 1) * fresh
        new = np.arange(step * fresh, seen)
        old = rng.integers(0, seen, batch - fresh)
        numbers = np.concatenate([new, old])
        flips = rng.random(batch) < 0.5
        unmasked = rng.random(batch) < 1 - _MASKED
        views = rng.uniform(-1, 1, (batch, 4))
        variations = rng.uniform(-1, 1, (batch, 5 + 2 * _BUMPS))

        mine = host_slice(batch, host, hosts)
        chosen = [samples[number] for number in numbers[mine].tolist()]
        made = _assemble(chosen, views[mine], variations[mine])
        for name in ("mask", "detail_masks"):
            made[name][unmasked[mine]] = 255

        flip = flips[mine]
        for name in ("image", "mask"):
            made[name][flip] = made[name][flip, :, ::-1]
        for name in ("details", "detail_masks"):
            made[name][flip] = _flipped(made[name][flip])
        made["parameters"][flip] = mirrored(made["parameters"][flip])
        return made

    def describe(_number) -> Batch:
        mine = range(batch)[host_slice(batch, host, hosts)]
        details = (len(mine), len(DETAILS), DETAIL_SIDE, DETAIL_SIDE)
        return {
            "image": stand_in((len(mine), SIDE, SIDE, 3), np.uint8),
            "mask": stand_in((len(mine), SIDE, SIDE), np.uint8),
            "details": stand_in((*details, 3), np.uint8),
            "detail_masks": stand_in(details, np.uint8),
            "parameters": stand_in((len(mine), len(SPANS)), np.float32),
        }

    return grain.MapDataset.range(ENDLESS).map(Described(load, describe))


def test_batches(
    samples: Samples,
    *,
    batch: int,
    host: int = 0,
    hosts: int = 1,
) -> grain.MapDataset[Batch]:
    """The samples one after the other, as they are, with the masks of their faces."""

    def load(step: int) -> Batch:
        numbers = range(step * batch, (step + 1) * batch)
        mine = numbers[host_slice(batch, host, hosts)]
        return _assemble([samples[number] for number in mine])

    return grain.MapDataset.range(ENDLESS).map(load)


def _about_centre(
    transform: align.Transform,
    side: int,
    zoom: float,
    turn: float = 0.0,
    shift: Sequence[float] = (0, 0),
) -> align.Transform:
    """A transform followed by zoom and turn (degrees) about the middle of the image, then a shift in pixels."""
    linear = zoom * _rotation(turn)
    middle = (side - 1) / 2
    moved = linear @ transform
    moved[:, 2] += middle - linear @ [middle, middle] + shift
    return moved


def _rotation(degrees: float) -> Float[np.ndarray, "2 2"]:
    """Clockwise in an image."""
    angle = np.deg2rad(degrees)
    cos = np.cos(angle)
    sin = np.sin(angle)
    return align.turn_and_scale(cos, sin)


def _tilt(transform: align.Transform) -> float:
    """Clockwise turn of a similarity transform, degrees."""
    x, y = transform[:, 0]
    return float(np.rad2deg(np.arctan2(y, x)))


def _varied(
    outline: Float[np.ndarray, "n 2"], draws: Float[np.ndarray, "k"]
) -> Float[np.ndarray, "n 2"]:
    """The outline stretched along each axis, shifted, turned and dented, all by draws from -1..1."""
    stretch = np.interp(draws[:2], (-1, 1), _SCALE)
    shift = _SHIFT * SIDE * draws[2:4]
    rotation = _rotation(_TURN * draws[4])
    dents = draws[5:]

    # Waves around the outline change its radii.
    centre = outline.mean(0)
    away = outline - centre
    x, y = away.T
    angle = np.arctan2(y, x)
    turns = angle[:, None] * np.arange(1, 1 + _BUMPS)
    waves = np.hstack([np.cos(turns), np.sin(turns)]) @ dents
    radii = stretch + _BUMP * waves[:, None]
    turned = radii * away @ rotation.T
    return centre + shift + turned


def _flipped(details: Shaped[np.ndarray, "b 3 48 48 ..."]) -> Shaped[np.ndarray, "b 3 48 48 ..."]:
    """The details of mirrored images: the eyes, of which one is mirrored already, change places."""
    result = details[:, [1, 0, 2]]
    result[:, 2] = details[:, 2, :, ::-1]
    return result


def _assemble(
    samples: Sequence[Sample],
    views: Float[np.ndarray, "b 4"] | None = None,
    variations: Float[np.ndarray, "b k"] | None = None,
) -> Batch:
    """What is seen of the samples. Views and masks vary by draws from -1..1; without, they are those of the face."""
    if views is None:
        views = np.zeros((len(samples), 4))
    faces = []
    details = []
    outlines = []
    parameters = []
    for i, sample in enumerate(samples):
        seen = _varied_view(view(sample.landmarks), views[i])
        frame = cv2.imdecode(sample.encoded, cv2.IMREAD_COLOR_RGB)
        face, closely = look(frame, seen)
        faces.append(face)
        details.append(closely)
        parameters.append(normalise(sample.values, seen, sample.size))

        outline = align.face_polygon(align.transform_points(sample.landmarks, seen))
        if variations is not None:
            outline = _varied(outline, variations[i])
        outlines.append(outline)

    counts = np.array([len(outline) for outline in outlines])
    points = np.concatenate(outlines)
    detail_masks = []
    for transform in closer(np.eye(2, 3)):
        inside = align.transform_points(points, transform)
        detail_masks.append(polygon_masks(inside, counts, DETAIL_SIDE))
    return {
        "image": np.stack(faces),
        "mask": polygon_masks(points, counts, SIDE),
        "details": np.stack(details),
        "detail_masks": np.stack(detail_masks, axis=1),
        "parameters": np.stack(parameters),
    }


def _varied_view(transform: align.Transform, draws: Float[np.ndarray, "4"]) -> align.Transform:
    """A view turned, zoomed and moved by draws from -1..1."""
    turn, near, *away = draws
    return _about_centre(
        transform,
        SIDE,
        zoom=1 + _NEAR * near,
        turn=_TURN * turn,
        shift=_AWAY * SIDE * np.array(away),
    )
