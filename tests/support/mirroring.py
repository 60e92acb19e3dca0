"""What the mirrored image of a face shows."""

import numpy as np

from faceswap_jax.faces.ibug import MIRROR


def mirror_landmarks(landmarks: np.ndarray, width: int) -> np.ndarray:
    """Landmarks [68, 2] of the horizontally mirrored image of the given width, left and right renamed."""
    mirrored = landmarks[MIRROR].astype(np.float32)
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return mirrored
