"""Who is to be shown: a persona by its name, or somebody by pictures and clips."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.face import Face, Landmarker
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.inference.generator import Generator, Who

FACES_OF_CLIP = 8
"""How many frames of a clip show the identity."""

Source = tuple[video.Frame, Face]
"""A frame, and the face of the identity in it."""


def who_is(generator: Generator, persona: str | None, sources: Sequence[Path]) -> Who:
    """The persona of that name, a mix of some, or whom the largest faces of some pictures or clips show.

    Args:
        generator: says how faces are cut.
        persona: name, or names and weights of a mix, "alice:0.7,bob:0.3"; whether the generator can show them is for
            `Generator.identity` to say.
        sources: pictures and clips of one person.

    Raises:
        InputError: not exactly one of the two is given, the mix is written otherwise, or a source cannot be read or
            shows no face.
    """
    check_who(persona, sources)
    if persona is not None:
        # A name may hold a colon.
        is_mix = ":" in persona and persona not in generator.personas
        return Who(weights_of(persona) if is_mix else {persona: 1.0})

    return shown_in(faces_of(sources), generator)


def check_who(persona: str | None, sources: Sequence[Path]) -> None:
    """Raises InputError unless exactly one of the two says who is to be shown."""
    if (persona is None) == (not sources):
        raise InputError(
            "Say who is to be shown: a --persona, or pictures of somebody, one of the two."
        )


def shown_in(faces: Sequence[Source], generator: Generator) -> Who:
    """Whom faces show, cut as the generator knows them."""
    side = generator.resolution
    pictures = []
    for frame, face in faces:
        pictures.append(align.cut_face(frame.image, face.landmarks, side, generator.alignment))
    return Who(pictures=pictures)


def faces_of(sources: Sequence[Path]) -> list[Source]:
    """The largest face of each picture, and of some frames of each clip.

    Raises:
        InputError: one cannot be read or shows no face.
    """
    faces = []
    for path in sources:
        # A matchmove's landmarks beside the file count, as they do for the performer.
        with contextlib.closing(open_landmarker(path)) as landmarker:
            found = spread_faces(path, FACES_OF_CLIP, landmarker)
        if not found:
            raise InputError(f"{path} shows no face; give another picture or clip.")
        faces += found
    return faces


def weights_of(text: str) -> dict[str, float]:
    """Weight of each persona of a mix, from "alice:0.7,bob:0.3".

    Raises:
        InputError: it is written otherwise, or a persona comes twice.
    """
    weights = {}
    for part in text.split(","):
        name, _, weight = part.rpartition(":")
        name = name.strip()
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise InputError(
                f"--persona has '{part}'; write names and weights of a mix as in alice:0.7,bob:0.3."
            )
        if name in weights:
            raise InputError(f"--persona names '{name}' twice; give each persona one weight.")
        weights[name] = number
    return weights


def spread_faces(path: Path, count: int, landmarker: Landmarker) -> list[Source]:
    """The largest face of each of `count` frames, evenly over the time of a clip; frames without one are left out.

    Raises:
        InputError: the clip cannot be read.
    """
    last = video.probe(path).frames - 1
    wanted = set(np.linspace(0, last, count, dtype=int).tolist())
    found = []
    for frame in video.read_frames(path):
        if frame.index in wanted:
            found += [(frame, face) for face in landmarker(frame.image, frame.index)[:1]]
    return found
