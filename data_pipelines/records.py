"""The file format of prepared faces: one record per picture, ArrayRecord shards, one manifest per data set.

A data set is a folder:

    settings.json            what `faceswap prepare` was told, there from the start
    manifest.json            personas with their split, shards (records, SHA-256, tracks) and counts; it appears last:
                             a folder without it is not finished
    shards/<persona>-00000.arrayrecord
                             one msgpack map per face, track after track, in the order of time within a track;
                             `group_size:1` for random access
    shards/<persona>-00000.json
                             what became of the clips behind the shard, whom they show, where their shots change
    report/                  index.html and contact_sheet.png, to look at

A record (schema version 3) shows a square piece of its frame, scaled and shifted but not turned, around the crop of the
alignment `stable`, MARGIN times as wide, beyond the frame's border its outermost pixels. The scale is such that this
crop has `--resolution` pixels. So every alignment, with some jitter, can be cut from one data set: `aligned_crop`.
A record holds these keys:

    key          stored as                    meaning
    version      int                          schema version
    image        JPEG 4:4:4, or PNG           that piece, RGB, stored_side(resolution) squared, 8 or (PNG only) 16 bits
    landmarks    float32 [68, 2]              (x, y) in pixels of the image, iBUG order
    irises       float32 [2, 2]               (x, y) centres of the person's right and left iris in pixels of the image;
                                              NaN where the landmarks' source does not tell
    polygon      float32 [n, 2]               (x, y) outline of the face in pixels of the image
    transform    float64 [2, 3]               map from frame pixels to those of the image: scale and shift
    pose         float32 [3]                  yaw, pitch, roll of the head in degrees, as `faces.pose` defines them
    frame_size   [int, int]                   (height, width) of the frame
    time         float                        seconds from the start of the clip's file
    frame        int                          index of the frame in the clip's file
    confidence   float                        of the detector, 0..1
    sharpness    float                        as `quality.sharpness` measures it
    persona      str                          whose face this is
    clip         str                          name of the clip within the data set
    track        int                          number of the face track within the clip
    sound        int16 [n]                    16 kHz mono from `time` to the time of the track's next record (of its
                                              last one: for one frame); the sounds of a track's records, one after the
                                              other, are the sound of the track; empty where there is none

Arrays are raw little-endian bytes. Any change of this table raises SCHEMA_VERSION.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Hashable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import msgpack
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float32, Float64, Int16, UInt8, UInt16

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.files import aside_of, unwritable, write_json

SCHEMA_VERSION = 3

MARGIN = 1.5
"""Side of a stored image in sides of the crop. Of the crops of all alignments, jittered by 15 degrees, 5 % in size and
2 % in place, 96 % or more of the area then lies inside, on average over puppets and over each of six real clips."""

SETTINGS, MANIFEST, SHARDS = "settings.json", "manifest.json", "shards"
SPLITS = ("train", "validation", "test")

# The stored dtype and shape of every array; -1 is read from the number of bytes.
ARRAYS = {
    "landmarks": ("<f4", (68, 2)),
    "irises": ("<f4", (2, 2)),
    "polygon": ("<f4", (-1, 2)),
    "transform": ("<f8", (2, 3)),
    "pose": ("<f4", (3,)),
    "sound": ("<i2", (-1,)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class FaceRecord:
    """One face and where it came from; the module docstring gives the meaning and unit of every field.

    The image may also be what is stored of it, see `compressed`.
    """

    image: UInt8[np.ndarray, "r r 3"] | UInt16[np.ndarray, "r r 3"] | bytes
    landmarks: Float32[np.ndarray, "68 2"]
    irises: Float32[np.ndarray, "2 2"]
    polygon: Float32[np.ndarray, "n 2"]
    transform: Float64[np.ndarray, "2 3"]
    pose: Float32[np.ndarray, "3"]
    frame_size: tuple[int, int]
    time: float
    frame: int
    confidence: float
    sharpness: float
    persona: str
    clip: str
    track: int
    sound: Int16[np.ndarray, "n"]


def stored_side(resolution: int) -> int:
    """Side in pixels of the image of a record that is made for crops of `resolution` pixels."""
    return round(MARGIN * resolution)


def aligned_crop(
    record: FaceRecord, resolution: int, alignment: str
) -> UInt8[np.ndarray, "r r 3"] | UInt16[np.ndarray, "r r 3"]:
    """The face of a record as an alignment cuts it.

    Args:
        record: with its image.
        resolution: side of the crop in pixels.
        alignment: one of `align.ALIGNMENTS`.

    Raises:
        ValueError: the landmarks define no such alignment.
    """
    return align.cut_face(record.image, record.landmarks, resolution, alignment)


def encode(record: FaceRecord, codec: str = "jpeg", quality: int = 95) -> bytes:
    """Returns the stored form of a record.

    Args:
        record: what to store; its image has 16 bits if, and only if, the codec is "png16".
        codec: "jpeg", "png" or "png16".
        quality: of JPEG, 1..100.
    """
    return pack(compressed(record, codec, quality))


def compressed(record: FaceRecord, codec: str = "jpeg", quality: int = 95) -> FaceRecord:
    """The record with what is stored of its image, in place of that; the arguments are those of `encode`."""
    if (record.image.dtype == np.uint16) != (codec == "png16"):
        raise ValueError(f"an image of type {record.image.dtype} cannot be stored as {codec}")

    suffix, options = ".png", []
    if codec == "jpeg":
        suffix = ".jpg"
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        # 4:4:4: halving the colour resolution would smear lips and irises.
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    reversed_channels = cv2.cvtColor(record.image, cv2.COLOR_RGB2BGR)
    _, image = cv2.imencode(suffix, reversed_channels, options)
    return dataclasses.replace(record, image=image.tobytes())


def pack(record: FaceRecord) -> bytes:
    """Returns the stored form of a record that `compressed` has made."""
    fields = {"version": SCHEMA_VERSION, **vars(record)}
    for name, (dtype, shape) in ARRAYS.items():
        fields[name] = getattr(record, name).astype(dtype).reshape(shape).tobytes()
    return msgpack.packb(fields)


def decode(data: bytes, *, image: bool = True) -> FaceRecord:
    """Returns the record that `encode` stored; its image has been through JPEG, everything else is exact.

    Args:
        data: the stored record.
        image: whether to decode the image; without is many times faster, and `image` is empty [0, 0, 3].

    Raises:
        InputError: the record was written by another version of this schema.
        ValueError: the data are damaged.
    """
    record, encoded = unpack(data)
    if not image:
        return record
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except (TypeError, cv2.error) as error:
        raise ValueError(f"the image is damaged ({error!r})") from error
    if decoded is None:
        raise ValueError("the image cannot be decoded")
    return dataclasses.replace(record, image=decoded)


def unpack(data: bytes) -> tuple[FaceRecord, bytes]:
    """A stored record with an empty image [0, 0, 3], and the image as it is stored: JPEG or PNG.

    Raises:
        InputError: the record was written by another version of this schema.
        ValueError: the data are damaged.
    """
    try:
        fields = msgpack.unpackb(data)
        _check_version(fields.pop("version"), "A face record")
        encoded = fields["image"]
        fields["image"] = np.zeros((0, 0, 3), np.uint8)
        fields["frame_size"] = tuple(fields["frame_size"])
        for name, (dtype, shape) in ARRAYS.items():
            fields[name] = np.frombuffer(fields[name], dtype).reshape(shape)
        return FaceRecord(**fields), encoded
    except (KeyError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise ValueError(f"the record is damaged ({error!r})") from error


@dataclasses.dataclass(frozen=True)
class Shard:
    """One ArrayRecord file.

    Attributes:
        file: its name within the folder of shards.
        records: their number.
        sha256: of the file.
        tracks: number of records of each face track, in order.
    """

    file: str
    records: int
    sha256: str
    tracks: list[int]


@dataclasses.dataclass(frozen=True)
class Counts:
    """What became of faces, and of frames without one: seen = kept + the sum over the reasons in dropped."""

    seen: int
    kept: int
    dropped: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Persona:
    """One identity: its split (one of SPLITS), its shards in order, its counts."""

    split: str
    shards: list[Shard]
    counts: Counts

    @property
    def tracks(self) -> list[int]:
        """Number of records of each face track, in order."""
        return [length for shard in self.shards for length in shard.tracks]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The table of contents of a data set.

    Attributes:
        settings: of `faceswap prepare`, as `Settings.to_json` gives them.
        personas: by name.
        unreadable: name of each clip that gave no record because its file is at fault, and what is wrong with it.
        found: by name of the clip, where a clip shows several people, nobody who is wanted, or several shots: `people`
            (frames, share of the frames, whether kept; who fills most comes first), `cuts` (numbers of the frames
            before and after, time in seconds, change of content, 0..255, correlation of colours), and `shard`, whose
            report has images of these.
        chosen: name of the picture that says who is kept, by persona, where one was given.
        schema: version of the records.
        margin: side of the records' images in sides of the crop: how much every alignment has to choose from.
    """

    settings: dict[str, Any]
    personas: dict[str, Persona]
    unreadable: dict[str, str]
    found: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    chosen: dict[str, str] = dataclasses.field(default_factory=dict)
    schema: int = SCHEMA_VERSION
    margin: float = MARGIN

    @property
    def resolution(self) -> int:
        """Side in pixels of the crops that the records are made for."""
        return self.settings["resolution"]

    def save(self, directory: Path) -> None:
        """Writes `settings.json`, then `manifest.json`; each appears when it is complete."""
        content = dataclasses.asdict(self)
        write_json(directory / SETTINGS, content.pop("settings"))
        write_json(directory / MANIFEST, content)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads the table of contents of a folder.

        Raises:
            InputError: the folder or its manifest is missing, damaged or of another schema.
        """
        settings = load_settings(directory)
        if settings is None:
            problem = f"has no {SETTINGS}"
            if not directory.is_dir():
                problem = "is a file" if directory.exists() else "does not exist"
            raise InputError(
                f"The data folder {directory} {problem}; make one with `faceswap prepare`."
            )
        path = directory / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            _check_version(int(content["schema"]), str(path))
            personas = {
                name: Persona(
                    persona["split"],
                    [Shard(**shard) for shard in persona["shards"]],
                    Counts(**persona["counts"]),
                )
                for name, persona in content["personas"].items()
            }
            return cls(
                settings,
                personas,
                dict(content["unreadable"]),
                # Data sets that were made before people were told apart have neither.
                dict(content.get("found", {})),
                dict(content.get("chosen", {})),
                int(content["schema"]),
                float(content["margin"]),
            )
        except FileNotFoundError as error:
            raise InputError(
                f"The data set in {directory} is not finished; run the `faceswap prepare` that began it again."
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); correct that.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}); run the `faceswap prepare` that made it again: it keeps "
                "the shards."
            ) from error


def load_settings(directory: Path) -> dict[str, Any] | None:
    """What the data set in a folder is made with, finished or not; None if there is no data set.

    Raises:
        InputError: the settings are damaged.
    """
    path = directory / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return {**settings, "resolution": int(settings["resolution"])}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); correct that.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error!r}); prepare the data set anew in another folder."
        ) from error


class ShardWriter:
    """Writes one shard; the file appears under its name only when the `with` block ends without an exception.

    After the block, `shard` describes the finished file.
    """

    shard: Shard

    def __init__(self, path: Path):
        self._path = path
        self._aside = aside_of(path)
        self._records = 0
        self._track: Hashable | None = None
        self._tracks: list[int] = []
        with self._telling():
            self._writer = ArrayRecordWriter(str(self._aside), "group_size:1")

    def write(self, data: bytes, track: Hashable) -> None:
        """Appends an encoded record of the face track with the key `track`.

        Raises:
            InputError: the file system refuses, for example because it is full.
        """
        with self._telling():
            self._writer.write(data)
        if track != self._track:
            self._track = track
            self._tracks.append(0)
        self._tracks[-1] += 1
        self._records += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with self._telling():
                self._writer.close()
            if kind is None:
                with self._aside.open("rb") as file:
                    os.fsync(file.fileno())
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                self._aside.replace(self._path)
                self.shard = Shard(self._path.name, self._records, digest, self._tracks)
        except InputError:
            # Otherwise the reason is on its way already.
            if kind is None:
                raise
        finally:
            self._aside.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns ArrayRecord's failures into a sentence."""
        try:
            yield
        except RuntimeError as error:
            raise unwritable(self._path, str(error).partition(";")[0]) from error


def _check_version(version: int, what: str) -> None:
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{what} has schema version {version}, newer than {SCHEMA_VERSION}, the newest that this faceswap reads; "
            "update faceswap or prepare the data again."
        )
    if version < SCHEMA_VERSION:
        raise InputError(
            f"{what} has schema version {version}, older than {SCHEMA_VERSION}, which this faceswap reads; "
            "run the `faceswap prepare` that made the data again: it makes them anew."
        )
