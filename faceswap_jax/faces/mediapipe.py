"""Facial landmarks and irises by MediaPipe's networks, run by LiteRT."""

import importlib.util
import itertools
import math
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Face, Image
from faceswap_jax.faces.ibug import LEFT_EYE, RIGHT_EYE

# Most landmarks are one vertex of the mesh. Where the mesh has none, two neighbours stand for the point halfway between
# them: this spaces the jaw evenly and puts the root of the nose at the height of the eyes, as in iBUG's annotations.
_JAW = [
    (127, 127),
    (234, 234),
    (93, 132),
    (132, 58),
    (58, 172),
    (136, 136),
    (150, 149),
    (176, 148),
    (152, 152),
    (400, 377),
    (379, 378),
    (365, 365),
    (288, 397),
    (361, 288),
    (323, 361),
    (454, 454),
    (356, 356),
]
_BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
_BRIDGE = [(168, 6), (197, 197), (195, 5), (4, 4)]
_BELOW_NOSE = [75, 97, 2, 326, 305]
_EYES = [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
_OUTER_LIPS = [61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181]
_INNER_LIPS = [78, 82, 13, 312, 308, 317, 14, 87]


def _twice(vertices: Sequence[int]) -> list[tuple[int, int]]:
    return [(vertex, vertex) for vertex in vertices]


MEDIAPIPE_TO_IBUG = np.array(
    _JAW
    + _twice(_BROWS)
    + _BRIDGE
    + _twice(_BELOW_NOSE)
    + _twice(_EYES)
    + _twice(_OUTER_LIPS)
    + _twice(_INNER_LIPS)
)
"""The two vertices [68, 2] of MediaPipe's face mesh whose mean is each of the 68 landmarks."""

_FOREHEAD = 10  # vertex at its top
_VERTICES = np.array([*MEDIAPIPE_TO_IBUG.ravel(), _FOREHEAD, _FOREHEAD])

MESH_RESOLUTION = 192
"""Side of the square image that MediaPipe's face mesh network reads."""

FACE_MARGIN = 1.5
"""Side of that image's footprint in the frame, as a multiple of the face box."""

IRIS_RESOLUTION = 64
"""Side of the square image that MediaPipe's iris network reads."""

EYE_MARGIN = 2.3
"""Side of that image's footprint in the frame, as a multiple of the distance between the corners of the eye."""

MIN_CONFIDENCE = 0.5
"""Of the detectors and the mesh; below it a face is none."""

SURE = 15.0
"""The mesh's logit from which on a face is not tried upside down.

Of six real people 95 of 100 upright faces have 17 and more, those upside down at most 12.
"""

MAX_OVERLAP = 0.3
"""Intersection over union of the boxes of two faces; above it they are one."""

CLOSE_UP = 0.25
"""Side of the face box, as a fraction of the frame's long side, from which on no much smaller faces are looked for."""

SEARCH_RESOLUTION = 480
"""Long side to which a larger frame is reduced before its parts are searched."""

MISSING = InputError(
    "Finding faces needs LiteRT and the networks in MediaPipe 0.10.21, which are not installed: "
    "pip install 'faceswap-jax[faces]', or put a file of landmarks beside the clip."
)


class MediaPipeLandmarker:
    """Landmarks by MediaPipe's face detectors, face mesh and irises (Apache-2.0), run by LiteRT.

    Several threads may call it at once: each call has networks of its own, on one thread.

    Every frame is treated on its own, without tracking: the same frame gives the same landmarks whatever came before,
    so clips can be cut, resumed and divided among processes.

    The short-range detector needs faces with a side of an eighth of the frame's long side. Unless it sees a close-up,
    twice that size, the full-range one adds faces down to a sixteenth, at four times the cost. If there is none yet, it
    searches up to nine overlapping parts of the frame and finds faces of a fortieth.

    A face box is found by a detector and refined by a first run of the mesh. The box, of width w, is then shifted by
    beta * w in the eight compass directions, and the nine results are averaged, which takes a quarter to a half off the
    jitter that a crop of 1024 px would show (patent US 2020/0372621 A1, paragraph 0052). The nine windows are cut from
    one image; detection, refinement and irises are not repeated.

    Args:
        beta: shift of the box as a fraction of its width, rounded to whole pixels of the mesh's input; with 0 the mesh
            runs once there, in less than half of the time.

    Raises:
        InputError: LiteRT or MediaPipe is not installed.
    """

    def __init__(self, beta: float = 0.05) -> None:
        self._beta = beta
        # Loaded now, so that what is missing is told at once
        self._idle = [_Networks(beta)]

    def __call__(self, image: Image, index: int) -> list[Face]:
        """Faces in a frame, the largest first; `index` plays no role."""
        try:
            networks = self._idle.pop()
        except IndexError:
            networks = _Networks(self._beta)
        faces = networks.faces_in(image)
        self._idle.append(networks)
        return faces

    def close(self) -> None:
        """Frees the networks."""
        del self._idle


class _Networks:
    """What `MediaPipeLandmarker` does in one thread."""

    def __init__(self, beta: float) -> None:
        self._shift = round(beta * MESH_RESOLUTION / FACE_MARGIN)
        with without_chatter():
            self._short_range = _Detector(
                "face_detection/face_detection_short_range",
                grids=[(16, 2), (8, 6)],
            )
            self._full_range = _Detector(
                "face_detection/face_detection_full_range_sparse",
                grids=[(48, 1)],
            )
            self._mesh = shipped("face_landmark/face_landmark")
            self._iris = shipped("iris_landmark/iris_landmark")

    def faces_in(self, image: Image) -> list[Face]:
        """Faces in a frame, the largest first."""
        pyramid = Pyramid(image)
        found = self._short_range(*pyramid.reduced(self._short_range.side))

        # Unless there is a close-up, smaller faces are looked for, too.
        is_close_up = (found[:, 2] > CLOSE_UP * max(image.shape)).any()
        if not is_close_up:
            smaller = self._full_range(*pyramid.reduced(self._full_range.side))
            found = np.concatenate([found, smaller])

        faces = self._faces(pyramid, found)
        if not faces:
            faces = self._faces(pyramid, self._search(pyramid))
        return faces

    def _search(self, pyramid: "Pyramid") -> Float32[np.ndarray, "n 9"]:
        """What the full-range detector finds in parts of a frame that overlap by a quarter or more."""
        image, scale = pyramid.reduced(SEARCH_RESOLUTION)
        height, width = image.shape[:2]
        side = self._full_range.side
        found = []
        lefts = _spread(width, side)
        tops = _spread(height, side)
        for x, y in itertools.product(lefts, tops):
            part = image[y : y + side, x : x + side]
            found.append(self._full_range(part, scale, corner=(x, y)))
        return np.concatenate(found)

    def _faces(self, pyramid: "Pyramid", found: Float32[np.ndarray, "n 9"]) -> list[Face]:
        """Faces, the largest first, from the candidates of the detectors."""
        faces = []
        boxes = []
        for candidate in _merge(found):
            box = self._refined(pyramid, candidate)
            if box is None:
                continue

            # The mesh may have slid onto a face that is known already.
            square = np.array([*box.centre, box.side, box.side])
            if any(_overlap(square, known[None]) > MAX_OVERLAP for known in boxes):
                continue

            points = self._localise(pyramid, box, self._shift)
            if points is not None:
                irises = self._irises(pyramid, points)
                faces.append(Face(points[:-1], float(candidate[8]), irises))
                boxes.append(square)
        return sorted(faces, key=_face_side, reverse=True)

    def _refined(self, pyramid: "Pyramid", candidate: Float32[np.ndarray, "9"]) -> "Box | None":
        """The box of a candidate, by runs of the mesh; None where it sees no face.

        Detectors find faces that stand on their heads, but take chins for foreheads. The mesh is surer of a face that
        it sees upright: where it is not sure, it sees the box upside down, too.
        """
        centre, size, right, left = candidate[:8].reshape(4, 2)
        box = Box(centre - 0.5, size.max(), *(left - right))
        points, logits = self._run_mesh(pyramid, box, shift=0)
        if logits.mean() < SURE:
            turned = box._replace(x=-box.x, y=-box.y)
            others, other_logits = self._run_mesh(pyramid, turned, shift=0)
            if other_logits.mean() > logits.mean():
                # A chin's box lies off the face: the mesh looks twice more.
                points, _ = self._run_mesh(pyramid, face_box(others), shift=0)
                points, logits = self._run_mesh(pyramid, face_box(points), shift=0)
        return face_box(points) if _is_face(logits) else None

    def _localise(
        self, pyramid: "Pyramid", box: "Box", shift: int
    ) -> Float32[np.ndarray, "69 2"] | None:
        """Landmarks and the top of the forehead, frame pixels; None where the mesh sees no face."""
        points, logits = self._run_mesh(pyramid, box, shift)
        return points if _is_face(logits) else None

    def _run_mesh(
        self, pyramid: "Pyramid", box: "Box", shift: int
    ) -> tuple[Float32[np.ndarray, "69 2"], Float[np.ndarray, "n"]]:
        """Landmarks and the top of the forehead, frame pixels; how sure the mesh is of a face, a logit for each run.

        With a shift, in pixels of the mesh's input, the mean over the box and its eight shifted copies.
        """
        # One image that holds all windows.
        side = MESH_RESOLUTION + 2 * shift
        to_frame = box.to_frame(MESH_RESOLUTION / FACE_MARGIN, side)
        image = pyramid.crop(to_frame, side)

        # One window after the other: LiteRT takes as long for a batch.
        starts = (0, shift, 2 * shift) if shift else (0,)
        meshes = []
        logits = []
        for x, y in itertools.product(starts, repeat=2):
            window = image[y : y + MESH_RESOLUTION, x : x + MESH_RESOLUTION]
            mesh, presence = self._mesh(window / np.float32(255))
            vertices = mesh.reshape(-1, 3)[_VERTICES, :2]
            meshes.append(vertices + np.float32([x, y]))
            logits.append(presence.item())

        # Each landmark lies halfway between two vertices. The mesh counts from the corner of a pixel.
        pairs = np.mean(meshes, axis=0).reshape(-1, 2, 2)
        return align.transform_points(pairs.mean(1) - 0.5, to_frame), np.array(logits)

    def _irises(
        self, pyramid: "Pyramid", landmarks: Float[np.ndarray, "n 2"]
    ) -> Float32[np.ndarray, "2 2"]:
        """Centres of the person's right and left iris, frame pixels."""
        centres = []
        for eye in (RIGHT_EYE, LEFT_EYE):
            # A square around the eye, level with its corners.
            first = landmarks[eye[0]]
            last = landmarks[eye[3]]
            along = last - first
            box = Box((first + last) / 2, float(np.hypot(*along)), *along)
            to_frame = box.to_frame(IRIS_RESOLUTION / EYE_MARGIN, IRIS_RESOLUTION)
            image = pyramid.crop(to_frame, IRIS_RESOLUTION)

            # The network knows right eyes only: left ones are mirrored.
            is_left = eye is LEFT_EYE
            if is_left:
                image = image[:, ::-1]
            _, iris = self._iris(image / np.float32(255))
            x, y = iris[0, :2] - 0.5
            if is_left:
                x = IRIS_RESOLUTION - 1 - x
            centre = align.transform_points(np.array([[x, y]]), to_frame)
            centres.append(centre)
        return np.concatenate(centres)


class Network:
    """A network that LiteRT runs on one thread; calls take one input and give its outputs.

    Args:
        model: the content of a .tflite file.

    Raises:
        InputError: LiteRT is not installed.
    """

    def __init__(self, model: bytes) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise MISSING from error
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        (described,) = interpreter.get_input_details()
        self._input = described["index"]
        self.side = int(described["shape"][1])
        self._outputs = [output["index"] for output in interpreter.get_output_details()]
        self._interpreter = interpreter

    def __call__(self, x: Float32[np.ndarray, "..."]) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, x[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output) for output in self._outputs]


