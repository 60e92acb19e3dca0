"""Face records without faces: told apart by their grey level, with landmarks whose aligned crop is the whole image."""

import numpy as np

from data_pipelines.batches.assembly import batches
from data_pipelines.records import encode
from data_pipelines.sources import PersonaSource
from tests.support.records import record_of

SIZE = 32
STEP = 3  # between the grey levels that number the records: more than JPEG changes
POSE = (20, 5, -10)  # yaw, pitch, roll in degrees
TRIANGLE = ((8, 4), (28, 4), (28, 28))  # covers more of the right half


def record(crop, frame=0, codec="jpeg", persona="a", **fields) -> bytes:
    """An encoded record from which the alignment `eyes` cuts what is given."""
    usual = {"polygon": TRIANGLE, "pose": np.float32(POSE)}
    where = {"time": frame / 25, "frame": frame, "persona": persona}
    return encode(record_of(crop, **usual | where | fields), codec)


def numbered(*tracks: int, first: int = 0, persona: str = "a") -> PersonaSource:
    """Tracks of so many records, told apart by their grey level."""
    records = [
        record(np.full((SIZE, SIZE, 3), STEP * i, np.uint8), i, persona=persona)
        for i in range(first, first + sum(tracks))
    ]
    return PersonaSource(persona, records, tracks, SIZE)


def one(data: bytes, size: int = SIZE) -> list[PersonaSource]:
    """A persona with a single record."""
    return [PersonaSource("a", [data], [1], size)]


def numbers(frames: dict) -> np.ndarray:
    """Which records the images of `numbered` frames show: the axes of the batch."""
    return np.rint(frames["image"].mean((-1, -2, -3)) / STEP).astype(int)


def made(sources, sampler, **settings):
    """`batches` of small images, with any of its arguments changed."""
    usual = {"fields": ("image",), "alignment": "eyes", "resolution": 16, "batch": 4, "seed": 0}
    return batches(sources, sampler, **usual | settings)


def same(one, other) -> bool:
    """Whether two batches are equal in all that they hold."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    text = one.dtype.kind == other.dtype.kind == "U"  # of as many letters as the longest has
    return (text or one.dtype == other.dtype) and np.array_equal(
        one, other, equal_nan=one.dtype == np.float32
    )


def part(batch, take):
    """The part of a batch that `take` selects of every array."""
    return {name: part(a, take) if isinstance(a, dict) else take(a) for name, a in batch.items()}
