"""All records of a data set under one running number, and the choice of a few of them to look at."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from data_pipelines.records import SHARDS, FaceRecord, Manifest, Persona, decode
from faceswap_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All records of a data set under one running number.

    Attributes:
        personas: with their names, in the order of the manifest.
        begins: number of the first record of each persona, and at last of all records.
        paths: of all shards.
        ends: number after the last record of each shard.
    """

    personas: list[tuple[str, Persona]]
    begins: list[int]
    paths: list[Path]
    ends: list[int]

    @classmethod
    def of(cls, directory: Path, manifest: Manifest) -> "Catalogue":
        """Lists the records that a manifest names; opens no file."""
        personas = list(manifest.personas.items())
        begins = [0]
        paths = []
        ends = []
        total = 0
        for _, persona in personas:
            for shard in persona.shards:
                total += shard.records
                paths.append(directory / SHARDS / shard.file)
                ends.append(total)
            begins.append(total)
        return cls(personas, begins, paths, ends)

    @property
    def total(self) -> int:
        """Number of records."""
        return self.begins[-1]

    @property
    def stored_bytes(self) -> int:
        """Size of all shards that are there."""
        return sum(path.stat().st_size for path in self.paths if path.is_file())

    def read(self, wanted: Iterable[int], *, image: bool) -> Iterator[tuple[int, FaceRecord]]:
        """Yields the wanted records that can be read, with their numbers, in order.

        Args:
            wanted: numbers of records.
            image: whether to decode the images too.
        """
        # Sorted, so that each shard is opened once.
        numbers = np.unique(np.fromiter(wanted, np.int64))
        shards = np.searchsorted(self.ends, numbers, side="right")
        for shard in np.unique(shards):
            try:
                source = ArrayRecordDataSource(os.fspath(self.paths[shard]))
            except (RuntimeError, ValueError):
                continue
            begin = self.ends[shard - 1] if shard else 0
            with source:
                for number in numbers[shards == shard].tolist():
                    try:
                        record = decode(source[number - begin], image=image)
                    except (RuntimeError, ValueError, InputError):
                        continue
                    yield number, record

    def spread(self, p: int, most: int) -> list[int]:
        """Returns at most `most` numbers of records of the persona at position p, evenly spread."""
        begin, end = self.begins[p : p + 2]
        return [begin + i for i in spread(end - begin, most)]

    def spread_over_tracks(self, p: int, most: int) -> list[int]:
        """Returns the same, but about as many numbers of each track as of any other."""
        _, persona = self.personas[p]
        return [self.begins[p] + i for i in spread_over_tracks(persona.tracks, most)]


def spread(count: int, most: int) -> list[int]:
    """Returns at most `most` of the numbers 0..count - 1, evenly spread."""
    most = min(count, most)
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]


def spread_over_tracks(tracks: Sequence[int], most: int) -> list[int]:
    """Returns at most `most` records of tracks of these lengths, as many of each track as can be."""
    # The least number per track that gives enough; tracks shorter than it give all they have.
    per_track = 1
    while per_track < most and sum(min(length, per_track) for length in tracks) < most:
        per_track += 1

    chosen = []
    begin = 0
    for length in tracks:
        chosen += [begin + i for i in spread(length, per_track)]
        begin += length
    return [chosen[i] for i in spread(len(chosen), most)]