def shipped(name: str) -> Network:
    """One of the networks in MediaPipe's package, such as "face_landmark/face_landmark".

    Raises:
        InputError: LiteRT or MediaPipe is not installed.
    """
    # Importing MediaPipe itself takes a second and prints: only its folder is of interest.
    package = importlib.util.find_spec("mediapipe")
    if package is None:
        raise MISSING
    path = Path(package.origin).parent / "modules" / f"{name}.tflite"
    if not path.is_file():
        raise MISSING
    return Network(path.read_bytes())


class _Detector:
    """One of MediaPipe's face detectors (BlazeFace, Bazarevsky et al. 2019).

    Args:
        name: of its network.
        grids: cells along one side of each of its output grids, and candidates in each cell.
    """

    def __init__(self, name: str, grids: Sequence[tuple[int, int]]) -> None:
        self._network = shipped(name)
        self.side = self._network.side
        # The middle of the cell of each candidate.
        anchors = []
        for cells, count in grids:
            ticks = (np.arange(cells) + 0.5) * (self.side / cells)
            x, y = np.meshgrid(ticks, ticks)
            middles = np.column_stack([x.ravel(), y.ravel()])
            anchors.append(middles.repeat(count, axis=0))
        self._anchors = np.concatenate(anchors).astype(np.float32)

    def __call__(
        self,
        image: Image,
        scale: Float[np.ndarray, "2"],
        corner: tuple[int, int] = (0, 0),
    ) -> Float32[np.ndarray, "n 9"]:
        """Candidates: centre, width and height, right and left eye, each as x and y; score.

        Args:
            image: part of a reduced frame that is no larger than the network's input.
            scale: frame pixels per pixel along x and y.
            corner: where in the reduced frame it lies. Candidates are in pixels from the frame's own corner.
        """
        height, width = image.shape[:2]
        padded = np.full((self.side, self.side, 3), -1, np.float32)
        padded[:height, :width] = image / np.float32(127.5) - 1
        numbers, logits = self._network(padded)
        scores = sigmoid(logits[0, :, 0])
        likely = scores >= MIN_CONFIDENCE

        # Centre, size, right and left eye; all but the size count from the anchor.
        points = numbers[0, likely, :8].reshape(-1, 4, 2)
        anchors = self._anchors[likely, None] + np.float32(corner)
        points[:, [0, 2, 3]] += anchors
        points = points * scale
        return np.column_stack([points.reshape(-1, 8), scores[likely]])


