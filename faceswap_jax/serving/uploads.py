"""Files that clients send: what they are by their first bytes, never by their names; stored under names of our own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.serving import probing
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.refusal import TOO_LARGE, UNUSABLE, WRONG_KIND, Refusal

HEAD = 16
"""Bytes that tell what a file is."""

PICTURES: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
"""Pillow's name of each kind of picture."""

CLIPS: Mapping[str, str] = {".mp4": "mov", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
"""FFmpeg's reader of each kind of clip. None of them opens another file."""

LANDMARKS_BYTES = 4096
"""Of a line with the landmarks of a frame, at most."""

PROBE_SECONDS = 60
"""In which a clip must be looked through."""


@dataclass(frozen=True)
class Clip:
    """What can be told of a clip or picture without decoding it.

    Attributes:
        pixels: of a frame.
        frames: at most as many.
        deep: whether a clip has more than 8 bits.
    """

    pixels: int
    frames: int = 1
    deep: bool = False


def kind_of(head: bytes) -> str | None:
    """The suffix for a file that begins so; None if it is none that is taken."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"BM"):
        return ".bmp"
    if head.startswith(b"RIFF"):
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(head[8:12])
    if head.startswith(b"\x1aE\xdf\xa3"):
        return ".mkv"
    if head[4:8] == b"ftyp":
        return ".mov" if head[8:12] == b"qt  " else ".mp4"
    # QuickTime's, before there was a word for its kind
    return ".mov" if head[4:8] in (b"moov", b"mdat", b"wide", b"free") else None


def store(file: BinaryIO, folder: Path, name: str, kinds: Mapping[str, str]) -> Path:
    """Stores an upload in a folder.

    Args:
        file: as it came.
        folder: of the request.
        name: for it, without a suffix.
        kinds: `PICTURES`, `CLIPS` or both.

    Raises:
        Refusal: it is of another kind.
    """
    suffix = kind_of(file.read(HEAD))
    if suffix not in kinds:
        raise Refusal(
            WRONG_KIND, f"The {name} is none of {', '.join(kinds)} by its content; convert it."
        )
    path = folder / f"{name}{suffix}"
    file.seek(0)
    with path.open("xb") as stored:
        shutil.copyfileobj(file, stored)
    return path


def store_landmarks(file: BinaryIO, source: Path, frames: int) -> None:
    """Stores landmarks of a source beside it, where they are looked for; raises Refusal if there are too many."""
    text = file.read(LANDMARKS_BYTES * (frames + 1) + 1)
    if len(text) > LANDMARKS_BYTES * (frames + 1):
        raise Refusal(TOO_LARGE, "There are more landmarks than frames; send those of the source.")
    sidecar_path(source).write_bytes(text)


def look(path: Path, limits: Limits) -> Clip:
    """How large a stored picture or clip is, without decoding it.

    Raises:
        Refusal: too large, or damaged.
    """
    found = _look_at_picture(path) if path.suffix in PICTURES else _look_at_clip(path, limits)
    if found.pixels > limits.pixels:
        raise Refusal(
            TOO_LARGE,
            f"The {path.stem} has {found.pixels / 1e6:.1f} million pixels, more than {limits.pixels / 1e6:.1f}; "
            "scale it down.",
        )
    return found


def _look_at_picture(path: Path) -> Clip:
    try:
        with PIL.Image.open(path, formats=[PICTURES[path.suffix]]) as image:
            width, height = image.size
            animated = getattr(image, "is_animated", False)
    except PIL.Image.DecompressionBombError as error:
        raise Refusal(TOO_LARGE, f"The {path.stem} has too many pixels; scale it down.") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to say it
        raise Refusal(
            UNUSABLE, f"The {path.stem} is damaged; export it again, for example as PNG."
        ) from error
    if animated:
        raise Refusal(UNUSABLE, f"The {path.stem} is animated; send a still one, or a clip.")
    return Clip(width * height)


def _look_at_clip(path: Path, limits: Limits) -> Clip:
    """Asks a process of its own: a few bytes can make a reader of containers take any amount of memory."""
    wanted = {"seconds": limits.seconds, "frames": limits.frames}
    command = [sys.executable, "-I", probing.__file__, str(path), CLIPS[path.suffix]]
    damaged = Refusal(
        UNUSABLE,
        f"The {path.stem} is damaged or cut off; export it again, for example as H.264 mp4.",
    )
    try:
        done = subprocess.run(
            [*command, json.dumps(wanted)],
            capture_output=True,
            timeout=PROBE_SECONDS,
            env={},
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise damaged from error

    found = json.loads(done.stdout)
    if found["too_long"]:
        raise Refusal(
            TOO_LARGE,
            f"The {path.stem} is longer than {limits.seconds:g} s or {limits.frames} frames; cut it.",
        )
    if found["cut_off"] or not found["pixels"] or not found["frames"]:
        raise damaged
    return Clip(found["pixels"], found["frames"], found["deep"])
