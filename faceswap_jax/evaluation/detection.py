"""How well a detector of fakes tells results from real faces: a run of experiments/detector.py judges both."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipelines.clips import Clip
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.frames import Frames, Landmarks, PerFrame
from faceswap_jax.evaluation.report import Score
from faceswap_jax.faces import align, video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.inference.who import spread_faces
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.training import runs

REAL = 64
"""Real faces of each clip, evenly over its time."""

BATCH = 64
"""Faces that are judged at a time; fewer are filled up, so that one compiled program serves all."""

AREA = "area"
DETECTED = Score("told from real faces (area)", "0.5", 3, (0, 1))
"""The area under the ROC curve: how often a real face looks more real than this one."""


class Detector:
    """A trained detector, and what it says of the real faces of some clips.

    These are encoded anew, as results are: otherwise the codec would tell both apart.
    """

    def __init__(self, workdir: Path, clips: Sequence[Clip]):
        """Looks at the clips.

        Args:
            workdir: folder of the run.
            clips: of real faces.

        Raises:
            InputError: the folder holds no run of a detector, or no clip shows a face.
        """
        check_detector(workdir)
        self._mesh = make_mesh()
        run = runs.load(workdir, self._mesh)
        self._config = run.config
        self._params = run.state.params
        self._verdicts = jax.jit(run.task.verdicts)

        faces = [face for clip in clips for face in self._real_faces(clip)]
        if not faces:
            raise InputError("--detector has no real face to compare with: no clip shows one.")
        self._real = np.sort(self._judge(faces))

    def area(self, frames: Frames, landmarks: Landmarks) -> PerFrame:
        """How many of the real faces look more real than the one in each frame, as a fraction; NaN without landmarks.

        Its mean is the area under the ROC curve; equal verdicts count as half.
        """
        shown = np.flatnonzero(np.isfinite(landmarks[:, 0, 0]))
        verdicts = self._judge([self._cut(frames[i], landmarks[i]) for i in shown])
        below = np.searchsorted(self._real, verdicts, side="left")
        not_above = np.searchsorted(self._real, verdicts, side="right")
        areas = np.full(len(frames), np.nan, np.float32)
        areas[shown] = 1 - (below + not_above) / (2 * len(self._real))
        return areas

    def _real_faces(self, clip: Clip) -> list[Image]:
        with tempfile.TemporaryDirectory() as folder:
            anew = Path(folder) / "anew.mp4"
            write_video(anew, clip.path, video.read_frames(clip.path))
            # Landmarks may lie beside the clip.
            with contextlib.closing(open_landmarker(clip.path)) as landmarker:
                found = spread_faces(anew, REAL, landmarker)
        return [self._cut(frame.image, face.landmarks) for frame, face in found]

    def _cut(self, image: Image, landmarks: Float32[np.ndarray, "68 2"]) -> Image:
        return align.cut_face(image, landmarks, self._config.resolution, self._config.alignment)

    def _judge(self, faces: Sequence[UInt8[np.ndarray, "r r 3"]]) -> Float32[np.ndarray, "n"]:
        """The verdict on each face: the higher, the more real."""
        # Starts with none: there may be no faces.
        verdicts = [np.zeros(0, np.float32)]
        for start in range(0, len(faces), BATCH):
            group = np.stack(faces[start : start + BATCH])
            batch = np.pad(group, [(0, BATCH - len(group)), *[(0, 0)] * 3], mode="edge")
            with jax.set_mesh(self._mesh):
                told = self._verdicts(self._params, batch)
            verdicts.append(np.asarray(told)[: len(group)])
        return np.concatenate(verdicts)


def check_detector(workdir: Path) -> None:
    """Raises InputError unless a folder holds a run of a detector."""
    task = configs.load(workdir / "config.json").task
    if task != "detector":
        raise InputError(
            f"'{workdir}' holds a run of '{task}', which tells no fakes; give --detector a run of "
            "experiments/detector.py."
        )
