"""Faces of a data set in the order in which they answer a picture or a query, and the choice of a few of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from data_pipelines.sources import PersonaSource
from faceswap_jax.editing.expressions import (
    BLENDSHAPES,
    SPREADS,
    Condition,
    Found,
    Place,
    blendshapes_of,
    find,
    read_blendshapes,
    read_expressions,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.faces.expression import ASPECT_RATIOS, MEASURES, aspect_ratios, measures
from faceswap_jax.faces.face import Face, Image

REGIONS: Mapping[str, Sequence[str]] = {
    "all": ("",),
    "eyes": ("eye", "gaze", "lids"),
    "brows": ("brow",),
    "mouth": ("mouth", "lip", "jaw"),
}
"""Regions of a face, by words in the names of what tells them: measures, aspect ratios and blendshapes."""

APART = 0.5
"""Seconds between two chosen faces of one track, at least: neighbours look alike."""


def nearest_by_measures(
    sources: Mapping[str, PersonaSource], face: Face, region: str
) -> list[Found]:
    """All faces of a data set, those first whose measures are nearest to those of a face.

    The distance is the mean squared difference of the measures of `region` that both have, in spreads. They are
    compared as they are, not about any mean: nobody knows what the face in the picture is like at rest. A data set's
    face of the same build comes a little earlier for that.

    Raises:
        InputError: the landmarks of the data come from files, and those of the face do not.
    """
    known = read_expressions(sources)
    wanted = measures(face.landmarks, face.irises)
    # MediaPipe tells irises, files do not.
    if np.isnan(known.measures).any(1).all() and not np.isnan(wanted).any():
        raise InputError(
            "The landmarks of the data come from files, those of the picture from MediaPipe, which measures faces "
            "otherwise; put a file beside the picture, too, or compare --by blendshapes."
        )
    difference = (known.measures - wanted) / SPREADS
    return _by_distance(known.places, difference[:, _columns(MEASURES, region)])


def nearest_by_aspect_ratios(
    sources: Mapping[str, PersonaSource], face: Face, region: str
) -> list[Found]:
    """All faces of a data set, those first whose aspect ratios of `region` have the least mean squared difference.

    As a thesis of 2023 searches for expressions. They need no irises.
    """
    known = read_expressions(sources)
    difference = known.aspect_ratios - aspect_ratios(face.landmarks)
    return _by_distance(known.places, difference[:, _columns(ASPECT_RATIOS, region)])


def nearest_by_blendshapes(
    sources: Mapping[str, PersonaSource], image: Image, face: Face, region: str
) -> list[Found]:
    """All faces of a data set, those first whose blendshapes of `region` have the least mean squared difference.

    Args:
        sources: the data set; all of its images are read.
        image: the picture.
        face: a face in it.
        region: one of `REGIONS`.

    Raises:
        InputError: no blendshapes can be read in the picture.
    """
    wanted = blendshapes_of(BlendshapeReader(), image, face.landmarks)
    if np.isnan(wanted).any():
        raise InputError(
            "MediaPipe reads no blendshapes in the picture; compare by measures, or give another one."
        )
    places = read_expressions(sources).places
    difference = read_blendshapes(sources, places) - wanted
    return _by_distance(places, difference[:, _columns(BLENDSHAPES, region)])


def most_extreme(sources: Mapping[str, PersonaSource], query: Sequence[Condition]) -> list[Found]:
    """The faces that fulfil a query, those first that lie farthest beyond its first condition.

    Raises:
        InputError: no face does.
    """
    first = query[0]
    found = find(sources, query)
    found.sort(key=lambda face: -first.excess(face.values[first.signal]))
    return found


def choose(ranked: Sequence[Found], count: int, serves: Callable[[Place], bool]) -> list[Found]:
    """The first faces, but of a track no two within `APART`, and of one persona no more than half.

    If other personas have too few, that one fills up.

    Args:
        ranked: the first is the best.
        count: how many are wanted; there may be fewer.
        serves: whether a face can be used. One that cannot hides its neighbours too, which look alike.
    """
    answers: dict[Place, bool] = {}
    chosen: list[Place] = []
    half = -(-count // 2)
    for most in (half, count):
        for place, _ in ranked:
            if len(chosen) == count:
                break
            of_persona = sum(other.persona == place.persona for other in chosen)
            if of_persona >= most or any(_close(place, other) for other in answers):
                continue
            answers[place] = serves(place)
            if answers[place]:
                chosen.append(place)
    return [item for item in ranked if answers.get(item.place)]


def _by_distance(places: Sequence[Place], difference: Float[np.ndarray, "n k"]) -> list[Found]:
    """Faces by the mean square of what is known of their differences; those of which nothing is known are left out."""
    known = ~np.isnan(difference)
    total = np.where(known, difference, 0) ** 2
    distances = total.sum(1) / np.maximum(known.sum(1), 1)
    order = np.argsort(distances, kind="stable")
    return [
        Found(places[row], {"distance": float(distances[row])}) for row in order if known[row].any()
    ]


def _columns(names: Iterable[str], region: str) -> list[int]:
    return [i for i, name in enumerate(names) if any(word in name for word in REGIONS[region])]


def _close(place: Place, other: Place) -> bool:
    same_track = (place.persona, place.clip, place.track) == (
        other.persona,
        other.clip,
        other.track,
    )
    return same_track and abs(place.time - other.time) < APART
