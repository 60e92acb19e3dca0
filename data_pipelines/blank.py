"""Grey pictures in place of face records: what needs shapes, or only something to read, needs no data."""

import numpy as np

from data_pipelines.records import FaceRecord, encode, stored_side
from data_pipelines.sources import PersonaSource
from faceswap_jax.faces import align
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.neutral import NEUTRAL_FACE

RATE = 25  # frames per second


def blank_sources(personas: int, frames: int, resolution: int) -> dict[str, PersonaSource]:
    """Personas that all show the same grey picture of a face at rest, silent, in one track each.

    Args:
        personas: their number.
        frames: of each.
        resolution: side in pixels of the crops that the pictures are large enough for.
    """
    record = encode(_record(stored_side(resolution)))
    names = [f"blank{number:03}" for number in range(personas)]
    return {name: PersonaSource(name, [record] * frames, [frames], resolution) for name in names}


def _record(side: int) -> FaceRecord:
    # Eyes at two fifths of the height, a fifth of the width apart
    landmarks = np.float32(side * (NEUTRAL_FACE / 5 + [0.5, 0.4]))
    return FaceRecord(
        image=np.full((side, side, 3), 128, np.uint8),
        landmarks=landmarks,
        irises=np.float32(align.eye_centres(landmarks)),
        polygon=align.face_polygon(landmarks),
        transform=np.eye(2, 3),
        pose=np.zeros(3, np.float32),
        frame_size=(side, side),
        time=0.0,
        frame=0,
        confidence=1.0,
        sharpness=0.0,
        persona="blank",
        clip="blank",
        track=0,
        sound=np.zeros(AUDIO_RATE // RATE, np.int16),
    )
