"""What each face of a data set does, as signals by name, and the faces that do what a query says.

    mouth_open>1,lids>-0.5,yaw<10,yaw>-10

Signals
    The measures of `faces/expression.py`, such as mouth_open, each about the mean of its persona's records and in the
    spreads of `MEASURES`: 1 is one spread more than what this persona usually does. Without right_ or left_ they are
    the mean of both sides, as lids and gaze_x are. Then yaw, pitch and roll of the head in degrees, see
    `faces/pose.py`. And the blendshapes of `faces/blendshapes.py`, 0..1, such as jawOpen. These alone are read from the
    stored images, which takes time: so only of those faces that fulfil all other conditions.
"""

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import ml_collections
import numpy as np
from jaxtyping import Float, Int

from data_pipelines.datasets import open_data
from data_pipelines.records import FaceRecord, Manifest, decode
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from faceswap_jax.faces.blendshapes import NAMES as BLENDSHAPES
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.faces.expression import MEASURES, aspect_ratios, measures
from faceswap_jax.faces.face import Image, Landmarks
from faceswap_jax.inference.audience import watched

T = TypeVar("T")
Signal = Float[np.ndarray, "n"]

SPREADS = np.array(list(MEASURES.values()))
POSE = ("yaw", "pitch", "roll")

BOTH_SIDES = {
    name.removeprefix("right_"): (name, name.replace("right_", "left_"))
    for name in MEASURES
    if name.startswith("right_")
}
"""Signals that are the mean of a measure of both sides."""

QUICK = (*MEASURES, *BOTH_SIDES, *POSE)
"""Names of the signals that need no image."""


class Place(NamedTuple):
    """Where a face is stored, and where it came from.

    Attributes:
        persona: whose face it is.
        number: of its record in the persona's source.
        clip: name of the clip within the data set.
        track: number of the face track within the clip.
        frame: index of the frame in the clip's file.
        time: seconds from the start of that file.
    """

    persona: str
    number: int
    clip: str
    track: int
    frame: int
    time: float


class Condition(NamedTuple):
    """A signal that lies above or below a bound."""

    signal: str
    sign: str  # > or <
    bound: float

    def __str__(self) -> str:
        return f"{self.signal}{self.sign}{self.bound:g}"

    @property
    def opposite(self) -> "Condition":
        """The condition that a known value fulfils if it does not fulfil this one, the bound itself left out."""
        return self._replace(sign="<" if self.sign == ">" else ">")

    def excess(self, values: Signal) -> Signal:
        """How far values lie beyond the bound, on its right side; not above 0 or NaN where they do not fulfil it."""
        return values - self.bound if self.sign == ">" else self.bound - values


class Found(NamedTuple):
    """A face that fulfils a query.

    Attributes:
        place: where it is.
        values: what it was found by, by name: the signals of the query, or its distance from a picture.
    """

    place: Place
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Expressions:
    """What is known of all intact records of a data set without their images.

    Attributes:
        places: where they are, persona after persona.
        measures: of `faces/expression.py`; NaN where a record does not tell the irises.
        aspect_ratios: likewise of `faces/expression.py`.
        pose: yaw, pitch and roll in degrees.
    """

    places: Sequence[Place]
    measures: Float[np.ndarray, "n 19"]
    aspect_ratios: Float[np.ndarray, "n 5"]
    pose: Float[np.ndarray, "n 3"]

    @functools.cached_property
    def centred(self) -> Float[np.ndarray, "n 19"]:
        """The measures about the mean of their persona, in spreads."""
        result = self.measures / SPREADS
        personas = np.array([place.persona for place in self.places])
        for name in np.unique(personas):
            rows = personas == name
            known = ~np.isnan(result[rows])
            total = np.where(known, result[rows], 0).sum(0)
            result[rows] -= total / np.maximum(known.sum(0), 1)
        return result

    def signals(self) -> dict[str, Signal]:
        """All signals of `QUICK`, by name."""
        columns = dict(zip(MEASURES, self.centred.T, strict=True))
        for name, (right, left) in BOTH_SIDES.items():
            columns[name] = (columns[right] + columns[left]) / 2
        return columns | dict(zip(POSE, self.pose.T, strict=True))


