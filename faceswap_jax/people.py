"""The verb `people`: who is in a picture or clip, and by which numbers `swap` knows them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from rich.console import Console

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.people import Person
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, write_picture
from faceswap_jax.inference.clip import find_people

SHOWN = 6  # faces of each person
SIDE = 128  # of these faces, pixels


def people(source: Path, output: Path, colorspace: str | None = None) -> list[Person]:
    """Draws some faces of every person, a row for each, with the number and the times of the face.

    Args:
        source: picture or clip.
        output: picture to write.
        colorspace: of a clip, see `faces.video.read_frames`.

    Raises:
        InputError: either cannot be used, or no frame shows a face. Nothing is written then.
    """
    video.probe(source)
    video.check_colorspace(source, colorspace)
    if output.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(
            f"'{output}' cannot hold a picture; choose a name that ends in "
            f"{', '.join(sorted(PICTURE_SUFFIXES))}."
        )
    if not output.absolute().parent.is_dir():
        raise InputError(f"The folder '{output.parent}' does not exist; make it first.")

    found = find_people(source, colorspace)
    images, times = _faces(source, found, colorspace)
    labels = []
    for number, person in enumerate(found):
        frames = list(person.faces)
        first, last = times[frames[0]], times[frames[-1]]
        labels.append(f"face {number}: {len(frames)} frames, {first:.1f} to {last:.1f} s")
    write_picture(output, draw_grid(images, labels))

    console = Console(stderr=True)
    for label in labels:
        console.print(label, highlight=False, soft_wrap=True)
    console.print(f"{output}: a row for each", highlight=False, soft_wrap=True)
    return found


def _faces(
    source: Path, found: Sequence[Person], colorspace: str | None
) -> tuple[UInt8[np.ndarray, "people shown h w 3"], dict[int, float]]:
    """Faces of each person, evenly over their frames, white where there are fewer; and the times of all frames."""
    images = np.full((len(found), SHOWN, SIDE, SIDE, 3), 255, np.uint8)
    places: dict[int, list[tuple[int, int]]] = {}
    for row, person in enumerate(found):
        frames = list(person.faces)
        chosen = np.linspace(0, len(frames) - 1, min(SHOWN, len(frames)), dtype=int)
        for column, i in enumerate(chosen):
            places.setdefault(frames[i], []).append((row, column))

    times = {}
    for frame in video.read_frames(source, colorspace=colorspace):
        times[frame.index] = frame.time
        for row, column in places.get(frame.index, ()):
            landmarks = found[row].faces[frame.index].landmarks
            images[row, column] = align.cut_face(frame.image, landmarks, SIDE, "stable")
    return images, times
