"""Facial landmarks: 68 points in the iBUG order, from MediaPipe or from a file beside the clip.

The file (sidecar)
    A clip's landmarks may be tracked elsewhere, e.g. by a matchmove department, and handed over as
    `<clip file name>.landmarks.csv` in the clip's folder: `a.mp4` -> `a.mp4.landmarks.csv`. It is comma-separated text
    (UTF-8) with the header

        frame,x0,y0,x1,y1,...,x67,y67

    and one row per frame that shows the face. `frame` counts from 0 in presentation order. Coordinates are pixels of
    the upright frame (rotation metadata applied): x to the right, y down, decimals allowed, the centre of the top left
    pixel at (0, 0). Frames without a row have no face. Rows may come in any order, each frame once.
"""

import csv
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import (
    BROWS,
    INNER_LIPS,
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    MIRROR,
    MOUTH,
    NOSE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
)

__all__ = [
    "BROWS",
    "INNER_LIPS",
    "JAW",
    "LEFT_BROW",
    "LEFT_EYE",
    "MIRROR",
    "MOUTH",
    "NOSE",
    "OUTER_LIPS",
    "RIGHT_BROW",
    "RIGHT_EYE",
    "Face",
    "Landmarker",
    "MediaPipeLandmarker",
    "SidecarLandmarker",
    "open_landmarker",
    "sidecar_path",
    "write_landmarks",
]

# Most landmarks are one vertex of the mesh. Where the mesh has none, two neighbours stand for the point halfway between
# them: this spaces the jaw evenly and puts the root of the nose at the height of the eyes, as in iBUG's annotations.
MEDIAPIPE_TO_IBUG = np.array(
    [(127, 127), (234, 234), (93, 132), (132, 58), (58, 172), (136, 136), (150, 149), (176, 148), (152, 152)]  # jaw
    + [(400, 377), (379, 378), (365, 365), (288, 397), (361, 288), (323, 361), (454, 454), (356, 356)]
    + [(i, i) for i in (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)]  # brows
    + [(168, 6), (197, 197), (195, 5), (4, 4)]  # bridge of the nose
    + [(i, i) for i in (75, 97, 2, 326, 305)]  # below the nose
    + [(i, i) for i in (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)]  # eyes
    + [(i, i) for i in (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)]  # outer lips
    + [(i, i) for i in (78, 82, 13, 312, 308, 317, 14, 87)]  # inner lips
)
"""The two vertices [68, 2] of MediaPipe's face mesh whose mean is each of the 68 landmarks."""

_VERTICES = [*MEDIAPIPE_TO_IBUG.ravel().tolist(), 10, 10]  # the last is the top of the forehead

MESH_RESOLUTION = 192
"""Side of the square picture that MediaPipe's face mesh network reads."""

FACE_MARGIN = 1.5
"""Side of that picture's footprint in the frame, as a multiple of the face box."""


@dataclass(frozen=True)
class Face:
    """One face in one frame.

    Attributes:
        landmarks: 68 points (x, y) in frame pixels.
        confidence: 0..1, how sure the landmarker is that this is a face.
    """

    landmarks: Float[np.ndarray, "68 2"]
    confidence: float


class Landmarker(Protocol):
    """Finds the faces of a clip's frames."""

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], index: int) -> list[Face]:
        """Faces in the frame number `index` of the clip, the largest first."""
        ...

    def close(self) -> None:
        """Frees what the landmarker holds; it cannot be called afterwards."""
        ...