def read_query(text: str) -> list[Condition]:
    """The conditions of a query, such as "jawOpen>0.6,yaw<10".

    Raises:
        InputError: a condition is written otherwise, or there is no such signal.
    """
    return [_condition(part.strip()) for part in text.split(",")]


def open_all(data: Path) -> dict[str, PersonaSource]:
    """The personas of all splits of a folder made by `faceswap prepare`.

    Raises:
        InputError: there is no such folder, or it holds no face.
    """
    splits = {persona.split for persona in Manifest.load(data).personas.values()}
    if not splits:
        raise InputError(f"{data} holds no face; prepare it again from clips that show some.")
    sources = {}
    for split in sorted(splits):
        named = {"kind": "tracks", "path": str(data), "split": split}
        sources |= open_data(ml_collections.ConfigDict(named))
    return sources


def read_expressions(sources: Mapping[str, PersonaSource]) -> Expressions:
    """Reads all records of a data set without their images; shows how far it is.

    Raises:
        InputError: not one can be read.
    """
    places = []
    points = []
    irises = []
    pose = []
    total = sum(map(len, sources.values()))
    for place, record in watched(_intact(sources), "records", total):
        places.append(place)
        points.append(record.landmarks)
        irises.append(record.irises)
        pose.append(record.pose)
    if not places:
        raise InputError("The data hold no intact record; prepare them again.")
    landmarks = np.array(points)
    return Expressions(
        places,
        measures(landmarks, np.array(irises)),
        aspect_ratios(landmarks),
        np.array(pose),
    )


def find(
    sources: Mapping[str, PersonaSource],
    query: Sequence[Condition],
    known: Expressions | None = None,
) -> list[Found]:
    """The faces of a data set that fulfil all conditions, in the order of the data.

    A signal that is unknown, as gaze is without irises, fulfils no condition.

    Args:
        sources: the data set.
        query: the conditions.
        known: what `read_expressions` gives of the sources, if it has been read already.

    Raises:
        InputError: no face does; the message says how far the signals reach.
    """
    known = known or read_expressions(sources)
    columns = known.signals()
    rows = np.arange(len(known.places))
    for group in _quick_first(query):
        if any(condition.signal not in columns for condition in group):
            columns |= _blendshapes_at(sources, known.places, rows)
        beyond = np.array(
            [condition.excess(columns[condition.signal][rows]) for condition in group]
        )
        fulfilled = (beyond > 0).all(0)
        if not fulfilled.any():
            ranges = {c.signal: columns[c.signal][rows] for c in group}
            raise _nothing(query, ranges, all_faces=len(rows) == len(known.places))
        rows = rows[fulfilled]

    names = [condition.signal for condition in query]
    return [
        Found(known.places[row], {name: float(columns[name][row]) for name in names})
        for row in rows
    ]


def read_blendshapes(
    sources: Mapping[str, PersonaSource], places: Sequence[Place]
) -> Float[np.ndarray, "n 52"]:
    """Blendshapes of stored images; NaN where no face is seen or the image is damaged. Shows how far it is.

    Raises:
        InputError: MediaPipe's networks are not installed.
    """
    reader = BlendshapeReader()
    scores = np.full((len(places), len(BLENDSHAPES)), np.nan, np.float32)
    for row, place in enumerate(watched(places, "blendshapes", len(places))):
        record = read_record(sources, place, decode)
        if record is not None:
            scores[row] = blendshapes_of(reader, image_of(record), record.landmarks)
    return scores


