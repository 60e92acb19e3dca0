"""What moves the face of a picture in place of a performer: a table of head poses, or sound."""

import math
from pathlib import Path
from typing import Protocol

import numpy as np

from faceswap_jax.editing.control import Control, Latents
from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, mel
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.inference import poses
from faceswap_jax.inference.batching import sound_window

RATE = poses.RATE
"""Frames a second."""

SUFFIXES = {poses.SUFFIX, *audio.SUFFIXES}
"""Of the files."""


class Drive(Protocol):
    """Something that moves a face by its latents.

    Attributes:
        sound: file whose sound goes along, if there is one.
    """

    sound: Path | None

    def check(self, control: Control, workdir: Path) -> None:
        """Raises InputError if the control of a run cannot do it."""
        ...

    def shift(self, control: Control, face: Face) -> Latents:
        """What is added to the latents of a face in each frame."""
        ...


class TablePoses:
    """Head poses of a table, see `inference.poses`.

    Raises:
        InputError: the file is no such table.
    """

    sound = None

    def __init__(self, path: Path):
        self._path = path
        self._poses = poses.read_poses(path)

    def check(self, control: Control, workdir: Path) -> None:
        """See `Drive.check`."""
        control.check_poses(self._poses, self._path)

    def shift(self, control: Control, face: Face) -> Latents:
        """See `Drive.shift`."""
        return control.shift(self._poses, head_pose(face.landmarks))


class Sound:
    """The sound of a file.

    Raises:
        InputError: the file cannot be read, or has no sound.
    """

    def __init__(self, path: Path):
        self.sound = path
        samples = audio.read_audio(path)
        if not len(samples):
            raise InputError(f"{path} has no sound; give another file.")
        count = max(1, math.floor(len(samples) / audio.RATE * RATE))
        windows = [sound_window(samples, float(i / RATE), mel.WINDOW) for i in range(count)]
        self._windows = np.stack(windows)

    def check(self, control: Control, workdir: Path) -> None:
        """See `Drive.check`."""
        control.check_sound(workdir)

    def shift(self, control: Control, face: Face) -> Latents:
        """See `Drive.shift`."""
        return control.speech(self._windows)


def open_drive(path: Path | None) -> Drive | None:
    """What a file drives a face by; None if that is a performer's face.

    Raises:
        InputError: it cannot be read.
    """
    suffix = path.suffix.lower() if path else ""
    if suffix == poses.SUFFIX:
        return TablePoses(path)
    return Sound(path) if suffix in audio.SUFFIXES else None