class Pyramid:
    """A frame and its halvings, from which small images are sampled fast and with little aliasing."""

    def __init__(self, image: Image) -> None:
        image = np.ascontiguousarray(image)  # or OpenCV copies it for every crop
        self._levels = [image]
        while max(image.shape) >= 256 and min(image.shape[:2]) >= 2:
            image = align.halved(image)
            self._levels.append(image)

    def reduced(self, side: int) -> tuple[UInt8[np.ndarray, "..."], Float[np.ndarray, "2"]]:
        """The frame, reduced to fit into a square unless it does, and frame pixels per pixel along x and y."""
        # The smallest level that is no smaller than the square.
        large_enough = sum(max(level.shape) >= side for level in self._levels)
        halvings = max(1, large_enough) - 1
        level = self._levels[halvings]

        size = np.array(level.shape[1::-1])
        factor = min(1, side / size.max())
        reduced = np.maximum(1, np.round(factor * size)).astype(int)
        image = cv2.resize(level, reduced.tolist())
        return image, 2**halvings * size / reduced

    def crop(self, to_frame: align.Transform, side: int) -> UInt8[np.ndarray, "s s 3"]:
        """Like `align.crop`, given the inverse transform: a little softer, in a tenth of the time."""
        frame_pixels = np.hypot(*to_frame[:, 0])  # per pixel of the crop
        level = int(np.clip(np.log2(frame_pixels), 0, len(self._levels) - 1))
        return cv2.warpAffine(
            self._levels[level],
            align.scale_transform(to_frame, 0.5**level),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def sigmoid(logits: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))


