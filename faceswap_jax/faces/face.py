"""What a face in a frame is, and who finds faces."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, UInt8

Image = UInt8[np.ndarray, "h w 3"]
Landmarks = Float[np.ndarray, "68 2"]  # x, y in pixels, in the iBUG order


@dataclass(frozen=True)
class Face:
    """One face in one frame.

    Attributes:
        landmarks: 68 points (x, y) in frame pixels.
        confidence: 0..1, how sure the landmarker is that this is a face.
        irises: centres (x, y) of the person's right and left iris in frame pixels, meaningful where the lids are open;
            NaN if the landmarker does not tell.
    """

    landmarks: Landmarks
    confidence: float
    irises: Float32[np.ndarray, "2 2"] = field(
        default_factory=lambda: np.full((2, 2), np.nan, np.float32)
    )


class Landmarker(Protocol):
    """Finds the faces of a clip's frames; several threads may call it at once."""

    def __call__(self, image: Image, index: int) -> list[Face]:
        """Faces in the frame number `index` of the clip, the largest first."""
        ...

    def close(self) -> None:
        """Frees what the landmarker holds; it cannot be called afterwards."""
        ...