def blendshapes_of(
    reader: BlendshapeReader, image: Image, landmarks: Landmarks
) -> Float[np.ndarray, "52"]:
    """Blendshapes of the face that has these landmarks; NaN where no face is seen."""
    window = reader.window(image, landmarks)
    reading = None if window is None else reader(image, window)
    return np.full(len(BLENDSHAPES), np.nan) if reading is None else reading.scores


def read_record(
    sources: Mapping[str, PersonaSource], place: Place, parse: Callable[[bytes], T]
) -> T | None:
    """What `parse` makes of the record at a place; None if that is damaged."""
    this_one = range(place.number, place.number + 1)
    for _, parsed in sources[place.persona].intact(place.number, parse, this_one):
        return parsed
    return None


def image_of(record: FaceRecord) -> Image:
    """The image of a record in 8 bits."""
    if record.image.dtype == np.uint16:
        return np.round(record.image / 257).astype(np.uint8)
    return record.image


def _condition(text: str) -> Condition:
    match = re.fullmatch(r"(\w+)\s*([<>])\s*(\S+)", text)
    try:
        bound = float(match[3]) if match else math.nan
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise InputError(
            f"The query has '{text}'; write conditions with commas between, as in mouth_open>1,yaw<10."
        )
    name = match[1]
    if name not in QUICK and name not in BLENDSHAPES:
        raise InputError(_unknown(name))
    return Condition(name, match[2], bound)


def _unknown(name: str) -> str:
    """Says which signals there are, those first that are written alike."""
    lowered = {known.lower(): known for known in (*QUICK, *BLENDSHAPES)}
    alike = [known for low, known in lowered.items() if name.lower() in low]
    alike = alike or [lowered[low] for low in difflib.get_close_matches(name.lower(), lowered)]
    guess = f"perhaps {' or '.join(alike[:4])} is meant; " if alike else ""
    return (
        f"There is no signal '{name}' of a face: {guess}there are {', '.join(QUICK)}, "
        "and MediaPipe's blendshapes such as jawOpen."
    )


def _intact(sources: Mapping[str, PersonaSource]) -> Iterator[tuple[Place, FaceRecord]]:
    """Every intact record without its image, and its place."""
    parse = functools.partial(decode, image=False)
    for persona, source in sources.items():
        for number, record in source.intact(0, parse, range(len(source))):
            place = Place(persona, number, record.clip, record.track, record.frame, record.time)
            yield place, record


def _quick_first(query: Sequence[Condition]) -> list[list[Condition]]:
    """The conditions in two groups: on signals that need no image, and on the others."""
    quick = [condition for condition in query if condition.signal in QUICK]
    slow = [condition for condition in query if condition.signal not in QUICK]
    return [group for group in (quick, slow) if group]


def _blendshapes_at(
    sources: Mapping[str, PersonaSource], places: Sequence[Place], rows: Int[np.ndarray, "k"]
) -> dict[str, Signal]:
    """Signals of all faces that are known for some rows, NaN for the others."""
    scores = np.full((len(places), len(BLENDSHAPES)), np.nan)
    scores[rows] = read_blendshapes(sources, [places[row] for row in rows])
    return dict(zip(BLENDSHAPES, scores.T, strict=True))


def _nothing(
    query: Sequence[Condition], ranges: Mapping[str, Signal], all_faces: bool
) -> InputError:
    """Says that no face fulfils a query, and how far the signals reach."""
    reaches = []
    asked = ",".join(map(str, query))
    for name, values in ranges.items():
        told = values[~np.isnan(values)]
        if not len(told):
            return InputError(
                f"No face fulfils {asked}: the data tell nothing of {name}. Landmarks from files have no irises; "
                "prepare the clips without such files, or ask for a blendshape."
            )
        reaches.append(f"{name} reaches from {told.min():.2f} to {told.max():.2f}")
    where = "in the data" if all_faces else "where the other conditions are fulfilled"
    return InputError(f"No face fulfils {asked}: {', '.join(reaches)} {where}; ask for less.")