def _is_face(logits: Float[np.ndarray, "n"]) -> bool:
    """Whether the mesh sees a face, given its logits of some runs."""
    return bool(sigmoid(logits).mean() >= MIN_CONFIDENCE)


def _spread(length: int, side: int) -> list[int]:
    """Starts of windows that cover a length evenly, overlapping by a quarter or more."""
    last = max(0, length - side)
    count = 1 + math.ceil(last / (0.75 * side))
    starts = np.linspace(0, last, count).round()
    return starts.astype(int).tolist()


def _overlap(
    box: Float[np.ndarray, "4"], boxes: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, "n"]:
    """Intersection over union of one box (centre and size) with others."""
    centre, size = np.split(box, 2)
    centres, sizes = np.split(boxes, 2, axis=1)
    low = np.maximum(centre - size / 2, centres - sizes / 2)
    high = np.minimum(centre + size / 2, centres + sizes / 2)
    intersection = np.maximum(high - low, 0).prod(1)
    union = size.prod() + sizes.prod(1) - intersection
    return intersection / union


def _merge(found: Float32[np.ndarray, "n 9"]) -> list[Float32[np.ndarray, "9"]]:
    """One mean of all candidates that overlap with the best one, weighted by their scores, and so on; best first."""
    merged = []
    order = np.argsort(-found[:, 8], kind="stable")
    found = found[order]
    while len(found):
        best = found[0]
        is_near = _overlap(best[:4], found[:, :4]) > MAX_OVERLAP
        is_near[0] = True  # whatever its size
        near = found[is_near]
        mean = np.average(near, axis=0, weights=near[:, 8])
        mean[8] = best[8]
        merged.append(mean)
        found = found[~is_near]
    return merged


