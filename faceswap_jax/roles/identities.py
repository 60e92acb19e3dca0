"""Identities as vectors: those of the people of a data set, how far two are apart, and those of nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from data_pipelines.records import aligned_crop, decode
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from faceswap_jax.faces import people
from faceswap_jax.faces.embedding import Embedding, template_crop
from faceswap_jax.faces.face import Image, Landmarks
from faceswap_jax.inference.audience import watched
from faceswap_jax.inference.batching import features
from faceswap_jax.inference.described import IDENTITY
from faceswap_jax.inference.generator import Generator, Identity

TAKEN = 4
"""Pictures of everybody of a data set, evenly over those that there are."""

ROUNDS, DRAWN = 16, 1024
"""How often people are drawn before none is found, and how many at a time."""

Vectors = Float32[np.ndarray, "n d"]


class Lender(NamedTuple):
    """Somebody who lends an identity.

    Attributes:
        identity: as the generator's `identity` gave it.
        by_sface: as SFace tells it.
    """

    identity: Identity
    by_sface: Embedding


def by_sface(image: Image, landmarks: Landmarks) -> Embedding:
    """Whose face it is, by a network that no training here knows.

    Raises:
        InputError: it is not installed.
    """
    return people.embedder().embed(template_crop(image, landmarks))


def check_lends_identities(generator: Generator, workdir: Path) -> None:
    """Raises InputError unless a generator, of this folder, tells identities as vectors and blends faces."""
    if IDENTITY not in generator.roles:
        raise InputError(
            f"'{workdir}' does not tell identities as vectors; give a run of experiments/attribute.py, or what "
            "'faceswap export' makes of it now."
        )


def distance(
    one: Float32[np.ndarray, "*n d"], other: Float32[np.ndarray, "*n d"]
) -> Float32[np.ndarray, "*n"]:
    """How far identities are apart, 1 - cosine: 0 if they are the same, 1 if they have nothing in common."""
    return 1 - (_unit(one) * _unit(other)).sum(-1)


def known_identities(generator: Generator, sources: Mapping[str, PersonaSource]) -> Vectors:
    """The identity of everybody of a data set, by a few pictures; shows how far it is.

    Args:
        generator: with the role.
        sources: records of each person; who has none is left out.

    Raises:
        InputError: all records of somebody are corrupt.
    """
    found = []
    people = [source for source in sources.values() if len(source)]
    for source in watched(people, "known people", len(people)):
        numbers = np.unique(np.linspace(0, len(source) - 1, TAKEN, dtype=int))
        crops = []
        for number in numbers:
            record = source.read(int(number), decode)
            crops.append(aligned_crop(record, generator.resolution, generator.alignment))
        found.append(generator.merged(IDENTITY, features(generator, IDENTITY, crops)))
    return np.stack(found)


def nobody(
    known: Vectors, others: Vectors, least: float, rng: np.random.Generator
) -> Float32[np.ndarray, "d"]:
    """An identity that is as those of a data set are, and of none of these people.

    A random direction would be no face's. So it is drawn from the normal distribution that fits the known ones, until
    one is far from all of them.

    Args:
        known: the people of the data set.
        others: from whom it has to be as far.
        least: distance from all of them.
        rng: decides.

    Raises:
        InputError: less than two are known, or none that was drawn is so far.
    """
    if len(known) < 2:
        raise InputError(
            f"The data show {len(known)} person, of whom nobody else can be drawn; name data of more by --known."
        )
    directions = _unit(known)
    mean = directions.mean(0)
    everybody = _unit(np.concatenate([known, others]))
    farthest = 0.0
    for _ in range(ROUNDS):
        # Their covariance is that of the known ones.
        weights = rng.normal(size=(DRAWN, len(known))) / np.sqrt(len(known) - 1)
        drawn = np.float32(mean + weights @ (directions - mean))
        nearest = 1 - (_unit(drawn) @ everybody.T).max(1)
        if nearest.max() >= least:
            # The first, not the farthest: that would be the least like a face.
            return drawn[np.argmax(nearest >= least)]
        farthest = max(farthest, float(nearest.max()))
    raise InputError(
        f"Of {ROUNDS * DRAWN} people who were drawn none is {least:g} away from everybody known; the farthest is "
        f"{farthest:.2f} away: lower --distance."
    )


def _unit(vectors: Float32[np.ndarray, "*n d"]) -> Float32[np.ndarray, "*n d"]:
    """Vectors of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
