"""The sound around a frame, from the records of its track."""

import numpy as np
from jaxtyping import Float32

from data_pipelines.records import FaceRecord, decode
from data_pipelines.sources import PersonaSource
from faceswap_jax.faces.audio import RATE


def sound_window(
    source: PersonaSource, number: int, samples: int
) -> Float32[np.ndarray, "samples"]:
    """Sound in -1..1 around the time of a record, silent beyond its track and where records are corrupt.

    Args:
        source: of the record.
        number: of the record.
        samples: length of the window; the time of the record is that of sample samples // 2.
    """
    middle = _read(source, number)
    window = np.zeros(samples, np.float32)
    if middle is None:
        return window
    _place(window, middle, middle)

    # Outwards through the track, until the window is full
    for numbers in (range(number + 1, len(source)), range(number - 1, -1, -1)):
        for neighbour in numbers:
            record = _read(source, neighbour)
            # A gap; what lies behind it may still be within the window.
            if record is None:
                continue
            if (record.clip, record.track) != (middle.clip, middle.track):
                break
            if not _place(window, record, middle):
                break
    return window


def _read(source: PersonaSource, number: int) -> FaceRecord | None:
    """A record without its image; None if it is corrupt."""

    def parse(data: bytes) -> FaceRecord:
        return decode(data, image=False)

    for _, record in source.intact(number, parse, range(number, number + 1)):
        return record
    return None


def _place(window: Float32[np.ndarray, "n"], record: FaceRecord, middle: FaceRecord) -> bool:
    """Writes a record's sound where it belongs in the window around the middle one; whether any of it lies inside."""
    first = round((record.time - middle.time) * RATE) + len(window) // 2
    start = max(first, 0)
    stop = min(first + len(record.sound), len(window))
    if start >= stop:
        return False
    window[start:stop] = record.sound[start - first : stop - first] / np.float32(2**15)
    return True
