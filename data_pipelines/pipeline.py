"""From stored or rendered faces to batches, addressed by step.

Element [step] of a data set depends on nothing but the seed and the step: training resumes at any step without the
state of an iterator, and any number of hosts and threads sees the same global batches. So every picture of the endless
stream has a position, and all that is drawn for it comes from a random generator of that position.

A batch is decoded, resized, mirrored and rasterised right into its arrays, one thread per batch. The pictures of a
JPEG are decoded at the smallest half, fourth or eighth of their size that suffices, which libjpeg does in half of the
time and to within rounding (0.5 grey levels rms) of what averaging the full picture gives.
"""

import contextlib
import dataclasses
import functools
import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypedDict, TypeVar

import cv2
import grain
import msgpack
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8, UInt16

from data_pipelines.records import FaceRecord, decode
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import MIRROR

ENDLESS = 2**48
"""Steps of a data set."""

MASK_SUPERSAMPLING = 4
"""Of masks, along each axis: a power of two."""

# With IMREAD_COLOR_RGB, "grayscale" is the name of the bit that shrinks.
_SHRINK = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: 0,
}
_ORDER, _AUGMENTATION, _PAIRS = range(3)  # separate random streams of one seed
T = TypeVar("T")


class Pictures(TypedDict):
    """Aligned faces, RGB; "..." stands for the axes of the batch.

    Attributes:
        image: the faces.
        mask: the share of each pixel of `image` that the face polygon covers, 0..255.
        landmarks: (x, y) in pixels of `image`, iBUG order.
        irises: (x, y) of the person's right and left iris in pixels of `image`; NaN where nobody knows.
        pose: yaw, pitch, roll of the head in degrees, in the frame that the face was cut from; a mirrored or turned
            `image` counts as cut from a mirrored or turned frame.
    """

    image: UInt8[np.ndarray, "... r r 3"]
    mask: UInt8[np.ndarray, "... r r"]
    landmarks: Float32[np.ndarray, "... 68 2"]
    irises: Float32[np.ndarray, "... 2 2"]
    pose: Float32[np.ndarray, "... 3"]


class Batch(Pictures):
    """One step's pictures [persona, batch, ...].

    Attributes:
        input: what a model sees: `image`, its points displaced by a smooth random field. Mask and landmarks are those
            of `image`, which the model should produce.
    """

    input: UInt8[np.ndarray, "persona batch r r 3"]


class Identified(Pictures):
    """Pictures and whose they are: the index of the source."""

    identity: Int32[np.ndarray, "batch"]


class PairedBatch(TypedDict):
    """One step's pictures [batch, ...] for systems that learn from two frames of one track.

    Attributes:
        source: a frame.
        driving: another frame of its track, mirrored if the source is.
        other: a frame of another identity.
    """

    source: Identified
    driving: Identified
    other: Identified


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Strengths of a random similarity of picture, mask, landmarks and irises together, each drawn from ± its value.

    Attributes:
        rotation: degrees.
        scale: enlargement; 0.05 makes 0.95 to 1.05.
        shift: along each axis, picture widths.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0

    @property
    def strengths(self) -> tuple[float, float, float, float]:
        """Of rotation, scale and the shifts along x and y."""
        return self.rotation, self.scale, self.shift, self.shift


