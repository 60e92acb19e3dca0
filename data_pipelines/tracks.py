"""From a clip to its face tracks: one plain function, so that a loop, a process pool or Beam can drive it."""

import enum
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipelines.records import FaceRecord
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import Face


class Dropped(enum.StrEnum):
    """Why a frame gives no record."""

    NO_FACE = "no face"
    OUTSIDE = "face leaves the frame"


def face_tracks(
    clip: Path,
    persona: str,
    resolution: int,
    landmarker: Callable[[UInt8[np.ndarray, "h w 3"], int], list[Face]],
) -> Iterator[FaceRecord | Dropped]:
    """Yields, for every frame of a clip or picture in order, the record of its largest face or why there is none.

    Records of consecutive frames share a track number; a dropped frame ends the track.

    Args:
        clip: a video or a picture.
        persona: whose face this is.
        resolution: side of the aligned crop in pixels.
        landmarker: as returned by `landmarks.open_landmarker`: (image, frame index) -> faces, largest first.

    Raises:
        InputError: the file cannot be decoded, or landmarks that someone supplied describe no face.
    """
    track, in_track = -1, False
    for frame in video.read_frames(clip):
        faces = landmarker(frame.image, frame.index)
        outcome = Dropped.OUTSIDE if faces else Dropped.NO_FACE
        if faces and _inside(align.face_polygon(faces[0].landmarks), frame.image.shape):
            track += not in_track
            source = {"time": frame.time, "frame": frame.index, "persona": persona, "clip": clip.name, "track": track}
            try:
                outcome = face_record(frame.image, faces[0], resolution, **source)
            except ValueError as error:  # no such face exists, but a hand-made file of landmarks may hold one
                raise InputError(f"Frame {frame.index} of {clip}: {error} Correct or remove them.") from error
        in_track = isinstance(outcome, FaceRecord)
        yield outcome


def face_record(
    image: UInt8[np.ndarray, "h w 3"],
    face: Face,
    resolution: int,
    *,
    time: float,
    frame: int,
    persona: str,
    clip: str,
    track: int,
) -> FaceRecord:
    """Aligns and crops one face of a picture; the other arguments are copied into the record."""
    transform = align.alignment_transform(face.landmarks, resolution)
    landmarks = align.transform_points(face.landmarks, transform).astype(np.float32)
    return FaceRecord(
        image=align.crop(image, transform, resolution),
        landmarks=landmarks,
        polygon=align.face_polygon(landmarks).astype(np.float32),
        transform=np.asarray(transform, np.float64),
        frame_size=(image.shape[0], image.shape[1]),
        time=float(time),
        frame=int(frame),
        confidence=float(face.confidence),
        persona=persona,
        clip=clip,
        track=track,
    )


def _inside(points: Float32[np.ndarray, "n 2"], shape: tuple[int, ...]) -> bool:
    """Whether all points lie within a picture of shape [h, w, ...]."""
    return bool(np.all(points >= 0) and np.all(points <= np.array(shape[1::-1]) - 1))
