"""The verb `anonymise`: everybody in a picture or clip becomes somebody who does not exist."""

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from data_pipelines.datasets import open_data
from data_pipelines.sources import PersonaSource
from faceswap_jax import config as configs
from faceswap_jax.artifacts.models import load
from faceswap_jax.editing.expressions import open_all
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, blend, video
from faceswap_jax.faces.people import Person
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.batching import Performance, features, generate
from faceswap_jax.inference.clip import (
    AS_TOLD,
    Coding,
    Count,
    Replacement,
    check_output,
    find_people,
    swap_clip,
)
from faceswap_jax.inference.generator import Generator
from faceswap_jax.inference.who import FACES_OF_CLIP
from faceswap_jax.roles.identities import (
    IDENTITY,
    check_lends_identities,
    distance,
    known_identities,
    nobody,
)

DISTANCE = 0.5
"""From everybody known, see `identities.distance`."""


class Seen(NamedTuple):
    """Somebody in a clip.

    Attributes:
        person: in which frames, and where.
        shown: a few frames with their faces.
        own: the identity that these show.
    """

    person: Person
    shown: Performance
    own: Float32[np.ndarray, "d"]


def anonymise(
    workdir: Path,
    source: Path,
    output: Path,
    *,
    method: str = blend.DEFAULT_METHOD,
    key: str | None = None,
    least: float = DISTANCE,
    known: Path | None = None,
    step: int | None = None,
    coding: Coding = AS_TOLD,
) -> Count:
    """Gives everybody in a picture or clip an identity that nobody has, the same one in all frames.

    Tells how far it is from the people known and from the person's own, and what comes of it.

    Args:
        workdir: folder of a trained run, or of an artifact, that can be lent identities.
        source: picture or clip.
        output: picture, or clip with the source's frame rate and sound.
        method: of blending, see `faces.blend.blend`.
        key: decides who is drawn, with the number of the person; a random one, which is told, if not given.
        least: distance of a new identity from all people known, from everybody in the clip, and from each
            other, see `identities.distance`.
        known: folder of a data set with the people known; the one that the run was trained on if not given.
        step: which checkpoint to use, by its number of steps; the newest if not given.
        coding: of clips.

    Raises:
        InputError: any of these cannot be used, no frame shows a face, or nobody was drawn who is so far from all.
            Nothing is written then.
    """
    blend.check_method(method)
    check_output(source, output, coding=coding)
    if not 0 < least < 1:
        raise InputError(f"--distance is {least:g}; give one between 0 and 1.")
    data = _open_known(workdir, known)
    generator = load(workdir, step)
    check_lends_identities(generator, workdir)
    if key is None:
        key = secrets.token_hex(8)
        tell(f"--key={key} makes the same people again.")

    # Who is known, and who is there
    everybody = known_identities(generator, data)
    seen = _look(generator, source, coding)

    # Who they become
    others = np.stack([each.own for each in seen])
    replacements = []
    for number, each in enumerate(seen):
        drawn = nobody(everybody, others, least, _random(key, number))
        identity = generator.merged(IDENTITY, drawn[None])
        others = np.concatenate([others, identity[None]])
        replacements.append(Replacement(each.person, {IDENTITY: identity}))
        frames = f"{len(each.person.faces)} of {video.probe(source).frames} frames"
        told = _distances(generator, each, identity, everybody)
        tell(f"face {number}, in {frames}: {told}")
    return swap_clip(generator, replacements, source, output, method, coding=coding)


def _open_known(workdir: Path, known: Path | None) -> Mapping[str, PersonaSource]:
    """The records of the people known.

    Raises:
        InputError: there are none.
    """
    if known is not None:
        return open_all(known)
    data = configs.load(workdir / "config.json").data
    # Others are rendered.
    are_files = data.kind in ("tracks", "tfds")
    if are_files and not data.path:
        raise InputError(
            f"'{workdir}' does not say whom it was trained on, as artifacts never do, so nobody is known who has to be "
            "avoided; name a data set by --known."
        )
    if are_files and not os.path.isdir(data.path):
        raise InputError(
            f"The data of '{workdir}' are not at '{data.path}' any more, so nobody is known who has to be avoided; "
            "name a data set by --known."
        )
    return open_data(data)


def _random(key: str, number: int) -> np.random.Generator:
    """What decides about a person."""
    digest = hashlib.sha256(f"{number}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def _look(generator: Generator, source: Path, coding: Coding) -> list[Seen]:
    """Everybody in a picture or clip, each with a few faces, evenly over the frames that show them.

    Raises:
        InputError: no frame shows a face.
    """
    people = find_people(source, coding.colorspace)
    wanted = []
    for person in people:
        frames = list(person.faces)
        few = np.linspace(0, len(frames) - 1, FACES_OF_CLIP, dtype=int)
        wanted.append({frames[i] for i in few})

    frames: list[list[video.Frame]] = [[] for _ in people]
    for frame in video.read_frames(source, colorspace=coding.colorspace):
        for number, numbers in enumerate(wanted):
            if frame.index in numbers:
                frames[number].append(frame)

    side = generator.resolution
    seen = []
    for person, few in zip(people, frames, strict=True):
        faces = [person.faces[frame.index] for frame in few]
        crops = [
            align.cut_face(frame.image, face.landmarks, side, generator.alignment)
            for frame, face in zip(few, faces, strict=True)
        ]
        seen.append(Seen(person, Performance(few, faces), _together(generator, crops)))
    return seen


def _together(generator: Generator, crops: Sequence[np.ndarray]) -> Float32[np.ndarray, "d"]:
    """The identity that some faces show together."""
    return generator.merged(IDENTITY, features(generator, IDENTITY, crops))


def _distances(
    generator: Generator,
    seen: Seen,
    identity: Float32[np.ndarray, "d"],
    everybody: Float32[np.ndarray, "n d"],
) -> str:
    """How far a new identity is from others, and how far the faces are that are made with it, in words."""
    made = _together(generator, generate(generator, {IDENTITY: identity}, seen.shown))
    nearest = distance(identity, everybody).min()
    return (
        f"the new identity is {nearest:.2f} from the nearest of {len(everybody)} people known, "
        f"{distance(identity, seen.own):.2f} from the own one; faces made with it are {distance(made, seen.own):.2f} "
        f"from the own one, {distance(made, identity):.2f} from the new one"
    )
