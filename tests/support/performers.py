"""Puppets that open their mouths and turn their heads, as records of a data set."""

import numpy as np

from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import Frame, render
from data_pipelines.records import encode
from data_pipelines.sources import PersonaSource
from tests.support.records import record_of

OPEN = (0.0, 0.9, 0.3, 0.6)  # mouths
TURNED = (-20.0, 20.0, 0.0, 5.0)  # yaw in degrees


def show(persona: int, index: int, size: int = 64) -> Frame:
    performance = Performance(mouth_open=OPEN[index], yaw=TURNED[index])
    return render(sample_persona(0, persona), performance, Scene(), size)


def record(persona: int, index: int, size: int = 64, **fields) -> bytes:
    frame = show(persona, index, size)
    fields = {
        "landmarks": frame.landmarks,
        "irises": frame.irises,
        "pose": np.float32([TURNED[index], 0, 0]),
        "persona": f"puppet{persona}",
        "frame": 10 * index,
        "time": 0.4 * index,
    } | fields
    return encode(record_of(frame.image, **fields))


def source(persona: int, records: list[bytes]) -> PersonaSource:
    return PersonaSource(f"puppet{persona}", records, [len(records)], 64)


def performers(count: int, size: int = 64) -> dict[str, PersonaSource]:
    """Of each puppet a record of each of the performances."""
    return {
        f"puppet{p}": source(p, [record(p, i, size) for i in range(len(OPEN))])
        for p in range(count)
    }
