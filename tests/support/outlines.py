"""Where faces are in the frames of a clip."""

from pathlib import Path

import numpy as np

from faceswap_jax.faces import align
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from tests.support.tiny_run import FRAMES, SIZE


def outside_faces(path: Path, margin: int = 0) -> np.ndarray:
    """Whether each pixel of each frame lies outside the face polygon, by at least `margin` pixels."""
    landmarker = SidecarLandmarker(sidecar_path(path))
    result = np.ones((FRAMES, SIZE, SIZE), bool)
    shifts = range(-margin, margin + 1)
    for i in range(FRAMES):
        for face in landmarker(None, i):
            mask = align.polygon_mask(align.face_polygon(face.landmarks), SIZE, SIZE) > 0
            grown = [np.roll(mask, (y, x), (0, 1)) for y in shifts for x in shifts]
            result[i] = ~np.any(grown, axis=0)
    return result
