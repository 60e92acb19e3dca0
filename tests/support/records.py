"""Face records made by hand."""

import numpy as np

from data_pipelines.records import FaceRecord, stored_side
from faceswap_jax.faces import align
from faceswap_jax.faces.neutral import NEUTRAL_FACE


def neutral_landmarks(resolution: int) -> np.ndarray:
    """Landmarks of a face at rest in its own crop by `eyes`."""
    places = align.INTEROCULAR * NEUTRAL_FACE + align.EYE_MIDPOINT
    return (resolution * places - 0.5).astype(np.float32)


def record_of(crop: np.ndarray, **fields) -> FaceRecord:
    """A record from which the alignment `eyes` cuts what is given.

    Args:
        crop: square image; the stored one repeats its border.
        fields: of the record; points in pixels of the crop. A face at rest, seen once, if nothing is said.
    """
    resolution = len(crop)
    margin, odd = divmod(stored_side(resolution) - resolution, 2)
    assert not odd, "the crop lies between the pixels of the stored image"
    points = {
        "landmarks": neutral_landmarks(resolution),
        "irises": np.full((2, 2), np.nan, np.float32),
        "polygon": align.face_polygon(neutral_landmarks(resolution)),
    }
    points |= {name: fields.pop(name) for name in points if name in fields}
    defaults = {
        "image": np.pad(crop, [(margin, margin), (margin, margin), (0, 0)], "edge"),
        "transform": np.eye(2, 3),
        "pose": np.zeros(3, np.float32),
        "frame_size": (480, 640),
        "time": 0.0,
        "frame": 0,
        "confidence": 1.0,
        "sharpness": 120.0,
        "persona": "ann",
        "clip": "a.mp4",
        "track": 0,
        "sound": np.zeros(0, np.int16),
    }
    moved = {name: np.float32(value) + np.float32(margin) for name, value in points.items()}
    return FaceRecord(**defaults | moved | fields)
