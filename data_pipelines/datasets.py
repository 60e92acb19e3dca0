"""The face records that an experiment's `config.data` names, by persona."""

import contextlib
import functools
import hashlib
import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_collections
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines.blank import blank_sources
from data_pipelines.records import MANIFEST, SHARDS, Manifest, Shard
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError

OPEN_FILES = 256
"""Shards of a data set that are open at a time; opening one again costs about as much as decoding a small picture."""


def open_data(data: ml_collections.ConfigDict) -> Mapping[str, PersonaSource]:
    """One source of face records per persona, by name.

    Args:
        data: what to open, by `kind`:
            "tracks": `path`, a folder made by `faceswap prepare`, and `split`, whose personas to open;
            "tfds": `path`, a data set that `tfds_builder.py` made, and `split`;
            "puppets": `world_seed`, `personas` (their number), `frames` (of each) and `resolution`;
            "blank": `personas`, `frames` and `resolution`; grey pictures, where nothing is to be learned.

    Raises:
        InputError: another kind, or a folder that holds no sound data set.
    """
    if data.kind == "tracks":
        return _open_tracks(Path(data.path), data.split)
    if data.kind == "tfds":
        # TFDS is slow to import and most runs do without.
        from data_pipelines.prepare import tfds_records

        return {
            name: PersonaSource(name, records, records.tracks, records.resolution)
            for name, records in tfds_records.open_tfds(Path(data.path), data.split).items()
        }
    if data.kind == "puppets":
        # So is the renderer.
        from data_pipelines.puppets.source import puppet_source

        sources = [
            puppet_source(data.world_seed, p, 0, data.frames, data.resolution)
            for p in range(data.personas)
        ]
        return {source.name: source for source in sources}
    if data.kind == "blank":
        return blank_sources(data.personas, data.frames, data.resolution)
    raise InputError(f"config.data.kind is '{data.kind}'; choose tracks, tfds, puppets or blank.")


def manifest_digest(data: ml_collections.ConfigDict) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of what lists the data's files and their digests; "" if there are none.

    Raises:
        InputError: there is no such file.
    """
    if data.kind in ("puppets", "blank"):
        return ""
    files = (
        [Path(data.path) / MANIFEST]
        if data.kind == "tracks"
        else sorted(Path(data.path).rglob("*.json"))
    )
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(file.read_bytes())
        except OSError as error:
            raise InputError(f"{file} cannot be read ({error.strerror}); correct that.") from error
    return digest.hexdigest()[:16]


def _open_tracks(folder: Path, split: str) -> dict[str, PersonaSource]:
    manifest = Manifest.load(folder)
    personas = {
        name: persona for name, persona in manifest.personas.items() if persona.split == split
    }
    if not personas:
        splits = Counter(persona.split for persona in manifest.personas.values())
        others = ", ".join(f"{count} in {name!r}" for name, count in splits.items())
        raise InputError(
            f"{folder} has no persona in the split {split!r}; it has {others or 'none at all'}."
        )

    shards = [shard for persona in personas.values() for shard in persona.shards]
    # A data set may have tens of thousands of shards on a distant disk.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(functools.partial(_check_shard, folder / SHARDS), shards))

    reader = functools.lru_cache(OPEN_FILES)(_open_shard)
    sources = {}
    for name, persona in personas.items():
        files = [(folder / SHARDS / shard.file, shard.records) for shard in persona.shards]
        names = [(f"{SHARDS}/{shard.file}", shard.records) for shard in persona.shards]
        records = StoredRecords(files, reader)
        sources[name] = PersonaSource(name, records, persona.tracks, manifest.resolution, names)
    return sources


class StoredRecords:
    """The records of consecutive ArrayRecord files."""

    def __init__(
        self, files: Sequence[tuple[Path, int]], reader: Callable[[Path], ArrayRecordReader]
    ):
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
        begin = self._ends[file - 1] if file else 0
        try:
            return self._reader(self._paths[file]).read([index - begin])[0]
        except RuntimeError as error:
            # The file system itself may have gone away.
            with contextlib.suppress(OSError):
                if self._paths[file].is_file():
                    raise
            raise InputError(
                f"{self._paths[file]} has disappeared; put it back and run the same command again."
            ) from error


def _open_shard(path: Path) -> ArrayRecordReader:
    # Reading ahead serves a sequential reader and multiplies the bytes that a random one reads.
    return ArrayRecordReader(
        str(path), options="readahead_buffer_size:0", file_reader_buffer_size=32768
    )


def _check_shard(folder: Path, shard: Shard) -> None:
    """Raises InputError unless the shard's file is there and holds as many records as it should."""
    path = folder / shard.file
    remedy = "`faceswap verify --repair` drops what is broken."
    if not path.is_file():
        raise InputError(f"{path} is missing though {MANIFEST} lists it; {remedy}")
    try:
        found = _open_shard(path).num_records()
    except RuntimeError as error:
        raise InputError(f"{path} is damaged ({error}); {remedy}") from error
    if found != shard.records:
        raise InputError(
            f"{path} holds {found} records but {MANIFEST} says {shard.records}; {remedy}"
        )
