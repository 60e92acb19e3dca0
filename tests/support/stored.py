"""What a data set holds, read without the code that serves training."""

import os
from pathlib import Path

from array_record.python.array_record_data_source import ArrayRecordDataSource

from data_pipelines.records import SHARDS, FaceRecord, Manifest, decode


def encoded(directory: Path, persona: str) -> list[bytes]:
    """The stored records of a persona, in order."""
    shards = Manifest.load(directory).personas[persona].shards
    sources = [
        ArrayRecordDataSource(os.fspath(directory / SHARDS / shard.file)) for shard in shards
    ]
    return [source[i] for source in sources for i in range(len(source))]


def records(directory: Path, persona: str) -> list[FaceRecord]:
    """The same, decoded."""
    return [decode(data) for data in encoded(directory, persona)]
