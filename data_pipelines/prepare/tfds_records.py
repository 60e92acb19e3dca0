"""Face records as a TFDS data set stores them, and its reader; `tfds_builder.py` makes such a set."""

import dataclasses
import struct
from pathlib import Path
from typing import Any

import grain
import msgpack
import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.prepare.settings import Settings
from data_pipelines.records import ARRAYS, SCHEMA_VERSION, FaceRecord, decode, encode, stored_side
from faceswap_jax.errors import InputError

NAME = "face_tracks"
"""Of the TFDS data set."""

VERSION = f"{SCHEMA_VERSION}.0.0"

# How TFDS stores a field. Arrays and floats are bytes: the numbers of a tf.Example have 32 bits.

_INTEGER = tfds.features.Tensor(shape=(), dtype=np.int64)
_INTEGERS = tfds.features.Tensor(shape=(2,), dtype=np.int64)
_FLOAT = tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")


_SCALARS = {
    int: _INTEGER,
    tuple[int, int]: _INTEGERS,
    float: _FLOAT,
    str: tfds.features.Text(),
}
"""For each type of a field that is neither array nor image: how TFDS stores it."""

_TYPES = {field.name: field.type for field in dataclasses.fields(FaceRecord)}


# Writing


def features_of(settings: Settings) -> tfds.features.FeaturesDict:
    """Returns how TFDS stores each key of a record."""
    side = stored_side(settings.resolution)
    image = tfds.features.Image(
        shape=(side, side, 3),
        dtype=np.uint16 if settings.image == "png16" else np.uint8,
        encoding_format="jpeg" if settings.image == "jpeg" else "png",
    )
    arrays = {
        name: tfds.features.Tensor(
            shape=tuple(None if length < 0 else length for length in shape),
            dtype=np.dtype(dtype),
            encoding="bytes",
        )
        for name, (dtype, shape) in ARRAYS.items()
    }
    scalars = {name: _SCALARS[kind] for name, kind in _TYPES.items() if kind in _SCALARS}
    return tfds.features.FeaturesDict({"version": _INTEGER, "image": image, **arrays, **scalars})


def example_of(record: FaceRecord, settings: Settings) -> dict[str, Any]:
    """Returns a record as TFDS takes it, with the image encoded: TFDS would need TensorFlow for that."""
    data = encode(record, settings.image, settings.quality)
    return {
        "version": SCHEMA_VERSION,
        **vars(decode(data, image=False)),
        "image": msgpack.unpackb(data)["image"],
    }


# Reading


def record_of(example: bytes) -> bytes:
    """Returns the record of a serialized tf.Example, as `records.encode` stores it.

    Raises:
        DecodeError, IndexError, struct.error: the example is damaged.
    """
    features = tf_example_pb2.Example.FromString(example).features.feature
    record = {"version": features["version"].int64_list.value[0]}
    for name, kind in _TYPES.items():
        record[name] = _value(features[name], kind)
    return msgpack.packb(record)


def _value(feature: Any, kind: Any) -> Any:
    """Returns the value of a field of a type."""
    if kind is int:
        return feature.int64_list.value[0]
    if kind == tuple[int, int]:
        return list(feature.int64_list.value)
    content = feature.bytes_list.value[0]
    if kind is float:
        return struct.unpack("<d", content)[0]
    return content.decode() if kind is str else content


class TfdsRecords:
    """The records of one persona, for random access from any thread.

    Attributes:
        tracks: number of records of each face track, in order.
        resolution: side in pixels of the crops that the records are made for.
    """

    def __init__(
        self,
        examples: grain.sources.ArrayRecordDataSource,
        first: int,
        tracks: list[int],
        resolution: int,
    ):
        self._examples = examples
        self._first = first
        self._length = sum(tracks)
        self.tracks = tracks
        self.resolution = resolution

    def __len__(self) -> int:
        """Number of records."""
        return self._length

    def __getitem__(self, index: int) -> bytes:
        """Returns one record, as `records.encode` stores it.

        Raises:
            RuntimeError, ValueError: it is damaged.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"there is no record {index} among {self._length}")
        try:
            return record_of(self._examples[self._first + index])
        except (DecodeError, IndexError, struct.error) as error:
            raise ValueError(f"the record is damaged ({error!r})") from error


def open_tfds(path: Path, split: str) -> dict[str, TfdsRecords]:
    """Opens the records of a split, by persona.

    Args:
        path: the folder given as --output.
        split: "train", "validation" or "test".

    Raises:
        InputError: there is no such data set or split, or it is damaged.
    """
    folder = path / NAME / VERSION
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist; name a folder in which `python -m "
            "data_pipelines.prepare.tfds_builder` made a data set."
        )
    try:
        return _open_split(folder, split)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, json_format.Error) as error:
        raise InputError(f"{folder} is damaged ({error}); make the data set anew.") from error


def _open_split(folder: Path, split: str) -> dict[str, TfdsRecords]:
    info = tfds.builder_from_directory(folder).info
    if split not in info.splits:
        raise InputError(f"{folder} has no split {split!r}; it has {', '.join(info.splits)}.")
    stored = info.splits[split]
    examples = grain.sources.ArrayRecordDataSource([str(file) for file in stored.filepaths])

    resolution = info.metadata["settings"]["resolution"]
    sources = {}
    for name, persona in info.metadata["personas"].items():
        if persona["split"] == split:
            sources[name] = TfdsRecords(examples, persona["first"], persona["tracks"], resolution)

    listed = sum(map(len, sources.values()))
    if not len(examples) == stored.num_examples == listed:
        raise ValueError(f"the split {split} has {len(examples)} records, but {listed} are listed")
    return sources
