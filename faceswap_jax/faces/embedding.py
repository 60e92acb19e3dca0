"""Whose face it is, as numbers that can be compared: dlib's face recognition network."""

import importlib.util
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Image, Landmarks

Embedding = Float32[np.ndarray, "128"]


class DlibEmbedder:
    """The 128 numbers of dlib's face recognition network, of unit length.

    A ResNet of 29 layers, trained by D. King on some three million faces (2017). dlib itself aligns the face, to 150 px
    by the corners of eyes and nose, whatever the alignment of a generator. The embeddings are not centred: cosines of
    two people are about 0.85, of one person's frames about 0.97, of puppets 0.91 and 0.95. So a cosine tells something
    only beside others. A face takes about 0.1 s on one core.

    Raises:
        InputError: dlib or its networks are not installed.
    """

    def __init__(self) -> None:
        path = _weights()
        if path is None or not importlib.util.find_spec("dlib"):
            raise InputError(
                "Comparing identities needs dlib and its face recognition network, which are not installed: "
                "pip install 'faceswap-jax[faces]'."
            )
        import dlib

        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(os.fspath(path))

    def __call__(self, image: Image, landmarks: Landmarks) -> Embedding:
        """The embedding of one face."""
        dlib = self._dlib
        # dlib counts in whole pixels.
        pixels = np.rint(landmarks).astype(int).tolist()
        parts = [dlib.point(x, y) for x, y in pixels]
        face = dlib.full_object_detection(dlib.rectangle(), parts)
        chip = dlib.get_face_chip(np.ascontiguousarray(image), face, size=150)
        described = np.array(self._network.compute_face_descriptor(chip), np.float32)
        return described / np.linalg.norm(described)


def _weights() -> Path | None:
    """Where dlib's network lies in its package, which is not imported: it needs what newer Pythons lack."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None:
        return None
    path = Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    return path if path.is_file() else None
