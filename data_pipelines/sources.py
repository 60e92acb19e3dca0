"""The face records that an experiment's `config.data` names, by persona."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import ml_collections
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines.records import MANIFEST, SHARDS, Manifest
from faceswap_jax.errors import InputError

OPEN_FILES = 256
"""Shards of a data set that are open at a time; opening one again costs about as much as decoding a small picture."""

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
        resolution: side of the pictures in pixels.
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

    @functools.cached_property
    def _length(self) -> int:
        return sum(self.tracks)

    def part(self, start: int, stop: int) -> "PersonaSource":
        """The records start..stop-1 as a source of their own."""
        ends = list(itertools.accumulate(self.tracks))
        tracks = [
            min(end, stop) - max(end - length, start)
            for end, length in zip(ends, self.tracks, strict=True)
            if min(end, stop) > max(end - length, start)
        ]
        return dataclasses.replace(self, tracks=tracks, first=self.first + start)

    def read(self, index: int, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of a record or, if that is corrupt, of the next intact one, starting over at the end.

        Raises:
            InputError: all records are corrupt.
        """
        for _, value in self.intact(index, parse, range(len(self))):
            return value
        raise InputError(f"All {len(self)} records of persona {self.name} are corrupt; prepare them again.")

    def intact(self, index: int, parse: Callable[[bytes], T], run: range) -> Iterator[tuple[int, T]]:
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
            ends = list(itertools.accumulate(count for _, count in self.files))
            place = f", in {self.files[bisect_right(ends, number)][0]}," if self.files else ""
            logger.warning("Record %d of persona %s%s is corrupt and skipped: %s", number, self.name, place, error)


def split(source: PersonaSource, validation: float) -> tuple[PersonaSource, PersonaSource]:
    """Splits a persona's records into training and validation, at least one record each.

    Validation is the last share of the records: neighbouring frames look alike, so that a random draw would measure
    memory.

    Args:
        source: at least two records.
        validation: share of the records to hold out, 0..1.

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


def open_data(data: ml_collections.ConfigDict) -> Mapping[str, PersonaSource]:
    """One source of face records per persona, by name.

    Args:
        data: what to open, by `kind`:
            "tracks": `path`, a folder made by `faceswap prepare`, and `split`, whose personas to open;
            "tfds": `path`, a data set that `tfds_builder.py` made, and `split`;
            "puppets": `world_seed`, `personas` (their number), `frames` (of each) and `resolution`.

    Raises:
        InputError: another kind, or a folder that holds no sound data set.
    """
    if data.kind == "tracks":
        return _open_tracks(Path(data.path), data.split)
    if data.kind == "tfds":
        from data_pipelines import tfds_builder  # TFDS is slow to import and most runs do without

        return {
            name: PersonaSource(name, records, records.tracks, records.resolution)
            for name, records in tfds_builder.open_tfds(Path(data.path), data.split).items()
        }
    if data.kind == "puppets":
        from data_pipelines.puppets.source import puppet_source  # so is the renderer

        sources = [puppet_source(data.world_seed, p, 0, data.frames, data.resolution) for p in range(data.personas)]
        return {source.name: source for source in sources}
    raise InputError(f"config.data.kind is '{data.kind}'; choose tracks, tfds or puppets.")


def manifest_digest(data: ml_collections.ConfigDict) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of what lists the data's files and their digests; "" for puppets.

    Raises:
        InputError: there is no such file.
    """
    if data.kind == "puppets":
        return ""
    files = [Path(data.path) / MANIFEST] if data.kind == "tracks" else sorted(Path(data.path).rglob("*.json"))
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(file.read_bytes())
        except OSError as error:
            raise InputError(f"{file} cannot be read ({error.strerror}); correct that.") from error
    return digest.hexdigest()[:16]


def _open_tracks(folder: Path, split: str) -> dict[str, PersonaSource]:
    manifest = Manifest.load(folder)
    personas = {name: persona for name, persona in manifest.personas.items() if persona.split == split}
    if not personas:
        splits = Counter(persona.split for persona in manifest.personas.values())
        raise InputError(
            f"{folder} has no persona in the split {split!r}; it has "
            f"{', '.join(f'{count} in {name!r}' for name, count in splits.items()) or 'none at all'}."
        )
    shards = [(folder / SHARDS / shard.file, shard.records) for p in personas.values() for shard in p.shards]
    with ThreadPoolExecutor(16) as pool:  # a data set may have tens of thousands of shards on a distant disk
        list(pool.map(lambda shard: _check_shard(*shard), shards))
    reader = functools.lru_cache(OPEN_FILES)(_open_shard)
    return {
        name: PersonaSource(
            name,
            StoredRecords([(folder / SHARDS / shard.file, shard.records) for shard in persona.shards], reader),
            persona.tracks,
            manifest.resolution,
            [(f"{SHARDS}/{shard.file}", shard.records) for shard in persona.shards],
        )
        for name, persona in personas.items()
    }


class StoredRecords:
    """The records of consecutive ArrayRecord files."""

    def __init__(self, files: Sequence[tuple[Path, int]], reader: Callable[[Path], ArrayRecordReader]):
        self._paths = [path for path, _ in files]
        self._ends = list(itertools.accumulate(count for _, count in files))
        self._reader = reader

    def __len__(self) -> int:
        """Number of records."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> bytes:
        """One record.

        Raises:
            RuntimeError: it or its file is damaged, which ArrayRecord's checksums tell.
            InputError: its file has disappeared.
        """
        file = bisect_right(self._ends, index)
        try:
            return self._reader(self._paths[file]).read([index - self._ends[file - 1] if file else index])[0]
        except RuntimeError as error:
            with contextlib.suppress(OSError):  # of a file system that has gone away
                if self._paths[file].is_file():
                    raise
            raise InputError(
                f"{self._paths[file]} has disappeared; put it back and run the same command again."
            ) from error


def _open_shard(path: Path) -> ArrayRecordReader:
    # Reading ahead serves a sequential reader and multiplies the bytes that a random one reads.
    return ArrayRecordReader(str(path), options="readahead_buffer_size:0", file_reader_buffer_size=32768)


def _check_shard(path: Path, records: int) -> None:
    """Raises InputError unless the file is there and holds so many records."""
    remedy = "`faceswap verify --repair` drops what is broken."
    if not path.is_file():
        raise InputError(f"{path} is missing though {MANIFEST} lists it; {remedy}")
    try:
        found = _open_shard(path).num_records()
    except RuntimeError as error:
        raise InputError(f"{path} is damaged ({error}); {remedy}") from error
    if found != records:
        raise InputError(f"{path} holds {found} records but {MANIFEST} says {records}; {remedy}")
