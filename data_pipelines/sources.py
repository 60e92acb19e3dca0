"""One persona's face records, in the order of their tracks; corrupt ones are skipped."""

import dataclasses
import functools
import itertools
import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from data_pipelines.records import stored_side
from faceswap_jax.errors import InputError

logger = logging.getLogger(__name__)
_lock = threading.Lock()  # so that of several threads one is the first to meet a corrupt record
T = TypeVar("T")


class Records(Protocol):
    """Random access to encoded face records, as `records.encode` gives them; reading one may raise RuntimeError,
    OSError or ValueError, which says that this record is damaged.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> bytes: ...


@dataclasses.dataclass(frozen=True, eq=False)
class PersonaSource:
    """The face records of one persona, track after track, in the order of time within a track.

    Corrupt records are met when they are read. Each is named in one warning and replaced by the next intact one, always
    the same, so that the other elements of a data set stay what they are.

    Attributes:
        name: of the persona.
        records: where they are.
        tracks: number of records of each face track, in order.
        resolution: side in pixels of the crops that the records are made for; their images are larger, see `side`.
        files: name of each file behind the records, with the number of its records, in order.
        first: number in `records` of the first record of this source.
        corrupt: what is wrong with each corrupt record met so far, by its number in `records`; a source and its parts
            share it.
    """

    name: str
    records: Records
    tracks: Sequence[int]
    resolution: int
    files: Sequence[tuple[str, int]] = ()
    first: int = 0
    corrupt: dict[int, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Number of records."""
        return self._length

    @property
    def side(self) -> int:
        """Side of the stored images in pixels."""
        return stored_side(self.resolution)

    @functools.cached_property
    def _length(self) -> int:
        return sum(self.tracks)

    def part(self, start: int, stop: int) -> "PersonaSource":
        """The records start..stop-1 as a source of their own."""
        tracks = []
        end = 0
        for length in self.tracks:
            begin, end = end, end + length
            inside = min(end, stop) - max(begin, start)
            if inside > 0:
                tracks.append(inside)
        return dataclasses.replace(self, tracks=tracks, first=self.first + start)

    def read(self, index: int, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of a record or, if that is corrupt, of the next intact one, starting over at the end.

        Raises:
            InputError: all records are corrupt.
        """
        for _, value in self.intact(index, parse, range(len(self))):
            return value
        raise InputError(
            f"All {len(self)} records of persona {self.name} are corrupt; prepare them again."
        )

    def intact(
        self, index: int, parse: Callable[[bytes], T], run: range
    ) -> Iterator[tuple[int, T]]:
        """Yields (number, parsed record) of the intact records of a run, from `index` on, starting over at its end.

        Args:
            index: where to begin, in `run`.
            parse: turns the bytes of a record into what is wanted, or raises ValueError if they are damaged.
            run: numbers of consecutive records.
        """
        for number in itertools.chain(range(index, run.stop), range(run.start, index)):
            if self.first + number in self.corrupt:
                continue
            try:
                value = parse(self.records[self.first + number])
            except (RuntimeError, OSError, ValueError) as error:
                self._skip(self.first + number, error)
            else:
                yield number, value

    def _skip(self, number: int, error: Exception) -> None:
        with _lock:
            known = number in self.corrupt
            self.corrupt[number] = str(error)
        if not known:
            place = ""
            if self.files:
                ends = list(itertools.accumulate(count for _, count in self.files))
                file, _ = self.files[bisect_right(ends, number)]
                place = f", in {file},"
            logger.warning(
                "Record %d of persona %s%s is corrupt and skipped: %s",
                number,
                self.name,
                place,
                error,
            )


def split(source: PersonaSource, validation: float) -> tuple[PersonaSource, PersonaSource]:
    """Splits a persona's records into training and validation, at least one record each.

    Validation takes the last records: neighbouring frames look alike, so a random draw would measure memory.

    Args:
        source: at least two records.
        validation: fraction of the records to hold out, 0..1.

    Raises:
        InputError: there are fewer than two records.
    """
    count = len(source)
    if count < 2:
        pictures = "only one picture" if count else "no picture"
        raise InputError(
            f"Persona {source.name} has {pictures}, but training and validation need one each; add pictures."
        )
    held_out = min(max(round(validation * count), 1), count - 1)
    return source.part(0, count - held_out), source.part(count - held_out, count)
