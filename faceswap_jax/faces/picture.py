"""Still pictures: upright RGB in, and out in the format that the suffix names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from faceswap_jax.errors import InputError
from faceswap_jax.faces.encoding import in_depth
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.sequence import is_sequence
from faceswap_jax.faces.still import FORMATS, Still, read_still, write_still

PICTURE_SUFFIXES = frozenset(FORMATS)


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a still picture."""
    path = Path(path)
    # Of most names that needs no look at the disk.
    is_numbered = "%" in path.name and is_sequence(path)
    return path.suffix.lower() in PICTURE_SUFFIXES and not is_numbered


def is_silent(path: Path) -> bool:
    """Whether a path names a picture or numbered pictures, beside which there is nothing else."""
    return is_picture(path) or is_sequence(path)


def read_picture(path: Path, *, depth: int = 8) -> Image | UInt16[np.ndarray, "h w 3"]:
    """Picture, upright, as a display shows it in sRGB; transparency is dropped.

    Args:
        path: of the picture.
        depth: bits per channel, 8 or 16, as in `video.read_frames`.

    Raises:
        InputError: the file is missing, unreadable, no picture, or claims more pixels than any camera has; or it is an
            OpenEXR file without red, green and blue.
    """
    still = read_still(path)
    return still.encoding.shown(still.pixels, depth)


def read_overlay(path: Path) -> UInt8[np.ndarray, "h w 4"]:
    """Picture with its transparency: red, green, blue, and how much it hides, 255 all.

    Raises:
        InputError: as `read_picture`, or it has no transparency.
    """
    still = read_still(path)
    if still.alpha is None:
        raise InputError(
            f"{path} has no transparency; save what is painted without what is below, as PNG."
        )
    return np.dstack([still.encoding.shown(still.pixels), in_depth(still.alpha, 8)])


def write_picture(path: Path, image: Image) -> None:
    """Writes a picture in sRGB in the format that the suffix names (those that lose something at quality 95).

    Raises:
        InputError: an unknown suffix, or the folder cannot be written.
    """
    write_still(path, Still(image))


def save_grid(
    path: Path,
    images: Float[np.ndarray, "rows columns h w 3"],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    below: Sequence[str] = (),
) -> None:
    """Writes a grid of images in [0, 1] with their labels, and makes the folder for it.

    Args:
        path: of the picture.
        images: of one size; small ones are enlarged.
        rows: what each row shows; () for no labels.
        columns: what each column shows; () for no labels.
        below: lines of text beneath the images.

    Raises:
        InputError: it cannot be written.
    """
    cells = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, draw_grid(cells, rows, columns, below))
