"""The file format of prepared faces: one record per picture, ArrayRecord shards, one manifest per data set.

A data set is a folder:

    manifest.json            resolution, personas, their shards (records, SHA-256) and what became of every clip
    <persona>.arrayrecord    one msgpack map per face, in clip and time order, `group_size:1` for random access

A record (schema version 1) holds these keys:

    key          stored as                    meaning
    version      int                          schema version
    image        JPEG, quality 95, 4:4:4      aligned crop, RGB, resolution x resolution
    landmarks    float32 [68, 2]              (x, y) in crop pixels, iBUG order
    polygon      float32 [n, 2]               (x, y) outline of the face in crop pixels
    transform    float64 [2, 3]               affine map from frame pixels to crop pixels
    frame_size   [int, int]                   (height, width) of the frame that the crop was cut from
    time         float                        seconds from the start of the clip
    frame        int                          index of the frame in the clip
    confidence   float                        of the detector, 0..1
    persona      str                          whose face this is
    clip         str                          file name of the clip
    track        int                          number of the face track within the clip

Arrays are raw little-endian bytes. Any change of this table raises SCHEMA_VERSION.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import grain
import msgpack
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float32, Float64, UInt8

from faceswap_jax.errors import InputError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

# The stored dtype and shape of every array; -1 is read from the number of bytes.
ARRAYS = {
    "landmarks": ("<f4", (68, 2)),
    "polygon": ("<f4", (-1, 2)),
    "transform": ("<f8", (2, 3)),
}
# 4:4:4: halving the colour resolution would smear lips and irises.
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclasses.dataclass(frozen=True, eq=False)
class FaceRecord:
    """One aligned face and where it came from; the module docstring gives the meaning and unit of every field."""

    image: UInt8[np.ndarray, "r r 3"]
    landmarks: Float32[np.ndarray, "68 2"]
    polygon: Float32[np.ndarray, "n 2"]
    transform: Float64[np.ndarray, "2 3"]
    frame_size: tuple[int, int]
    time: float
    frame: int
    confidence: float
    persona: str
    clip: str
    track: int


def encode(record: FaceRecord) -> bytes:
    """Returns the stored form of a record."""
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(record.image, cv2.COLOR_RGB2BGR), JPEG)[1].tobytes()
    arrays = {
        name: getattr(record, name).astype(dtype).reshape(shape).tobytes() for name, (dtype, shape) in ARRAYS.items()
    }
    return msgpack.packb({"version": SCHEMA_VERSION, **vars(record), "image": jpeg, **arrays})


def decode(data: bytes) -> FaceRecord:
    """Returns the record that `encode` stored; the image has been through JPEG, everything else is exact.

    Raises:
        InputError: the record was written by a newer version of this schema.
    """
    fields = msgpack.unpackb(data)
    _check_version(fields.pop("version"), "A face record")
    fields["image"] = cv2.imdecode(np.frombuffer(fields["image"], np.uint8), cv2.IMREAD_COLOR_RGB)
    fields["frame_size"] = tuple(fields["frame_size"])
    for name, (dtype, shape) in ARRAYS.items():
        fields[name] = np.frombuffer(fields[name], dtype).reshape(shape)
    return FaceRecord(**fields)


@dataclasses.dataclass(frozen=True)
class Shard:
    """One ArrayRecord file, named relative to the data set's folder."""

    file: str
    records: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Clip:
    """What became of the frames of one clip: seen = kept + the sum over the reasons in dropped."""

    file: str
    seen: int
    kept: int
    dropped: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Persona:
    """The shards of one persona, in order, and the clips that they were made from."""

    shards: list[Shard]
    clips: list[Clip]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The table of contents of a data set."""

    resolution: int
    personas: dict[str, Persona]
    schema: int = SCHEMA_VERSION

    def save(self, directory: Path) -> None:
        """Writes `manifest.json` into the folder."""
        (directory / MANIFEST).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads `manifest.json` of a folder.

        Raises:
            InputError: the folder or its manifest is missing, damaged or of a newer schema.
        """
        path = directory / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            schema, resolution = int(content["schema"]), int(content["resolution"])
            _check_version(schema, str(path))
            personas = {
                name: Persona([Shard(**shard) for shard in persona["shards"]], [Clip(**c) for c in persona["clips"]])
                for name, persona in content["personas"].items()
            }
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = f"has no {MANIFEST}" if directory.is_dir() else "does not exist"
            raise InputError(f"The data folder {directory} {problem}; make one with `faceswap prepare`.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error!r}); prepare the data set again.") from error
        return cls(resolution, personas, schema)


class ShardWriter:
    """Writes one shard; the file appears under its name only when the `with` block ends without an exception.

    After the block, `shard` describes the finished file.
    """

    shard: Shard

    def __init__(self, path: Path):
        self._path = path
        self._aside = path.with_name(f".{path.name}.partial")
        self._writer = ArrayRecordWriter(str(self._aside), "group_size:1")
        self._records = 0

    def write(self, record: FaceRecord) -> None:
        """Appends one record."""
        self._writer.write(encode(record))
        self._records += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is not None:
            self._aside.unlink()
            return
        with self._aside.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._aside.replace(self._path)
        self.shard = Shard(self._path.name, self._records, digest)


def open_source(directory: Path, persona: str) -> grain.sources.ArrayRecordDataSource:
    """Opens the stored records of one persona for random access: `len(source)`, `source[i] -> bytes`.

    Raises:
        InputError: no such data set or persona, or a shard is missing, damaged or disagrees with the manifest.
    """
    personas = Manifest.load(directory).personas
    if persona not in personas:
        raise InputError(f"{directory} has no persona {persona!r}; it has {', '.join(sorted(personas))}.")
    shards = personas[persona].shards
    for shard in shards:
        path = directory / shard.file
        if not path.is_file():
            raise InputError(f"{path} is missing though {MANIFEST} lists it; prepare the data set again.")
        try:
            records = len(grain.sources.ArrayRecordDataSource(os.fspath(path)))
        except RuntimeError as error:
            raise InputError(f"{path} is damaged ({error}); prepare the data set again.") from error
        if records != shard.records:
            raise InputError(
                f"{path} holds {records} records but {MANIFEST} says {shard.records}; prepare the data set again."
            )
    return grain.sources.ArrayRecordDataSource([os.fspath(directory / shard.file) for shard in shards])


def _check_version(version: int, what: str) -> None:
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{what} has schema version {version}, newer than {SCHEMA_VERSION}, the newest that this faceswap reads; "
            "update faceswap or prepare the data again."
        )
