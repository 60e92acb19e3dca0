"""The best that any network could do behind a generator's alignment, resolution and blending."""

from dataclasses import dataclass

from faceswap_jax.evaluation.frames import Landmarks, Points
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Image
from faceswap_jax.inference.clip import blend_side, put_face


@dataclass(frozen=True)
class Ceiling:
    """The best that any network could do behind a generator's alignment and blending.

    Attributes:
        alignment: of the generator.
        resolution: of the generator.
        faces: landmarks of all the clip's frames; the largest face decides about the blending's resolution.
    """

    alignment: str
    resolution: int
    faces: Landmarks

    def __call__(self, target: Image, perfect: Image, landmarks: Points, method: str) -> Image:
        """The target with the perfect face at the generator's resolution."""
        side = blend_side(self.faces, self.alignment, self.resolution)
        face = align.cut_face(perfect, landmarks, self.resolution, self.alignment)
        return put_face(target, face, landmarks, self.alignment, side, method)
