"""Key pictures: faces that show a trait, and faces that do not."""

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from faceswap_jax.editing.vectors import Key
from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture, read_picture
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.batching import Performance, latents
from faceswap_jax.inference.generator import Generator


class Keys(NamedTuple):
    """One side of a trait.

    Attributes:
        trait: how they were found.
        keys: what they are.
        performance: their frames and faces.
        groups: whose faces are compared with each other's, for each key: the persona's name where it is known.
    """

    trait: str
    keys: Sequence[Key]
    performance: Performance
    groups: Sequence[str]

    def latents(self, generator: Generator) -> Float[np.ndarray, "n latent"]:
        """Latents of all key pictures."""
        return latents(generator, self.performance)


def from_pictures(folder: Path) -> Keys:
    """The largest face of each picture of a folder, or of one picture.

    Raises:
        InputError: there is no picture, or one shows no face.
    """
    paths = [folder]
    if folder.is_dir():
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    elif not is_picture(folder):
        raise InputError(f"{folder} is no folder of pictures and no picture; name one.")
    if not paths:
        raise InputError(f"{folder} holds no picture; put key pictures there.")

    keys = []
    frames = []
    faces = []
    for number, path in enumerate(paths):
        image = read_picture(path)
        with contextlib.closing(open_landmarker(path)) as landmarker:
            found: list[Face] = landmarker(image, 0)
        if not found:
            raise InputError(f"{path} shows no face; leave it out or give another picture.")
        keys.append(Key(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
        frames.append(Frame(image, 0.0, number))
        faces.append(found[0])
    return Keys(folder.name, keys, Performance(frames, faces), [""] * len(keys))
