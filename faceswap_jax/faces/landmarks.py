"""Facial landmarks: 68 points in the iBUG order, from MediaPipe, with irises, or from a file beside the clip.

The file (sidecar)
    A clip's landmarks may be tracked elsewhere, e.g. by a matchmove department, and handed over as
    `<clip file name>.landmarks.csv` in the clip's folder: `a.mp4` -> `a.mp4.landmarks.csv`. It is comma-separated text
    (UTF-8) with the header

        frame,x0,y0,x1,y1,...,x67,y67

    and one row per frame that shows the face. `frame` counts from 0 in presentation order. Coordinates are pixels of
    the frame as players show it, turned upright, with square pixels: x to the right, y down, decimals allowed, the
    centre of the top left pixel at (0, 0). Frames without a row have no face. Rows may come in any order, each frame
    once. The landmarks of numbered pictures lie beside them as `shot.%04d.exr.landmarks.csv`; there 0 is the first
    picture that is read.
"""

import contextlib
import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from faceswap_jax.errors import InputError
from faceswap_jax.faces import sequence
from faceswap_jax.faces.face import Face, Image, Landmarker, Landmarks
from faceswap_jax.faces.ibug import LEFT_EYE, RIGHT_EYE
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.picture import read_picture


class Shown(NamedTuple):
    """A picture and a face in it."""

    image: Image
    face: Face


HEADER = ["frame"] + [f"{axis}{point}" for point in range(68) for axis in "xy"]


def sidecar_path(clip: Path) -> Path:
    """Where the landmarks of a clip are looked for: `a.mp4` -> `a.mp4.landmarks.csv`."""
    named = sequence.parse(clip)
    plain = clip if named is None else named.plain
    return plain.with_name(plain.name + ".landmarks.csv")


def find_sidecar(clip: Path) -> Path | None:
    """The landmarks beside a clip; None if there are none, as of a clip whose name leaves no room for theirs."""
    path = sidecar_path(clip)
    return path if os.path.exists(path) else None


def write_landmarks(path: Path, landmarks: Mapping[int, Landmarks]) -> None:
    """Writes the landmarks [68, 2] of each frame number as a sidecar file, to a thousandth of a pixel."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for frame, points in sorted(landmarks.items()):
            values = np.asarray(points).reshape(136)
            writer.writerow([frame, *(f"{value:.3f}" for value in values)])


class SidecarLandmarker:
    """Landmarks from a file beside the clip; the module's docstring describes the format.

    Raises:
        InputError: the file cannot be read or breaks the format; the message names the line and what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._faces = _read_landmarks(Path(path))

    def __call__(self, image: Image, index: int) -> list[Face]:
        """The face of frame `index`, if the file has a row for it."""
        return self._faces.get(index, [])

    def close(self) -> None:
        """Nothing to free."""


def _read_landmarks(path: Path) -> dict[int, list[Face]]:
    """Faces by frame number."""
    faces: dict[int, list[Face]] = {}
    try:
        # Spreadsheets put a byte order mark first.
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            if next(rows, []) != HEADER:
                raise InputError(
                    f"{path}, line 1: the header must be frame,x0,y0,x1,y1,...,x67,y67."
                )
            for row in rows:
                if not row:
                    continue
                where = f"{path}, line {rows.line_num}"
                frame, points = _parse(row, where)
                if frame in faces:
                    raise InputError(
                        f"{where}: frame {frame} appears a second time; keep one row per frame."
                    )
                faces[frame] = [Face(points, 1.0)]
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist; landmarks lie beside the clip as CLIP.landmarks.csv."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a landmarks file: {error}.") from error
    return faces


def _parse(row: list[str], where: str) -> tuple[int, Float32[np.ndarray, "68 2"]]:
    """Frame number and landmarks of a row; errors name `where` it stands."""
    if len(row) != len(HEADER):
        raise InputError(
            f"{where}: {len(row)} values where {len(HEADER)} belong (frame and 68 x,y pairs)."
        )
    try:
        frame = int(row[0])
        points = np.array(row[1:], np.float32).reshape(68, 2)
    except ValueError as error:
        raise InputError(f"{where}: not a number ({error}).") from error

    if frame < 0:
        raise InputError(f"{where}: the frame number {frame} is negative; frames count from 0.")
    if not np.isfinite(points).all():
        raise InputError(
            f"{where}: a coordinate is not finite; leave the row out if there is no face."
        )
    if np.allclose(points[LEFT_EYE].mean(0), points[RIGHT_EYE].mean(0)):
        raise InputError(
            f"{where}: both eyes lie at one point; leave the row out if there is no face."
        )
    return frame, points


def largest_face(picture: Path) -> Shown:
    """The largest face of a picture; a sidecar file counts.

    Raises:
        InputError: the picture cannot be read or shows no face.
    """
    image = read_picture(picture)
    with contextlib.closing(open_landmarker(picture)) as landmarker:
        faces = landmarker(image, 0)
    if not faces:
        raise InputError(f"{picture} shows no face; give another picture.")
    return Shown(image, faces[0])


def open_landmarker(clip: Path, beta: float = 0.05) -> Landmarker:
    """The clip's own landmarks if a sidecar file lies beside it, else MediaPipe with this shift of the face box."""
    sidecar = find_sidecar(Path(clip))
    if sidecar is not None:
        return SidecarLandmarker(sidecar)
    return MediaPipeLandmarker(beta)
