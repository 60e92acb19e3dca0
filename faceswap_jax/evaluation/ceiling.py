"""The best that any network could do behind a generator's alignment, resolution and blending."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from faceswap_jax.evaluation.frames import Landmarks, Points
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Image
from faceswap_jax.inference.clip import Place, blend_side


@dataclass(frozen=True)
class Ceiling:
    """The best that any network could do behind a generator's alignment and blending.

    Attributes:
        alignment: of the generator.
        resolution: of the generator.
        outline: of the generator.
        faces: landmarks of all the clip's frames; the largest face decides about the blending's resolution.
    """

    alignment: str
    resolution: int
    outline: str
    faces: Landmarks

    def __call__(
        self, target: Image, perfect: Image, landmarks: Points, methods: Sequence[str]
    ) -> list[Image]:
        """The target with the perfect face at the generator's resolution, by each method of blending."""
        face = align.cut_face(perfect, landmarks, self.resolution, self.alignment)
        place = Place(target, landmarks, self.alignment, self._side, self.outline)
        return [place.put(face, method) for method in methods]

    @cached_property
    def _side(self) -> int:
        return blend_side(self.faces, self.alignment, self.resolution)