def persona_batches(
    sources: Sequence[PersonaSource],
    *,
    resolution: int,
    batch: int,
    seed: int,
    host: int = 0,
    hosts: int = 1,
    mirror: bool = True,
    jitter: Jitter | None = None,
    warp: float = 0.0,
) -> grain.MapDataset[Batch]:
    """Endless data set whose element [step] is this host's share of the global batch of that step.

    Every persona's records are shuffled anew in each epoch, each persona in its own order.

    Args:
        sources: one per persona.
        resolution: side of the pictures in pixels, at most that of the records.
        batch: pictures per persona in the global batch, divisible by hosts.
        seed: of order and augmentation.
        host: index of this host in 0..hosts-1.
        hosts: number of hosts that share the global batch: host h has its pictures h, h + hosts, ...
        mirror: whether every second picture, by chance, is mirrored.
        jitter: random similarity of everything.
        warp: strength of the smooth random deformation of `input`: standard deviation of the displacement of a 4 x 4
            grid of points, in picture widths.

    Raises:
        InputError: batch is not divisible by hosts, or the records are smaller than resolution; on access, all
            records of a persona are corrupt.
    """
    _check(sources, resolution, batch, hosts)
    for source in sources:
        if not len(source):
            raise InputError(f"Persona {source.name} has no pictures; add some or leave the persona out.")
    moved = jitter is not None and any(jitter.strengths)
    orders = [_order(len(source), (seed, _ORDER, p)) for p, source in enumerate(sources)]

    def load(step: int) -> Batch:
        pictures = _empty(resolution, len(sources), batch // hosts)
        pictures["input"] = np.empty_like(pictures["image"]) if warp else pictures["image"]
        for p, source in enumerate(sources):
            rng = np.random.default_rng(
                (seed, _AUGMENTATION, p, step)
            )  # draws for all hosts, each of which takes its share
            mirrored = mirror & (rng.random(batch) < 0.5)
            similarities = rng.uniform(-1, 1, (batch, 4)) * jitter.strengths if moved else None
            fields = rng.normal(0, warp * resolution, (batch, 4, 4, 2)) if warp else None
            for b, drawn in enumerate(range(host, batch, hosts)):
                slot = {name: array[p, b] for name, array in pictures.items()}
                face = source.read(orders[p](step * batch + drawn), _parser(source, resolution))
                _write(slot, face, mirrored[drawn], similarities[drawn] if moved else None)
                if warp:
                    slot["input"][...] = _warped(slot["image"], fields[drawn])
        return pictures

    return grain.MapDataset.range(ENDLESS).map(load)


def paired_batches(
    sources: Sequence[PersonaSource],
    *,
    resolution: int,
    batch: int,
    seed: int,
    host: int = 0,
    hosts: int = 1,
    mirror: bool = True,
) -> grain.MapDataset[PairedBatch]:
    """Endless data set of two frames of one track and a frame of another identity, addressed as `persona_batches`.

    Identities are equally likely, whatever their number of records, because the losses compare identities. Of an
    identity's records in tracks of two or more, each is equally likely to be the source; so a track counts by its
    length, and fragments of a few frames, which hardly differ, do not crowd out the long ones. The other frames of
    its track are equally likely to drive, all records of another identity to be the other frame.

    The index is made of the lengths of tracks alone and takes 16 bytes per track.

    Args:
        sources: one per identity.
        resolution: side of the pictures in pixels, at most that of the records.
        batch: elements of the global batch, divisible by hosts.
        seed: of what is drawn.
        host: index of this host in 0..hosts-1.
        hosts: number of hosts that share the global batch: host h has its elements h, h + hosts, ...
        mirror: whether every second element, by chance, is mirrored; its other frame has a chance of its own.

    Raises:
        InputError: batch is not divisible by hosts, the records are smaller than resolution, there are fewer than two
            identities, or no track has two records; on access, an identity's records are corrupt.
    """
    _check(sources, resolution, batch, hosts)
    present = [i for i, source in enumerate(sources) if len(source)]
    if len(present) < 2:
        raise InputError(
            f"The data have {len(present)} identities with pictures, but pairs need two; add clips of another person."
        )
    tracks = [(i, index) for i in present if (index := _Tracks(sources[i].tracks)).records]
    if not tracks:
        raise InputError("No face track of the data has two records; prepare longer clips.")

    def load(step: int) -> PairedBatch:
        pairs = {role: _empty(resolution, batch // hosts) for role in PairedBatch.__annotations__}
        for pictures in pairs.values():
            pictures["identity"] = np.empty(batch // hosts, np.int32)
        draws = np.random.default_rng((seed, _PAIRS, step)).random((batch, 7))
        for b, draw in enumerate(draws[host::hosts].tolist()):
            one, index = tracks[int(draw[0] * len(tracks))]
            other = int(draw[1] * (len(present) - 1))
            other = present[other + (other >= bisect_left(present, one))]
            mine, theirs = sources[one], sources[other]
            source, driving = _pair(mine, index, draw[2], draw[3], _parser(mine, resolution))
            stranger = theirs.read(int(draw[4] * len(theirs)), _parser(theirs, resolution))
            for role, identity, face, chance in (
                ("source", one, source, draw[5]),
                ("driving", one, driving, draw[5]),
                ("other", other, stranger, draw[6]),
            ):
                pairs[role]["identity"][b] = identity
                _write({name: array[b] for name, array in pairs[role].items()}, face, mirror and chance < 0.5)
        return pairs

    return grain.MapDataset.range(ENDLESS).map(load)


def iterate(
    dataset: grain.MapDataset, start: int, stop: int, *, threads: int = 2
) -> contextlib.closing[grain.DatasetIterator]:
    """Batches of the steps start..stop-1, prefetched by threads; use it in a `with` statement."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return contextlib.closing(iter(dataset[start:stop].to_iter_dataset(options)))


def _check(sources: Sequence[PersonaSource], resolution: int, batch: int, hosts: int) -> None:
    if batch % hosts:
        raise InputError(f"A batch of {batch} does not divide among {hosts} hosts; make it a multiple of {hosts}.")
    for source in sources:
        if source.resolution < resolution:
            raise InputError(
                f"The pictures of persona {source.name} have {source.resolution} px, but {resolution} px are wanted; "
                f"train at {source.resolution} px or prepare the data with --resolution {resolution}."
            )


def _order(length: int, seed: tuple[int, ...]) -> Callable[[int], int]:
    """A function from positions of a stream to numbers 0..length-1: each once per epoch, shuffled anew in each.

    Grain's own shuffle needs no memory, but takes longer than decoding a picture where a persona has few records.
    """

    @functools.lru_cache(4)
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng((*seed, epoch)).permutation(length).astype(np.uint32)

    def order(position: int) -> int:
        epoch, place = divmod(position, length)
        return int(permutation(epoch)[place])

    return order


class _Tracks:
    """Where the records of a persona's tracks of two and more lie."""

    def __init__(self, lengths: Sequence[int]):
        lengths = np.asarray(lengths, np.int64)
        starts = np.cumsum(lengths) - lengths
        moving = lengths >= 2
        self._starts, self._ends = starts[moving], np.cumsum(lengths[moving])
        self.records = int(lengths[moving].sum())

    def runs(self, draw: int) -> Iterator[tuple[int, range]]:
        """Yields the number of record `draw` of these and the run of its track, then the other tracks' first ones."""
        drawn = int(np.searchsorted(self._ends, draw, "right"))
        for track in itertools.chain(range(drawn, len(self._ends)), range(drawn)):
            before = int(self._ends[track - 1]) if track else 0
            start, length = int(self._starts[track]), int(self._ends[track]) - before
            yield start + (draw - before if track == drawn else 0), range(start, start + length)


def _pair(source: PersonaSource, tracks: _Tracks, draw: float, gap: float, parse: Callable[[bytes], T]) -> tuple[T, T]:
    """Two different intact records of one track, or of the next track that has them.

    Args:
        source: of the records.
        tracks: of the source.
        draw: of 0..1, decides on the first record.
        gap: of 0..1, decides how far ahead the second one is.
        parse: decodes a record.

    Raises:
        InputError: no track has two intact records.
    """
    for start, run in tracks.runs(int(draw * tracks.records)):
        for number, face in source.intact(start, parse, run):
            ahead = number - run.start + 1 + int(gap * (len(run) - 1))
            for partner, driving in source.intact(run[ahead % len(run)], parse, run):
                if partner != number:
                    return face, driving
            break
    raise InputError(f"No face track of persona {source.name} has two intact records; prepare them again.")


class _Face(NamedTuple):
    """A decoded record; its picture may be smaller than the `size` px whose pixels the points are in."""

    record: FaceRecord
    image: UInt8[np.ndarray, "s s 3"] | UInt16[np.ndarray, "s s 3"]
    size: int


def _parser(source: PersonaSource, wanted: int) -> Callable[[bytes], _Face]:
    return functools.partial(_parse, size=source.resolution, wanted=wanted)


def _parse(data: bytes, size: int, wanted: int) -> _Face:
    """Decodes a record, its picture no larger than need be for a side of `wanted`.

    Raises:
        ValueError: the data are damaged, or the stored picture has not the side `size`.
    """
    record = decode(data, image=False)
    if len(record.polygon) < 3 or not (np.isfinite(record.polygon).all() and np.isfinite(record.landmarks).all()):
        raise ValueError("its landmarks or outline are no numbers")
    encoded = msgpack.unpackb(data)["image"]
    # Only JPEG is shrunk by its decoder; OpenCV decodes others in full and then drops pixels.
    shrink = next(k for k in _SHRINK if size >= k * wanted) if encoded.startswith(b"\xff\xd8") else 1
    flags = _SHRINK[shrink] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"its picture cannot be decoded ({error.err})") from error
    if image is None:
        raise ValueError("its picture cannot be decoded")
    if image.shape[:2] != (size // shrink,) * 2:
        raise ValueError(f"its picture has not {size} x {size} px")
    return _Face(record, image, size)


def _empty(resolution: int, *axes: int) -> dict[str, np.ndarray]:
    """Arrays of `Pictures`, to be filled."""
    return {
        "image": np.empty((*axes, resolution, resolution, 3), np.uint8),
        "mask": np.empty((*axes, resolution, resolution), np.uint8),
        "landmarks": np.empty((*axes, 68, 2), np.float32),
        "irises": np.empty((*axes, 2, 2), np.float32),
        "pose": np.empty((*axes, 3), np.float32),
    }


def _write(
    slot: Mapping[str, np.ndarray], face: _Face, mirrored: bool, similarity: Sequence[float] | None = None
) -> None:
    """Writes one face into its place in the arrays of a batch.

    Args:
        slot: views of these arrays.
        face: what to write.
        mirrored: whether to mirror it.
        similarity: of everything: degrees clockwise, enlargement (0: none), shift along x and y in picture widths.
    """
    record, side = face.record, len(slot["mask"])
    yaw, pitch, roll = record.pose
    scale = side / face.size
    shift = (scale - 1) / 2  # pixels are scaled about the picture's outer corner, (-0.5, -0.5)
    transform = np.array([[scale, 0, shift], [0, scale, shift]])
    if mirrored:
        transform[0] = -scale, 0, side - 1 - shift
        yaw, roll = -yaw, -roll
    if similarity is None:
        image = face.image if len(face.image) == side else align.resize(face.image, side)
        image = cv2.flip(image, 1) if mirrored else image
    else:
        roll += similarity[0]
        transform = _compose(_similarity(*similarity, side), transform)
        enlarged = align.scale_transform(np.eye(2, 3), face.size / len(face.image))
        image = align.warp(face.image, _compose(transform, enlarged), side, side)
    points = align.transform_points(np.concatenate([record.landmarks, record.irises, record.polygon]), transform)
    landmarks, irises, polygon = points[:68], points[68:70], points[70:]
    slot["image"][...] = image if image.dtype == np.uint8 else cv2.convertScaleAbs(image, alpha=255 / 65535)
    slot["mask"][...] = polygon_mask(polygon, side)
    slot["landmarks"][...] = landmarks[MIRROR] if mirrored else landmarks
    slot["irises"][...] = irises[::-1] if mirrored else irises
    slot["pose"][...] = yaw, pitch, roll


def _compose(outer: Float[np.ndarray, "2 3"], inner: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """The transform that does `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _similarity(degrees: float, enlargement: float, x: float, y: float, side: int) -> Float[np.ndarray, "2 3"]:
    """Turns a picture clockwise and enlarges it about its middle, then shifts it by (x, y) picture widths."""
    cosine, sine = (1 + enlargement) * np.cos(np.deg2rad(degrees)), (1 + enlargement) * np.sin(np.deg2rad(degrees))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    middle = np.full(2, (side - 1) / 2)
    return np.column_stack([linear, middle + side * np.array([x, y]) - linear @ middle])


def polygon_mask(polygon: Float32[np.ndarray, "n 2"], side: int) -> UInt8[np.ndarray, "r r"]:
    """The share of each pixel that a polygon covers, 0..255.

    Several times as fast as `align.polygon_mask` and nearly as exact: 0.08 rms in the pixels that the outline of a
    face passes, where that has 0.06. OpenCV also fills the pixels on the outline, so it is first moved in by half of a
    fine pixel. Of all reductions halving is the fast one.
    """
    mask = np.zeros((side, side), np.uint8)
    low, high = polygon.min(0).tolist(), polygon.max(0).tolist()
    left, top = (max(int(edge) - 1, 0) for edge in low)
    right, bottom = (min(int(edge) + 3, side) for edge in high)
    if left >= right or top >= bottom:
        return mask
    outline = (polygon + np.float32([0.5 - left, 0.5 - top])) * MASK_SUPERSAMPLING - 0.5
    inwards = outline.sum(0) / len(outline) - outline
    outline += inwards * (0.5 / np.maximum(np.sqrt(np.square(inwards).sum(1, keepdims=True)), 1))
    bits = 8  # of the fixed-point vertices
    box = np.zeros(((bottom - top) * MASK_SUPERSAMPLING, (right - left) * MASK_SUPERSAMPLING), np.uint8)
    cv2.fillPoly(box, [np.rint(outline * 2**bits).astype(np.int32)], 255, shift=bits)
    while len(box) > bottom - top:
        box = cv2.resize(box, (box.shape[1] // 2, box.shape[0] // 2), interpolation=cv2.INTER_AREA)
    mask[top:bottom, left:right] = box
    return mask


def _warped(image: UInt8[np.ndarray, "r r 3"], displacements: Float[np.ndarray, "n n 2"]) -> UInt8[np.ndarray, "r r 3"]:
    """The picture with its points displaced by a smooth field through a grid of displacements, pixels."""
    side = len(image)
    field = cv2.resize(displacements.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    pixels = np.arange(side, dtype=np.float32)
    field[..., 0] += pixels
    field[..., 1] += pixels[:, None]
    return cv2.remap(image, field, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
