"""Edits of the faces of a clip: vectors, as strong as their curves say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from faceswap_jax.editing.keyframes import Curve
from faceswap_jax.editing.vectors import Vector
from faceswap_jax.errors import InputError
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.clip import Shift
from faceswap_jax.inference.generator import Generator


@dataclass(frozen=True)
class Edits:
    """What is changed of the performances in a clip.

    Attributes:
        curves: weights of vectors over time; those of one face add up.
        vectors: by name.
        only_changes: whether the performer's own face stays where an edit changes nothing.
    """

    curves: Sequence[Curve]
    vectors: Mapping[str, Vector]
    only_changes: bool = False

    @classmethod
    def load(cls, curves: Sequence[Curve], workdir: Path, only_changes: bool = False) -> "Edits":
        """The edits with the vectors that the curves name, from the folder of a run.

        Raises:
            InputError: it has no such vector.
        """
        names = {curve.vector for curve in curves}
        vectors = {name: Vector.load(workdir, name) for name in names}
        return cls(curves, vectors, only_changes)

    def check(self, generator: Generator) -> None:
        """Raises InputError unless all vectors belong to the generator."""
        for vector in self.vectors.values():
            vector.check(generator)

    def of_faces(self, numbers: Collection[int]) -> dict[int, Shift]:
        """What is added to the latents of each of the replaced faces, where something is.

        Raises:
            InputError: a face is edited that is not replaced.
        """
        for curve in self.curves:
            if curve.face is not None and curve.face not in numbers:
                replaced = ", ".join(map(str, sorted(numbers)))
                raise InputError(
                    f"'{curve.vector}' is to edit face {curve.face}, but what is replaced is face {replaced}; "
                    "correct the keyframes, or choose faces by --face or --personas."
                )
        shifts = {}
        for number in numbers:
            curves = [curve for curve in self.curves if curve.face in (None, number)]
            if curves:
                shifts[number] = Change(curves, self.vectors)
        return shifts


@dataclass(frozen=True)
class Change:
    """What is added to the latents of a face, see `inference.clip.Shift`.

    Attributes:
        curves: weights of vectors over time.
        vectors: by name.
    """

    curves: Sequence[Curve]
    vectors: Mapping[str, Vector]

    def __call__(
        self, frames: Sequence[Frame], z: Float32[np.ndarray, "n latent"]
    ) -> Float32[np.ndarray, "n latent"]:
        """See the class."""
        total = np.zeros_like(z)
        for curve in self.curves:
            vector = self.vectors[curve.vector]
            wanted = np.array([curve(frame.time) for frame in frames])
            weights = vector.possible(z, wanted)
            total += np.float32(weights[:, None] * vector.values)
        return total
