"""Renders the page of a data set, `report.html` filled in."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import numpy as np
from jaxtyping import Float64

from data_pipelines.prepare import charts
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import Manifest, Persona
from faceswap_jax.faces.tracking import ALIKE

OPEN_ROWS = 25
"""How many personas the table shows without a click."""

CLIPS = 200
"""Most unreadable clips that the page names."""


@dataclasses.dataclass(frozen=True)
class Measures:
    """What the sampled records say, one value each; NaN where a record does not tell.

    Attributes:
        yaw: degrees.
        pitch: degrees.
        size: distance between the eye centres in frame pixels.
        sharpness: as `quality.sharpness` measures it.
        sound: seconds.
    """

    yaw: Float64[np.ndarray, "n"]
    pitch: Float64[np.ndarray, "n"]
    size: Float64[np.ndarray, "n"]
    sharpness: Float64[np.ndarray, "n"]
    sound: Float64[np.ndarray, "n"]


class PersonaRow(NamedTuple):
    """A persona in the page's table.

    Attributes:
        number: in the manifest, from 1.
        name: of the persona.
        split: of the persona.
        pictures: that were kept.
        tracks: that they form.
        kept: fraction of what was seen.
        size: median of the distance between the eyes in frame pixels; None if unknown.
        yaw: 5th and 95th percentile in degrees; None if unknown.
        thumbnails: some faces side by side, as a data URI; empty if there are none.
    """

    number: int
    name: str
    split: str
    pictures: int
    tracks: int
    kept: float
    size: float | None
    yaw: tuple[float, float] | None
    thumbnails: str


class ShownPerson(NamedTuple):
    """Somebody in a clip, on the page.

    Attributes:
        face: as a data URI; empty if there is none.
        share: fraction of the clip's frames that show the person.
        kept: whether the person's faces are kept.
    """

    face: str
    share: float
    kept: bool


class CutRow(NamedTuple):
    """A shot change in the page's table.

    Attributes:
        clip: name of the clip.
        time: of the next shot, seconds.
        before: number of the last frame of a shot.
        after: number of the first frame of the next.
        frames: both side by side, as a data URI; empty if there are none.
        change: of the content, 0..255.
        colours: correlation of the colours.
    """

    clip: str
    time: float
    before: int
    after: int
    frames: str
    change: float
    colours: float


class Sightings(NamedTuple):
    """Whom clips show, and where their shots change.

    Attributes:
        people: some of the clips that show several people, or nobody who is kept, by name.
        clips: how many clips do.
        cuts: some of the shot changes.
        all_cuts: how many there are.
    """

    people: Mapping[str, Sequence[ShownPerson]]
    clips: int
    cuts: Sequence[CutRow]
    all_cuts: int


class _SplitRow(NamedTuple):
    split: str
    personas: int
    pictures: int
    tracks: int


class _Chart(NamedTuple):
    title: str
    note: str
    picture: str  # a data URI


def render_page(
    name: str,
    manifest: Manifest,
    rows: Sequence[PersonaRow],
    measures: Measures,
    sightings: Sightings,
    sampled: int,
    on_sheet: int,
    sheet: str,
) -> str:
    """Returns the page of a data set, HTML.

    Args:
        name: of the data set.
        manifest: of the data set.
        rows: of the table of personas.
        measures: of the sampled records that could be read.
        sightings: whom the clips show, and where their shots change.
        sampled: how many records were to be read.
        on_sheet: how many personas the contact sheet shows.
        sheet: file of the contact sheet, beside the page.
    """
    personas = manifest.personas.values()
    tracks = [length for persona in personas for length in persona.tracks]
    dropped = Counter()
    for persona in personas:
        dropped.update(persona.counts.dropped)
    # Seconds of all records, estimated from the sample.
    sound = float(measures.sound.mean()) * sum(tracks) if len(measures.sound) else 0.0

    return _template().render(
        name=name,
        resolution=manifest.resolution,
        pictures=sum(tracks),
        tracks=len(tracks),
        sound=sound,
        seen=sum(persona.counts.seen for persona in personas),
        kept=sum(persona.counts.kept for persona in personas),
        dropped=dropped.most_common(),
        splits=_split_rows(personas),
        personas=len(personas),
        rows=rows,
        open_rows=OPEN_ROWS,
        on_sheet=on_sheet,
        sheet=sheet,
        charts=_charts(measures, tracks, manifest.settings),
        sightings=sightings,
        chosen=manifest.chosen,
        alike=ALIKE,
        sampled=sampled,
        unread=sampled - len(measures.yaw),
        unreadable=list(manifest.unreadable.items())[:CLIPS],
        unreadable_count=len(manifest.unreadable),
        settings=_settings_rows(manifest.settings),
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("data_pipelines.prepare", ""),
        autoescape=True,
        # A misspelled name is an error, not an empty place on the page.
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "thousands": "{:,}".format,
        "percent": _percent,
        "duration": _duration,
        "signed": _signed,
    }
    return environment.get_template("report.html")


def _split_rows(personas: Iterable[Persona]) -> list[_SplitRow]:
    """Counts what each split holds; the split with the most personas comes first."""
    members: dict[str, list[Persona]] = {}  # of each split
    for persona in personas:
        members.setdefault(persona.split, []).append(persona)

    rows = []
    for split, of_split in members.items():
        pictures = sum(sum(persona.tracks) for persona in of_split)
        tracks = sum(len(persona.tracks) for persona in of_split)
        rows.append(_SplitRow(split, len(of_split), pictures, tracks))
    return sorted(rows, key=lambda row: -row.personas)


def _settings_rows(settings: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Returns flag, value and meaning of each stored setting."""
    rows = []
    for field in dataclasses.fields(Settings):
        if field.name in settings:
            rows.append((field.name, settings[field.name], field.metadata["help"]))
    return rows


def _charts(measures: Measures, tracks: Sequence[int], settings: Mapping[str, Any]) -> list[_Chart]:
    """Draws the distributions, with the limits of the settings marked."""

    def limits(name: str, *signs: int) -> list[float]:
        return [sign * settings[name] for sign in signs if settings.get(name)]

    yaw = charts.histogram(
        measures.yaw, charts.angle_edges, "degrees", unit="°", limits=limits("max_yaw", -1, 1)
    )
    pitch = charts.histogram(
        measures.pitch, charts.angle_edges, "degrees", unit="°", limits=limits("max_pitch", -1, 1)
    )
    size = charts.histogram(
        measures.size,
        charts.size_edges,
        "frame pixels",
        unit=" px",
        limits=limits("min_size", 1),
    )
    sharpness = charts.histogram(
        measures.sharpness,
        charts.size_edges,
        "squared grey levels",
        limits=limits("min_sharpness", 1),
    )
    return [
        _Chart("Yaw", "Turn of the head; positive: to the picture's right.", yaw),
        _Chart("Pitch", "Nod of the head; positive: up.", pitch),
        _Chart(
            "Pose",
            "Yaw and pitch together; darker: more pictures.",
            charts.pose_map(measures.yaw, measures.pitch),
        ),
        _Chart("Face size", "Distance between the eyes in the frames.", size),
        _Chart(
            "Sharpness",
            "Least variance of the second derivative at 128 px, squared grey levels.",
            sharpness,
        ),
        _Chart(
            "Track length",
            "Kept pictures of one face in one shot.",
            charts.histogram(tracks, charts.count_edges, "pictures", what="tracks"),
        ),
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _signed(number: float) -> str:
    return f"{round(number):+d}".replace("-", "\N{MINUS SIGN}")


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "none"
