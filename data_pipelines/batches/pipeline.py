"""From stored or rendered faces to batches, addressed by step.

Element [step] of a data set depends on nothing but the seed and the step: training resumes at any step without the
state of an iterator, and any number of hosts and threads sees the same global batches. Chance is drawn for the global
batch of a step, of which each host takes its share.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict

import grain
import numpy as np
from jaxtyping import Float32, Int32, Shaped, UInt8

from data_pipelines.batches.assembly import Assembly, warped
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError

ENDLESS = 2**48
"""Steps of a data set."""

THREADS = min(os.cpu_count() or 1, 8)
"""Batches made at a time. More bring little: a tenth of the work is Python's, which one thread at a time can do."""

_ORDER, _AUGMENTATION, _PAIRS, _IDENTITIES = range(4)  # separate random streams of one seed


class Pictures(TypedDict):
    """Aligned faces, RGB; "..." stands for the axes of the batch.

    Attributes:
        image: the faces.
        mask: the share of each pixel of `image` that the face polygon covers, 0..255.
        landmarks: (x, y) in pixels of `image`, iBUG order.
        irises: (x, y) of the person's right and left iris in pixels of `image`; NaN where nobody knows.
        pose: yaw, pitch, roll of the head in degrees, in the frame that the face was cut from; a mirrored or turned
            `image` counts as cut from a mirrored or turned frame.
        record: where each face comes from, for people: "ada: scene.mp4, frame 12".
    """

    image: UInt8[np.ndarray, "... r r 3"]
    mask: UInt8[np.ndarray, "... r r"]
    landmarks: Float32[np.ndarray, "... 68 2"]
    irises: Float32[np.ndarray, "... 2 2"]
    pose: Float32[np.ndarray, "... 3"]
    record: Shaped[np.ndarray, "..."]


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
        hosts: number of hosts that share the global batch: each has a run of it, in their order.
        mirror: whether every second picture, by chance, is mirrored.
        jitter: random similarity of everything.
        warp: strength of the smooth random deformation of `input`: standard deviation of the displacement of a 4 x 4
            grid of points, in picture widths.

    Raises:
        InputError: batch is not divisible by hosts, or the records are smaller than resolution; on access, all
            records of a persona are corrupt.
    """
    _check(sources, resolution, batch, hosts)
    _check_present(sources)
    strengths = jitter.strengths if jitter and any(jitter.strengths) else None
    orders = [_order(len(source), (seed, _ORDER, p)) for p, source in enumerate(sources)]
    sizes = np.repeat([source.side for source in sources], batch // hosts)
    all_draws, own = (
        (len(sources), batch),
        share(batch, host, hosts),
    )  # of which each host takes its share

    def load(step: int) -> Batch:
        rng = np.random.default_rng((seed, _AUGMENTATION, step))
        chances = rng.random(all_draws)[:, own].ravel()
        similarities = rng.uniform(-1, 1, (*all_draws, 4))[:, own].reshape(-1, 4)
        assembly = Assembly(
            resolution,
            sizes,
            mirror & (chances < 0.5),
            similarities * strengths if strengths else None,
        )
        positions = range(step * batch, (step + 1) * batch)[own]
        for slot, (p, position) in enumerate(itertools.product(range(len(sources)), positions)):
            sources[p].read(orders[p](position), functools.partial(assembly.add, slot))
        pictures = assembly.finish()
        pictures["input"] = pictures["image"]
        if warp:
            grids = rng.normal(0, warp * resolution, (*all_draws, 4, 4, 2))[:, own].reshape(
                -1, 4, 4, 2
            )
            pictures["input"] = np.stack(list(map(warped, pictures["image"], grids)))
        return {
            name: array.reshape(len(sources), -1, *array.shape[1:])
            for name, array in pictures.items()
        }

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

    The index is made of the lengths of tracks alone: 5 MB for 7,000 identities, 140,000 tracks and 10 million records.

    Args:
        sources: one per identity.
        resolution: side of the pictures in pixels, at most that of the records.
        batch: elements of the global batch, divisible by hosts.
        seed: of what is drawn.
        host: index of this host in 0..hosts-1.
        hosts: number of hosts that share the global batch: each has a run of it, in their order.
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
    tracks = {i: index for i in present if (index := _Tracks(sources[i].tracks)).records}
    if not tracks:
        raise InputError("No face track of the data has two records; prepare longer clips.")
    moving, roles, own = list(tracks), PairedBatch.__annotations__, share(batch, host, hosts)

    def load(step: int) -> PairedBatch:
        draws = np.random.default_rng((seed, _PAIRS, step)).random((batch, 7))[own]
        chosen = []
        for one, other in (draws[:, :2] * (len(moving), len(present) - 1)).astype(int).tolist():
            chosen.append(
                (
                    moving[one],
                    moving[one],
                    present[other + (other >= bisect_left(present, moving[one]))],
                )
            )
        identities = np.array(
            chosen, np.int32
        ).T.ravel()  # all sources, all driving frames, all others
        mirrored = mirror & (draws[:, [5, 5, 6]] < 0.5).T.ravel()
        assembly = Assembly(resolution, np.array([sources[i].side for i in identities]), mirrored)
        for b, (draw, (one, _, other)) in enumerate(zip(draws.tolist(), chosen, strict=True)):
            source, driving, stranger = (
                functools.partial(assembly.add, slot)
                for slot in range(b, len(identities), len(chosen))
            )
            _read_pair(sources[one], tracks[one], draw[2], draw[3], source, driving)
            sources[other].read(int(draw[4] * len(sources[other])), stranger)
        pictures = assembly.finish() | {"identity": identities}
        parts = {name: np.split(array, len(roles)) for name, array in pictures.items()}
        return {
            role: {name: part[k] for name, part in parts.items()} for k, role in enumerate(roles)
        }

    return grain.MapDataset.range(ENDLESS).map(load)


def identity_batches(
    sources: Sequence[PersonaSource],
    *,
    resolution: int,
    batch: int,
    seed: int,
    host: int = 0,
    hosts: int = 1,
    mirror: bool = True,
    jitter: Jitter | None = None,
) -> grain.MapDataset[Identified]:
    """Endless data set of single pictures and whose they are, addressed as `persona_batches`.

    Every identity comes once, in random order, before any comes again, whatever its number of records, and shows each
    of its records once before it repeats one.

    Args:
        sources: one per identity.
        resolution: side of the pictures in pixels, at most that of the records.
        batch: pictures in the global batch, divisible by hosts.
        seed: of order and augmentation.
        host: index of this host in 0..hosts-1.
        hosts: number of hosts that share the global batch: each has a run of it, in their order.
        mirror: whether every second picture, by chance, is mirrored.
        jitter: random similarity of everything.

    Raises:
        InputError: batch is not divisible by hosts, the records are smaller than resolution, or an identity has none;
            on access, all records of an identity are corrupt.
    """
    _check(sources, resolution, batch, hosts)
    _check_present(sources)
    identity = _order(len(sources), (seed, _IDENTITIES))
    orders = [_order(len(source), (seed, _ORDER, i)) for i, source in enumerate(sources)]
    strengths = jitter.strengths if jitter and any(jitter.strengths) else None
    own = share(batch, host, hosts)

    def load(step: int) -> Identified:
        rng = np.random.default_rng((seed, _AUGMENTATION, step))
        chances = rng.random(batch)[own]
        similarities = rng.uniform(-1, 1, (batch, 4))[own]
        positions = range(step * batch, (step + 1) * batch)[own]
        identities = np.array([identity(position) for position in positions], np.int32)
        assembly = Assembly(
            resolution,
            np.array([sources[i].side for i in identities]),
            mirror & (chances < 0.5),
            similarities * strengths if strengths else None,
        )
        for slot, (i, position) in enumerate(zip(identities.tolist(), positions, strict=True)):
            sources[i].read(
                orders[i](position // len(sources)), functools.partial(assembly.add, slot)
            )
        return assembly.finish() | {"identity": identities}

    return grain.MapDataset.range(ENDLESS).map(load)


def without_text(batch: dict) -> dict:
    """The batch as devices take it: with None in place of what it tells people."""
    return {
        name: without_text(part)
        if isinstance(part, dict)
        else None
        if part.dtype.kind == "U"
        else part
        for name, part in batch.items()
    }


def batch_number(step: int, skipped: Sequence[int]) -> int:
    """Number of the batch of the step after `step` steps, when batches are `skipped`, which are in ascending order."""
    for number in skipped:
        step += number <= step
    return step


def iterate(
    dataset: grain.MapDataset,
    start: int,
    stop: int,
    *,
    skipped: Sequence[int] = (),
    threads: int = THREADS,
) -> contextlib.closing[grain.DatasetIterator]:
    """Batches of the steps start..stop-1, prefetched by threads; use it in a `with` statement.

    Args:
        dataset: batches by number.
        start: first step.
        stop: first step after the last.
        skipped: numbers of batches that no step takes, ascending; the steps from there on take the next ones.
        threads: that make batches.
    """
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    steps = grain.MapDataset.range(start, stop).map(
        lambda step: dataset[batch_number(step, skipped)]
    )
    return contextlib.closing(iter(steps.to_iter_dataset(options)))


def share(batch: int, host: int, hosts: int) -> slice:
    """One host's part of a global batch. Laid beside each other the parts are the batch, whatever their number."""
    return slice(host * batch // hosts, (host + 1) * batch // hosts)


def _check(sources: Sequence[PersonaSource], resolution: int, batch: int, hosts: int) -> None:
    if batch % hosts:
        raise InputError(
            f"A batch of {batch} does not divide among {hosts} hosts; make it a multiple of {hosts}."
        )
    for source in sources:
        if source.resolution < resolution:
            raise InputError(
                f"The pictures of persona {source.name} have {source.resolution} px, but {resolution} px are wanted; "
                f"train at {source.resolution} px or prepare the data with --resolution {resolution}."
            )


def _check_present(sources: Sequence[PersonaSource]) -> None:
    for source in sources:
        if not len(source):
            raise InputError(
                f"Persona {source.name} has no pictures; add some or leave the persona out."
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


def _read_pair(
    source: PersonaSource,
    tracks: _Tracks,
    draw: float,
    gap: float,
    first: Callable[[bytes], None],
    second: Callable[[bytes], None],
) -> None:
    """Reads two different intact records of one track, or of the next track that has them.

    Args:
        source: of the records.
        tracks: of the source.
        draw: of 0..1, decides on the first record.
        gap: of 0..1, decides how far ahead the second one is.
        first: takes the first record, or raises ValueError if it is damaged.
        second: takes the second record likewise.

    Raises:
        InputError: no track has two intact records.
    """
    for start, run in tracks.runs(int(draw * tracks.records)):
        for number, _ in source.intact(start, first, run):
            ahead = number - run.start + 1 + int(gap * (len(run) - 1))
            for partner, _ in source.intact(run[ahead % len(run)], second, run):
                if partner != number:
                    return
            break
    raise InputError(
        f"No face track of persona {source.name} has two intact records; prepare them again."
    )
