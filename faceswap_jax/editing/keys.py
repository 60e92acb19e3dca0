"""Key pictures: faces that show a trait, and faces that do not."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipelines.records import FaceRecord, decode
from data_pipelines.sources import PersonaSource
from faceswap_jax.editing.expressions import (
    Place,
    find,
    image_of,
    read_expressions,
    read_query,
    read_record,
)
from faceswap_jax.editing.vectors import Key
from faceswap_jax.errors import InputError
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.landmarks import largest_face
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.batching import Performance, latents
from faceswap_jax.inference.generator import Generator

MOST = 200
"""Faces of a data set on one side, at most: all of their images are in memory."""


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
    if (folder / "found.csv").exists():
        raise InputError(
            f"{folder} was made by 'faceswap search', whose key pictures lie in {folder / 'faces'}; name that."
        )
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
        image, face = largest_face(path)
        keys.append(Key(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
        frames.append(Frame(image, 0.0, number))
        faces.append(face)
    return Keys(str(folder), keys, Performance(frames, faces), [""] * len(keys))


def from_data(
    sources: Mapping[str, PersonaSource], query: str, against: str | None = None
) -> tuple[Keys, Keys]:
    """The faces of a data set whose expressions fulfil conditions, and those on the other side.

    Args:
        sources: of each persona.
        query: conditions of the positive faces, see `expressions.read_query`.
        against: conditions of the negative ones. If not given, they do not fulfil the query's first condition, and all
            others: a bound of the pose holds for both sides.

    Raises:
        InputError: the conditions make no sense, or one side has no face.
    """
    conditions = read_query(query)
    if against is None:
        first, *others = conditions
        opposite = [first.opposite, *others]
    else:
        opposite = read_query(against)

    known = read_expressions(sources)
    sides = []
    for wanted in (conditions, opposite):
        places = [found.place for found in find(sources, wanted, known)]
        sides.append(_stored(sources, places, trait=",".join(map(str, wanted))))
    positive, negative = sides
    return positive, negative


def shared(positive: Keys, negative: Keys) -> tuple[Keys, Keys]:
    """The keys of those groups that are on both sides.

    Raises:
        InputError: there is no such group, or a picture is on both sides.
    """
    hashes = {key.sha256 for key in positive.keys}
    for key in negative.keys:
        if key.sha256 in hashes:
            raise InputError(f"{key.name} is on both sides; take it out of one.")
    both = set(positive.groups) & set(negative.groups)
    if not both:
        raise InputError(
            f"Nobody has faces on both sides: those of {positive.trait} are of {_names(positive)}, those of "
            f"{negative.trait} of {_names(negative)}; widen the queries."
        )
    return _of_groups(positive, both), _of_groups(negative, both)


def _names(keys: Keys) -> str:
    return ", ".join(sorted(set(keys.groups)))


def _of_groups(side: Keys, groups: Collection[str]) -> Keys:
    chosen = [i for i, group in enumerate(side.groups) if group in groups]
    performance = Performance(
        [side.performance.frames[i] for i in chosen], [side.performance.faces[i] for i in chosen]
    )
    keys = [side.keys[i] for i in chosen]
    return Keys(side.trait, keys, performance, [side.groups[i] for i in chosen])


def _stored(sources: Mapping[str, PersonaSource], places: Sequence[Place], trait: str) -> Keys:
    """Faces of a data set as keys, evenly spread over all that were found if they are many."""
    count = min(len(places), MOST)
    rows = np.linspace(0, len(places) - 1, count, dtype=int)
    keys = []
    frames = []
    faces = []
    groups = []
    for number, row in enumerate(rows):
        place = places[row]
        read = read_record(sources, place, _with_digest)
        # Its image is damaged.
        if read is None:
            continue
        record, digest = read
        name = f"{place.persona}, {place.clip}, frame {place.frame}"
        keys.append(Key(name, digest))
        frames.append(Frame(image_of(record), place.time, number))
        faces.append(Face(record.landmarks, record.confidence, record.irises))
        groups.append(place.persona)
    return Keys(trait, keys, Performance(frames, faces), groups)


def _with_digest(data: bytes) -> tuple[FaceRecord, str]:
    return decode(data), hashlib.sha256(data).hexdigest()
