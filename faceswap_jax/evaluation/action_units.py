"""Action units of faces, as a network of the user's reads them; none ships."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from faceswap_jax.artifacts.runtime import session
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.frames import Frames, Landmarks
from faceswap_jax.evaluation.report import Score
from faceswap_jax.faces import align

UNITS = Score("action units: correlation", "higher", 2, (-1, 1))

ALIGNMENT = "ffhq"
"""Of the faces that are read, whatever cut them before."""

# Of ImageNet's red, green and blue in 0..1, on which such networks began
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class ActionUnits:
    """A file of ONNX, from a face [1, 3, side, side], normalised as ImageNet's, to numbers [1, units].

    Of several outputs the first counts. What the numbers are, such as probabilities, plays no role: only how they move
    is compared.
    """

    def __init__(self, path: Path):
        """Opens the file, and tries it.

        Raises:
            InputError: it cannot be read, onnxruntime is not installed, or it is another kind of network.
        """
        self._session = session(path)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        self._face = inputs[0].name
        try:
            self._side = int(shape[-1])
            blank = np.zeros((1, 3, self._side, self._side), np.float32)
            (self._count,) = self._run(blank).shape
        except Exception as error:  # of onnxruntime's own kinds, too
            raise InputError(
                f"'{path}' takes {' and '.join(str(given.shape) for given in inputs)}; give a network from a face "
                "[1, 3, side, side], of a fixed side, to action units [1, units]."
            ) from error

    def __call__(self, frames: Frames, landmarks: Landmarks) -> Float32[np.ndarray, "n units"]:
        """The units of each face; NaN where the landmarks are."""
        units = np.full((len(frames), self._count), np.nan, np.float32)
        for told, frame, points in zip(units, frames, landmarks, strict=True):
            if np.isfinite(points).all():
                crop = align.cut_face(frame, points, self._side, ALIGNMENT) / np.float32(255)
                face = (crop - MEAN) / DEVIATION
                told[:] = self._run(face.transpose(2, 0, 1)[None])
        return units

    def _run(self, face: Float32[np.ndarray, "1 3 s s"]) -> Float32[np.ndarray, "units"]:
        (units,) = self._session.run(None, {self._face: face})[0]
        return units
