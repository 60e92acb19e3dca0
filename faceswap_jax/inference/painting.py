"""Painting on the face that an identity holds: what is drawn on it moves with the face (X2Face's embedded face).

An overlay is a picture as large as that face, transparent where nothing is painted. It serves other identities, too.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces.picture import read_overlay, write_picture
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.generator import Generator, Identity

Overlay = UInt8[np.ndarray, "r r 4"]


def check_paintable(generator: Generator, workdir: Path) -> None:
    """Raises InputError unless the generator's identities hold a face to paint on."""
    if not generator.paintable:
        raise InputError(
            f"'{workdir}' holds no face to paint on; leave --paint and --write_embedded out, or give another --workdir."
        )


def load_overlay(path: Path, generator: Generator) -> Overlay:
    """What is painted.

    Raises:
        InputError: the file cannot be read, has no transparency, or is not as large as the generator's faces.
    """
    overlay = read_overlay(path)
    height, width = overlay.shape[:2]
    side = generator.resolution
    if (height, width) != (side, side):
        raise InputError(
            f"{path} has {width} x {height} px, and the embedded face {side} x {side}; paint on the picture that "
            "--write_embedded writes."
        )
    return overlay


def paint(generator: Generator, identity: Identity, overlay: Overlay) -> Identity:
    """The identity with an overlay on its embedded face."""
    face = generator.embedded(identity)
    colours = overlay[..., :3] / np.float32(255)
    opacity = overlay[..., 3:] / np.float32(255)
    return generator.painted(identity, face + opacity * (colours - face))


def write_embedded(path: Path, generator: Generator, identity: Identity) -> None:
    """Writes an identity's embedded face as a picture, and tells it.

    Raises:
        InputError: it cannot be written.
    """
    face = generator.embedded(identity)
    write_picture(path, np.rint(255 * face.clip(0, 1)).astype(np.uint8))
    tell(f"{path}: the embedded face")