class Box(NamedTuple):
    """A square that is upright in a face's own frame."""

    centre: Float[np.ndarray, "2"]
    side: float
    x: float  # direction from left to right of the upright image, e.g. from the right to the left eye
    y: float

    def to_frame(self, pixels: float, side: int) -> align.Transform:
        """Similarity to the frame from an upright square image in the middle of which the box has `pixels`."""
        x, y = self.x, self.y
        scale = self.side / pixels / np.hypot(x, y)
        linear = scale * align.turn_and_scale(x, y)
        middle = (side - 1) / 2
        offset = self.centre - linear.sum(1) * middle
        return np.column_stack([linear, offset])


def face_box(landmarks: Float[np.ndarray, "n 2"]) -> Box:
    """The square around a face that has the same tilt as the line through the eyes."""
    # A frame in which the line through the eyes is level.
    right, left = align.eye_centres(landmarks)
    x, y = left - right
    upright = align.turn_and_scale(x, -y).astype(np.float64) / np.hypot(x, y)

    points = landmarks @ upright.T
    low = points.min(0)
    high = points.max(0)
    centre = upright.T @ (low + high) / 2
    return Box(centre, (high - low).max(), x, y)


def _face_side(face: Face) -> float:
    return face_box(face.landmarks).side


_stderr = threading.Lock()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keeps LiteRT's information off stderr; every other line appears at the end of the block.

    It comes from C++ and no log level stops it: hence the file descriptor, which belongs to all threads.
    """
    with _stderr, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
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
                if not line.startswith(b"INFO: "):
                    os.write(2, line)
