"""Key pictures: faces that show a trait, and faces that do not."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Float

from data_pipelines import datasets
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
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture, read_picture
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.batching import Performance, latents
from faceswap_jax.inference.generator import Generator

MOST = 500
"""Faces of a data set on one side, at most: more would make a vector no better."""


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


def from_data(
    data: ml_collections.ConfigDict, query: str, against: str | None = None
) -> tuple[Keys, Keys]:
    """The faces of a data set whose expressions fulfil conditions, and those on the other side.

    Args:
        data: as `config.data` names it.
        query: conditions of the positive faces, see `expressions.read_query`.
        against: conditions of the negative ones; all other faces if not given.

    Raises:
        InputError: there are no such data, the conditions make no sense, or one side has no face.
    """
    conditions = read_query(query)
    opposite = None if against is None else read_query(against)
    sources = datasets.open_data(data)

    positive = [found.place for found in find(sources, conditions)]
    if opposite is not None:
        negative = [found.place for found in find(sources, opposite)]
    else:
        chosen = set(positive)
        negative = [p for p in read_expressions(sources).places if p not in chosen]
        if not negative:
            raise InputError(f"All faces of the data fulfil {query}; ask for more.")
    return (
        _stored(sources, positive, query),
        _stored(sources, negative, against or "the others"),
    )


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