class MediaPipeLandmarker:
    """Landmarks by MediaPipe's face detector and face mesh.

    Every frame is treated on its own, without tracking: the same frame gives the same landmarks whatever came before,
    so clips can be cut, resumed and divided among processes.

    A face box is found by the detector and refined by a first run of the mesh. The box, of width w, is then shifted by
    beta * w in the eight compass directions, and the nine results are averaged, which removes most of the jitter that
    a crop of 1024 px would show (patent US 2020/0372621 A1, paragraph 0052).

    The mesh reads upright square crops made here instead of whole frames: MediaPipe's own cropping distorts tilted
    faces in pictures that are not square, and offers no way to shift the box.

    Args:
        beta: shift of the box as a share of its width, rounded to whole pixels of the mesh's input; with 0 the mesh
            runs once there, several times faster.

    Raises:
        InputError: MediaPipe is not installed.
    """

    def __init__(self, beta: float = 0.05) -> None:
        self._shift = round(beta * MESH_RESOLUTION / FACE_MARGIN)
        with _without_mediapipe_chatter():
            self._detectors, self._mesh, self._whole = _load_mediapipe()
            # The graphs finish loading, and talk about it, with their first picture.
            blank = np.zeros((MESH_RESOLUTION, MESH_RESOLUTION, 3), np.uint8)
            self._detect(blank)
            self._localise(blank, _Box(np.zeros(2), MESH_RESOLUTION, 1, 0), 0)

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], index: int) -> list[Face]:
        """Faces in a frame, the largest first; `index` plays no role."""
        faces = []
        for box, confidence in self._detect(image):
            points = self._localise(image, box, shift=0)
            if points is not None:
                points = self._localise(image, _face_box(points), self._shift)
            if points is not None:
                faces.append(Face(points[:-1], confidence))
        return sorted(faces, key=lambda face: -_face_box(face.landmarks).side)

    def close(self) -> None:
        """Frees the networks."""
        for graph in (*self._detectors, self._mesh):
            graph.close()

    def _detect(self, image: np.ndarray) -> list[tuple["_Box", float]]:
        """Face boxes and confidences."""
        size = np.array(image.shape[1::-1])
        for detector in self._detectors:
            detections = detector.process(image).detections or []
            if detections:
                break
        boxes = []
        for detection in detections:
            location = detection.location_data
            bounds = location.relative_bounding_box
            centre = np.array([bounds.xmin + bounds.width / 2, bounds.ymin + bounds.height / 2]) * size - 0.5
            right, left = (np.array([point.x, point.y]) * size for point in location.relative_keypoints[:2])  # eyes
            side = max(bounds.width * size[0], bounds.height * size[1])
            boxes.append((_Box(centre, side, *(left - right)), detection.score[0]))
        return boxes

    def _localise(self, image: np.ndarray, box: "_Box", shift: int) -> Float[np.ndarray, "69 2"] | None:
        """Landmarks and the top of the forehead, frame pixels; None where the mesh sees no face.

        With a shift, in pixels of the mesh's input, the mean over the box and its eight shifted copies.
        """
        side = MESH_RESOLUTION + 2 * shift
        transform = box.transform(side)
        picture = align.crop(image, transform, side)
        found = []
        for x, y in itertools.product((0, shift, 2 * shift) if shift else (0,), repeat=2):
            window = np.ascontiguousarray(picture[y : y + MESH_RESOLUTION, x : x + MESH_RESOLUTION])
            mesh = self._mesh.process({"image": window, "roi": self._whole}).landmarks
            if mesh is not None:
                vertices = [(mesh.landmark[i].x, mesh.landmark[i].y) for i in _VERTICES]
                found.append(np.array(vertices) * MESH_RESOLUTION - 0.5 + (x, y))
        if not found:
            return None
        points = np.mean(found, axis=0).reshape(-1, 2, 2).mean(1)
        return align.transform_points(points, align.invert(transform))


class _Box(NamedTuple):
    """A square around a face, upright in the face's own frame."""

    centre: Float[np.ndarray, "2"]
    side: float
    x: float  # direction from the right to the left eye
    y: float

    def transform(self, side: int) -> Float[np.ndarray, "2 3"]:
        """Similarity from the frame to an upright square picture at the scale that the mesh network reads."""
        scale = MESH_RESOLUTION / (FACE_MARGIN * self.side)
        linear = scale / np.hypot(self.x, self.y) * np.array([[self.x, self.y], [-self.y, self.x]])
        return np.column_stack([linear, (side - 1) / 2 - linear @ self.centre])


def _face_box(landmarks: Float[np.ndarray, "n 2"]) -> _Box:
    """The square around a face that has the same tilt as the line through the eyes."""
    x, y = landmarks[LEFT_EYE].mean(0) - landmarks[RIGHT_EYE].mean(0)
    upright = np.array([[x, y], [-y, x]], np.float64) / np.hypot(x, y)
    points = landmarks @ upright.T
    low, high = points.min(0), points.max(0)
    return _Box(upright.T @ (low + high) / 2, (high - low).max(), x, y)


