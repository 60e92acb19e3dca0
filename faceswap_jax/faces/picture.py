"""Still pictures: upright RGB in, and out in the format that the suffix names."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8, UInt16

from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.files import readable, replacing

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

# What OpenCV has to say about a damaged picture goes to stderr in several lines; the exception says it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a still picture."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES


def read_picture(path: Path, *, depth: int = 8) -> Image | UInt16[np.ndarray, "h w 3"]:
    """Picture, upright by its EXIF orientation, as RGB; transparency is dropped.

    Args:
        path: of the picture.
        depth: bits per channel, 8 or 16, as in `video.read_frames`.

    Raises:
        InputError: the file is missing, unreadable, no picture, or claims more pixels than any camera has.
    """
    flags = cv2.IMREAD_COLOR_RGB | (cv2.IMREAD_ANYDEPTH if depth == 16 else 0)
    image = _decoded(path, flags)
    return image * np.uint16(257) if depth == 16 and image.dtype == np.uint8 else image


def read_overlay(path: Path) -> UInt8[np.ndarray, "h w 4"]:
    """Picture with its transparency: red, green, blue, and how much it hides, 255 all.

    Raises:
        InputError: as `read_picture`, or it has no transparency.
    """
    image = _decoded(path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 4:
        raise InputError(
            f"{path} has no transparency; save what is painted without what is below, as PNG."
        )
    if image.dtype == np.uint16:
        image = np.rint(image / 257).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)


def _decoded(path: Path, flags: int) -> np.ndarray:
    """The picture of a file, decoded as OpenCV's flags say."""
    with readable(path):
        encoded = np.fromfile(path, np.uint8)
    try:
        with warnings.catch_warnings(action="ignore"):
            PIL.Image.open(io.BytesIO(encoded)).close()
        image = cv2.imdecode(encoded, flags)
    except PIL.Image.DecompressionBombError as error:
        limit = 2 * PIL.Image.MAX_IMAGE_PIXELS // 10**6
        raise InputError(
            f"{path} claims more than {limit} million pixels; scale it down or leave it out."
        ) from error
    except (OSError, ValueError, SyntaxError, cv2.error):  # Pillow's and OpenCV's ways to say it
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} is damaged or not a picture; export it again, for example as PNG."
        )
    return image


def write_picture(path: Path, image: Image) -> None:
    """Writes a picture in the format that the suffix names (JPEG and WebP at quality 95).

    Raises:
        InputError: an unknown suffix, or the folder cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise InputError(
            f"{path} has no picture's suffix; choose one of {', '.join(sorted(PICTURE_SUFFIXES))}."
        )
    quality = {
        ".webp": cv2.IMWRITE_WEBP_QUALITY,
        ".jpg": cv2.IMWRITE_JPEG_QUALITY,
        ".jpeg": cv2.IMWRITE_JPEG_QUALITY,
    }
    options = [quality[suffix], 95] if suffix in quality else []
    _, encoded = cv2.imencode(suffix, image[..., ::-1], options)
    with replacing(path) as aside:
        encoded.tofile(aside)


def save_grid(
    path: Path,
    images: Float[np.ndarray, "rows columns h w 3"],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> None:
    """Writes a grid of images in [0, 1] with their labels, and makes the folder for it.

    Args:
        path: of the picture.
        images: of one size; small ones are enlarged.
        rows: what each row shows; () for no labels.
        columns: what each column shows; () for no labels.

    Raises:
        InputError: it cannot be written.
    """
    cells = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, draw_grid(cells, rows, columns))
