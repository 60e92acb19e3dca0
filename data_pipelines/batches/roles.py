"""Who and what a batch shows: the records of its elements, named from the seed and the step alone.

A sampler says how many frames an element has and which of them belong together: a group of frames is taken from one
run of one identity's records. `Personas`, `Identities` and `Roles` are the samplers.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np

from data_pipelines.batches.addresses import epoch_order
from data_pipelines.records import decode
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError

# Separate random streams of one seed
_RECORDS, _IDENTITIES, _ROLES, AUGMENTATION = range(4)


class Group(NamedTuple):
    """Frames of one identity.

    Attributes:
        source: index of the identity.
        runs: pairs (first record, run of records that all are taken from); the next pair counts if a run has too few
            intact records.
        gaps: of 0..1, one for each frame after the first: how far away in the run it lies.
    """

    source: int
    runs: Iterable[tuple[int, range]]
    gaps: Sequence[float] = ()


Choose = Callable[[int, slice], Iterator[list[Group]]]
"""From a step and the host's slice to the groups of each element."""


class Sampler(Protocol):
    """Decides what the elements of a batch show."""

    def groups(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """Frames in each group of an element."""
        ...

    def parts(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """Frames in each part of an element, in the order of the groups; the frames of a part lie side by side."""
        ...

    @property
    def cut_together(self) -> bool:
        """Whether the frames of all groups are cut where those of the first are, and vary as they do."""
        ...

    def chooser(self, sources: Sequence[PersonaSource], batch: int, seed: int) -> Choose:
        """The choice for every step.

        Raises:
            InputError: the sources cannot fill the groups.
        """
        ...

    def arrange(self, arrays: dict[str, np.ndarray], sources: Sequence[PersonaSource]) -> dict:
        """The batch, from arrays whose leading axis has each part of all elements, part after part."""
        ...


@dataclass(frozen=True)
class Personas:
    """A row of frames for every persona, or for some: arrays [persona, batch, ...].

    Every persona's records come once, in random order, before any comes again, each persona in its own order.

    Attributes:
        some: how many personas a step shows, a divisor of their number; all if None. Every persona comes once, in
            random order, before any comes again.
        shuffled: whether some come in random order; if not, in that of the sources.
        together: whether a step's personas are neighbours and show records of the same number, which are of the same
            performance.
    """

    some: int | None = None
    shuffled: bool = True
    together: bool = False

    cut_together = False

    def groups(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """One frame of each persona."""
        return (1,) * (self.some or len(sources))

    parts = groups

    def chooser(self, sources: Sequence[PersonaSource], batch: int, seed: int) -> Choose:
        """The choice for every step.

        Raises:
            InputError: a persona has no records, or neighbours do not show the same performances.
        """
        _check_present(sources)
        count = self.some or len(sources)
        # Neighbours that come together have one place, and one order, in common.
        side_by_side = count if self.together else 1
        places = len(sources) // side_by_side
        if self.together:
            _check_together(sources, count, "together", "False")

        runs = [range(len(source)) for source in sources]
        orders = [
            epoch_order(len(run), (seed, _RECORDS, p // side_by_side)) for p, run in enumerate(runs)
        ]
        place = int
        if self.some and self.shuffled:
            place = epoch_order(places, (seed, _IDENTITIES))

        def choose(step: int, own: slice) -> Iterator[list[Group]]:
            # All personas have had as many turns as there were epochs of them.
            turn = step * count // len(sources)
            drawn = range(step * count // side_by_side, (step + 1) * count // side_by_side)
            chosen = [
                place(k) % places * side_by_side + i for k in drawn for i in range(side_by_side)
            ]
            # Positions in the streams of a persona's batches, one after the other
            for position in range(turn * batch, (turn + 1) * batch)[own]:
                yield [Group(p, [(orders[p](position), runs[p])]) for p in chosen]

        return choose

    def arrange(self, arrays: dict[str, np.ndarray], sources: Sequence[PersonaSource]) -> dict:
        """Arrays [persona, batch, ...]."""
        return {
            name: array.reshape(self.some or len(sources), -1, *array.shape[1:])
            for name, array in arrays.items()
        }


@dataclass(frozen=True)
class Identities:
    """Frames of one identity: arrays [batch * frames, ...], those of an identity side by side.

    Every identity comes once, in random order, before any comes again, whatever its number of records, and its first
    frame shows each of its records once before it repeats one. Its other records are equally likely as the other
    frames, none twice.

    Or frames of several neighbours: arrays [batch * neighbours * frames, ...], of each the records of the same numbers,
    which have all in common but face and expression.

    Attributes:
        frames: of an identity.
        neighbours: so many come together, side by side.
    """

    frames: int = 1
    neighbours: int = 1

    def groups(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """Frames of each identity."""
        return (self.frames,) * self.neighbours

    def parts(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """All side by side."""
        return (self.frames * self.neighbours,)

    @property
    def cut_together(self) -> bool:
        """Whether there are neighbours."""
        return self.neighbours > 1

    def chooser(self, sources: Sequence[PersonaSource], batch: int, seed: int) -> Choose:
        """The choice for every step.

        Raises:
            InputError: an identity has too few records, or neighbours do not show the same.
        """
        _check_present(sources, self.frames)
        if self.cut_together:
            _check_together(sources, self.neighbours, "alike", "1")
        places = len(sources) // self.neighbours
        place = epoch_order(places, (seed, _IDENTITIES))
        runs = [range(len(source)) for source in sources]
        orders = [
            epoch_order(len(runs[p * self.neighbours]), (seed, _RECORDS, p)) for p in range(places)
        ]

        def choose(step: int, own: slice) -> Iterator[list[Group]]:
            # Chances of the global batch, of which the host takes its slice
            rng = np.random.default_rng((seed, _ROLES, step))
            gaps = rng.random((batch, self.frames - 1))[own].tolist()
            # Positions in the stream of identities, or of those who are neighbours
            positions = range(step * batch, (step + 1) * batch)[own]
            for position, gap in zip(positions, gaps, strict=True):
                p = place(position)
                # An identity has had as many turns as there were epochs of identities.
                record = orders[p](position // places)
                first = p * self.neighbours
                shown = range(first, first + self.neighbours)
                yield [Group(i, [(record, runs[i])], gap) for i in shown]

        return choose

    def arrange(self, arrays: dict[str, np.ndarray], sources: Sequence[PersonaSource]) -> dict:
        """Arrays [batch * frames, ...], or [batch * neighbours * frames, ...]."""
        return arrays


@dataclass(frozen=True)
class Roles:
    """Frames of one track as source and as driving frames, and frames of another identity.

    A batch has an entry per role, whose arrays are [batch, frame, ...], also where a role has a single frame.

    Identities are equally likely, whatever their number of records, because losses compare identities. Each of an
    identity's records in long enough tracks is equally likely to be the first frame; so a track counts by its length,
    and fragments of a few frames, which hardly differ, do not crowd out the long ones. The other records of its track
    are equally likely as the other frames, none twice. The frames of the other identity are of one track, too.

    Attributes:
        source: frames that show who.
        driving: frames of the same track that show what the face does.
        other: frames of another identity.
    """

    source: int = 1
    driving: int = 1
    other: int = 0

    cut_together = False

    def groups(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """Source and driving frames; the frames of the other identity, if any are wanted."""
        together = self.source + self.driving
        return (together, self.other) if self.other else (together,)

    def parts(self, sources: Sequence[PersonaSource]) -> tuple[int, ...]:
        """Frames of each role."""
        return (self.source, self.driving, self.other)

    def chooser(self, sources: Sequence[PersonaSource], batch: int, seed: int) -> Choose:
        """The choice for every step.

        The index holds the lengths of tracks alone: 5 MB for 7,000 identities, 140,000 tracks and 10 million records.

        Raises:
            InputError: no track is long enough, or no other identity has one.
        """
        counts = self.groups(sources)
        tracks = [_long_tracks(sources, count) for count in counts]
        eligible = [list(index) for index in tracks]
        if self.other and len(eligible[1]) < 2:
            raise InputError(
                f"Only one identity of the data has a face track of {self.other} or more images, "
                "but two are needed; add clips of another person."
            )

        def choose(step: int, own: slice) -> Iterator[list[Group]]:
            # Chances of the global batch, of which the host takes its slice
            rng = np.random.default_rng((seed, _ROLES, step))
            identities = rng.random((batch, len(counts)))[own].tolist()
            records = [rng.random((batch, count))[own].tolist() for count in counts]
            for b, who in enumerate(identities):
                first = _pick(eligible[0], who[0])
                chosen = [first]
                if self.other:
                    chosen.append(_pick(eligible[1], who[1], without=first))
                yield [
                    _track_group(i, index[i], drawn[b])
                    for i, index, drawn in zip(chosen, tracks, records, strict=True)
                ]

        return choose

    def arrange(self, arrays: dict[str, np.ndarray], sources: Sequence[PersonaSource]) -> dict:
        """Arrays [batch, frame, ...] for every role that has frames."""
        counts = {name: count for name, count in vars(self).items() if count}
        batch, start = {}, 0
        elements = len(next(iter(arrays.values()))) // sum(counts.values())
        for role, count in counts.items():
            stop = start + elements * count
            batch[role] = {
                name: array[start:stop].reshape(elements, count, *array.shape[1:])
                for name, array in arrays.items()
            }
            start = stop
        return batch


def read_group(
    source: PersonaSource, group: Group, parse: Callable[[int, bytes], None]
) -> list[int]:
    """Reads the frames of a group.

    Corrupt records are replaced by the next intact ones of their run, each record serving once. So the other frames
    stay what they are, unless the run has too few intact records: then all are taken from the next run.

    Args:
        source: of the identity.
        group: what to read.
        parse: takes the number of the frame within the group and its record, or raises ValueError if that is damaged.

    Returns:
        The numbers of the records.

    Raises:
        InputError: no run has enough intact records.
    """
    for first, run in group.runs:
        numbers = _distinct(first, run, group.gaps)
        used = set(numbers)
        for frame, number in enumerate(numbers):
            found = _read_free(source, number, run, used, partial(parse, frame))
            if found is None:
                break
            numbers[frame] = found
        else:  # all frames are read
            return numbers
    count = len(group.gaps) + 1
    wanted = f"{count} intact records" if count > 1 else "an intact record"
    raise InputError(
        f"No face track of persona {source.name} has {wanted}; prepare the data again."
    )


def _read_free(
    source: PersonaSource,
    number: int,
    run: range,
    used: set[int],
    parse: Callable[[bytes], None],
) -> int | None:
    """Reads a record or, if it is corrupt, the next intact one that is free.

    Returns:
        The number of the record; None if there is none.
    """
    for found, _ in source.intact(number, parse, run):
        if found == number or found not in used:
            used.add(found)
            return found
    return None


def _distinct(first: int, run: range, gaps: Sequence[float]) -> list[int]:
    """The first record and one for each gap, no record twice; with gaps evenly drawn, each is equally likely."""
    numbers, taken = [first], [first]
    for gap in gaps:
        # Counts through the records that are not taken yet.
        number = run.start + int(gap * (len(run) - len(taken)))
        for other in taken:
            if other <= number:
                number += 1
        numbers.append(number)
        taken = sorted(numbers)
    return numbers


def _check_present(sources: Sequence[PersonaSource], least: int = 1) -> None:
    for source in sources:
        if len(source) < least:
            has = f"only {len(source)} of {least}" if len(source) else "no"
            raise InputError(
                f"Persona {source.name} has {has} images; add some or leave the persona out."
            )


def _check_together(sources: Sequence[PersonaSource], count: int, field: str, off: str) -> None:
    """Raises InputError unless each `count` neighbours show the same, as their numbers, first poses and voices tell.

    `field` of config.data asks for this, unless it is `off`; `faceswap puppets` has a flag of that name. Who performs
    together speaks alike; those who are alike have voices of their own, as they have expressions.
    """
    if len(sources) % count:
        raise InputError(
            f"{len(sources)} personas are no groups of {count} neighbours; set config.data.{field}={off}, or change "
            "their number."
        )
    for first in range(0, len(sources), count):
        neighbours = sources[first : first + count]
        records = [one.read(0, decode) for one in neighbours]
        shown = {
            (len(one), *record.frame_size, *record.pose.tolist())
            for one, record in zip(neighbours, records, strict=True)
        }
        voices = {record.sound.tobytes() for record in records}
        if field == "together":
            fits = len(voices) == 1
        else:
            fits = len(voices) == count or not any(record.sound.any() for record in records)
        if len(shown) > 1 or not fits:
            raise InputError(
                f"{neighbours[0].name} and the {count - 1} personas after it are not {field}; set "
                f"config.data.{field}={off}, or make the data by `faceswap puppets --{field} {count}`."
            )


def _pick(eligible: Sequence[int], draw: float, without: int | None = None) -> int:
    """One of the eligible identities, which are in ascending order, by a draw of 0..1; never `without`."""
    place = len(eligible) if without is None else bisect_left(eligible, without)
    excluded = place < len(eligible) and eligible[place] == without
    choice = int(draw * (len(eligible) - excluded))
    if excluded and choice >= place:
        choice += 1
    return eligible[choice]


def _track_group(identity: int, tracks: "_Tracks", draws: Sequence[float]) -> Group:
    """Frames of one track, the first of which decides on the track."""
    first, *gaps = draws
    return Group(identity, tracks.runs(int(first * tracks.records)), gaps)


class _Tracks:
    """Where the records of an identity's long enough tracks lie."""

    def __init__(self, lengths: Sequence[int], least: int):
        lengths = np.asarray(lengths, np.int64)
        starts = np.cumsum(lengths) - lengths
        long_enough = lengths >= least

        # Starts count all records of the identity; ends those of the long enough tracks alone.
        self._starts = starts[long_enough]
        self._ends = np.cumsum(lengths[long_enough])
        self.records = int(lengths[long_enough].sum())

    def runs(self, draw: int) -> Iterator[tuple[int, range]]:
        """Yields record number `draw` of these with its track, then the first record of each other track."""
        drawn = int(np.searchsorted(self._ends, draw, "right"))
        for track in chain(range(drawn, len(self._ends)), range(drawn)):
            before = int(self._ends[track - 1]) if track else 0
            start = int(self._starts[track])
            length = int(self._ends[track]) - before
            first = start + draw - before if track == drawn else start
            yield first, range(start, start + length)


def _long_tracks(sources: Sequence[PersonaSource], least: int) -> dict[int, _Tracks]:
    """The identities that have tracks of `least` or more records, with these.

    Raises:
        InputError: there are none.
    """
    tracks = {}
    for i, source in enumerate(sources):
        index = _Tracks(source.tracks, least)
        if index.records:
            tracks[i] = index
    if not tracks:
        raise InputError(
            f"No face track of the data has {least} or more images; prepare longer clips."
        )
    return tracks