def _load_mediapipe() -> tuple[list, object, object]:
    """Face detectors in the order of use, the face mesh, and the region that makes it read a whole picture."""
    try:
        from mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
        from mediapipe.framework.formats.rect_pb2 import NormalizedRect
        from mediapipe.python.solution_base import PacketDataType, SolutionBase
        from mediapipe.python.solutions.face_detection import FaceDetection
    except ModuleNotFoundError as error:
        raise InputError(
            "Finding faces needs MediaPipe, which is not installed: pip install 'faceswap-jax[faces]', or put a file "
            "of landmarks beside the clip."
        ) from error
    # The full-range network finds faces down to a tenth of the frame's height; only the other one sees close-ups.
    detectors = [FaceDetection(model_selection=1), FaceDetection(model_selection=0)]
    graph = CalculatorGraphConfig(
        input_stream=["image", "roi"], input_side_packet=["with_attention"], output_stream=["landmarks"]
    )
    graph.node.add(
        calculator="FaceLandmarkCpu",
        input_stream=["IMAGE:image", "ROI:roi"],
        input_side_packet=["WITH_ATTENTION:with_attention"],
        output_stream=["LANDMARKS:landmarks"],
    )
    types = {"image": PacketDataType.IMAGE_FRAME, "roi": PacketDataType.PROTO, "landmarks": PacketDataType.PROTO}
    mesh = SolutionBase(
        graph_config=graph, side_inputs={"with_attention": False}, outputs=["landmarks"], stream_type_hints=types
    )
    return detectors, mesh, NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1)


_CHATTER = re.compile(rb"[IW]\d{4} |INFO: |WARNING: |AttributeError: 'MessageFactory' object has no attribute")


@contextmanager
def _without_mediapipe_chatter() -> Iterator[None]:
    """Keeps MediaPipe's information and warnings off stderr; every other line appears at the end of the block.

    They come from C++, from several threads, and no log level stops the earliest of them: hence the file descriptor.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


HEADER = ["frame"] + [f"{axis}{point}" for point in range(68) for axis in "xy"]


def sidecar_path(clip: Path) -> Path:
    """Where the landmarks of a clip are looked for: `a.mp4` -> `a.mp4.landmarks.csv`."""
    return clip.with_name(clip.name + ".landmarks.csv")


def write_landmarks(path: Path, landmarks: Mapping[int, Float[np.ndarray, "68 2"]]) -> None:
    """Writes the landmarks [68, 2] of each frame number as a sidecar file, to a thousandth of a pixel."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for frame, points in sorted(landmarks.items()):
            writer.writerow([frame, *(f"{value:.3f}" for value in np.asarray(points).reshape(136))])


class SidecarLandmarker:
    """Landmarks from a file beside the clip; the module's docstring describes the format.

    Raises:
        InputError: the file cannot be read or breaks the format; the message names the line and what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._faces = _read_landmarks(Path(path))

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], index: int) -> list[Face]:
        """The face of frame `index`, if the file has a row for it."""
        return self._faces.get(index, [])

    def close(self) -> None:
        """Nothing to free."""


def _read_landmarks(path: Path) -> dict[int, list[Face]]:
    """Faces by frame number."""
    faces: dict[int, list[Face]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark first
            rows = csv.reader(file)
            if next(rows, []) != HEADER:
                raise InputError(f"{path}, line 1: the header must be frame,x0,y0,x1,y1,...,x67,y67.")
            for row in rows:
                if not row:
                    continue
                where = f"{path}, line {rows.line_num}"
                if len(row) != len(HEADER):
                    raise InputError(f"{where}: {len(row)} values where {len(HEADER)} belong (frame and 68 x,y pairs).")
                try:
                    frame, points = int(row[0]), np.array(row[1:], np.float32).reshape(68, 2)
                except ValueError as error:
                    raise InputError(f"{where}: not a number ({error}).") from error
                if frame < 0:
                    raise InputError(f"{where}: the frame number {frame} is negative; frames count from 0.")
                if frame in faces:
                    raise InputError(f"{where}: frame {frame} appears a second time; keep one row per frame.")
                if not np.isfinite(points).all():
                    raise InputError(f"{where}: a coordinate is not finite; leave the row out if there is no face.")
                if np.allclose(points[LEFT_EYE].mean(0), points[RIGHT_EYE].mean(0)):
                    raise InputError(f"{where}: both eyes lie at one point; leave the row out if there is no face.")
                faces[frame] = [Face(points, 1.0)]
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; landmarks lie beside the clip as CLIP.landmarks.csv.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a landmarks file: {error}.") from error
    return faces


def open_landmarker(clip: Path) -> Landmarker:
    """The clip's own landmarks if a sidecar file lies beside it, else MediaPipe."""
    sidecar = sidecar_path(Path(clip))
    return SidecarLandmarker(sidecar) if sidecar.exists() else MediaPipeLandmarker()
