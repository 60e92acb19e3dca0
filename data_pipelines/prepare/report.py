"""The report of a data set, `report/index.html` and `report/contact_sheet.png`: to look at before training.

Counts come from the manifest and are exact. What only the records tell (pose, size, sharpness, sound) comes from a
sample spread evenly over them, so that a report takes seconds however large the data set is.
"""

import dataclasses
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from jaxtyping import Float64, Int64, UInt8

from data_pipelines.prepare import charts
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import SHARDS, FaceRecord, Manifest, Persona, decode
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.files import unwritable

REPORT, PAGE, SHEET = "report", "index.html", "contact_sheet.png"

RECORDS, BYTES = 10_000, 2**30
"""Most records whose numbers are read, and about the most that is read of them."""

ROWS, OPEN_ROWS = 200, 25
"""Most personas in the page's table, and how many of them show without a click."""

CLIPS = 200
"""Most unreadable clips that the page names."""

SHEET_ROWS = 40
"""Most personas on the contact sheet."""

THUMBNAILS, THUMBNAIL = 3, 64
"""Pictures of a persona in the page's table, their side in pixels."""


def write_report(directory: Path) -> Path:
    """Writes the folder `report` of a finished data set, replacing an old one; it appears when it is complete.

    Records and shards that cannot be read are left out and counted on the page.

    Returns:
        The page.

    Raises:
        InputError: there is no finished data set in the folder, or the report cannot be written.
    """
    manifest = Manifest.load(directory)
    catalogue = _Catalogue.of(directory, manifest)
    shown = _spread(len(manifest.personas), ROWS)
    on_sheet = {shown[i] for i in _spread(len(shown), SHEET_ROWS)}
    most = catalogue.affordable()
    even = _spread(catalogue.total, most)
    own = [number for p in shown for number in catalogue.spread(p, most // len(shown))]
    numbers = _numbers(catalogue, [*even, *own], manifest.resolution)
    crops = _crops(catalogue, {p: charts.SAMPLES if p in on_sheet else THUMBNAILS for p in shown})
    rows = [
        _row(catalogue, p, numbers.between(*catalogue.begins[p : p + 2]), crops[p]) for p in shown
    ]
    sheet = _sheet([row for row in rows if row.number - 1 in on_sheet], len(manifest.personas))
    page = _page(
        directory.resolve().name, manifest, rows, numbers.of(even), len(even), len(on_sheet)
    )
    _publish(directory / REPORT, {PAGE: page.encode("utf-8", "replace"), SHEET: sheet})
    return directory / REPORT / PAGE


def _publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files beside its place, then puts it there."""
    aside, old = folder.with_name(f".{folder.name}"), folder.with_name(f".{folder.name}.old")
    try:
        _remove(aside, old)  # what a killed process left
        aside.mkdir()
        for name, content in files.items():
            (aside / name).write_bytes(content)
        if folder.is_symlink() or folder.exists():
            folder.rename(old)
        aside.rename(folder)
        _remove(old)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise unwritable(folder, error.strerror) from error


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


# Reading


@dataclasses.dataclass(frozen=True)
class _Catalogue:
    """All records of a data set under one running number.

    Attributes:
        personas: with their names, in the order of the manifest.
        begins: number of the first record of each persona, and at last of all records.
        paths: of all shards.
        ends: number after the last record of each shard.
    """

    personas: list[tuple[str, Persona]]
    begins: list[int]
    paths: list[Path]
    ends: list[int]

    @classmethod
    def of(cls, directory: Path, manifest: Manifest) -> "_Catalogue":
        personas, begins, paths, ends = list(manifest.personas.items()), [0], [], [0]
        for _, persona in personas:
            for shard in persona.shards:
                paths.append(directory / SHARDS / shard.file)
                ends.append(ends[-1] + shard.records)
            begins.append(ends[-1])
        return cls(personas, begins, paths, ends[1:])

    @property
    def total(self) -> int:
        """Number of records."""
        return self.begins[-1]

    def read(self, wanted: Iterable[int], *, image: bool) -> Iterator[tuple[int, FaceRecord]]:
        """Yields the wanted records that can be read, with their numbers, in order."""
        numbers = np.unique(np.fromiter(wanted, np.int64))
        shards = np.searchsorted(self.ends, numbers, side="right")
        for shard in np.unique(shards):
            try:
                source = ArrayRecordDataSource(os.fspath(self.paths[shard]))
            except (RuntimeError, ValueError):
                continue
            begin = self.ends[shard - 1] if shard else 0
            with source:
                for number in numbers[shards == shard].tolist():
                    try:
                        record = decode(source[number - begin], image=image)
                    except (RuntimeError, ValueError, InputError):
                        continue
                    yield number, record

    def spread(self, p: int, most: int) -> list[int]:
        """At most `most` numbers of records of the persona at position p, evenly spread."""
        begin, end = self.begins[p : p + 2]
        return [begin + i for i in _spread(end - begin, most)]

    def affordable(self) -> int:
        """Most records to read, as RECORDS and BYTES say."""
        stored = sum(path.stat().st_size for path in self.paths if path.is_file())
        return min(RECORDS, math.ceil(BYTES * self.total / max(stored, 1)))


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """What is read of records without their pictures; NaN where a record does not tell.

    Attributes:
        number: of each record in the catalogue, rising.
        yaw: degrees.
        pitch: degrees.
        size: distance between the eye centres in frame pixels.
        sharpness: as `quality.sharpness` measures it.
        sound: seconds.
    """

    number: Int64[np.ndarray, "n"]
    yaw: Float64[np.ndarray, "n"]
    pitch: Float64[np.ndarray, "n"]
    size: Float64[np.ndarray, "n"]
    sharpness: Float64[np.ndarray, "n"]
    sound: Float64[np.ndarray, "n"]

    def of(self, numbers: Sequence[int]) -> "_Numbers":
        """Those of the wanted records that could be read."""
        return self._at(np.isin(self.number, numbers))

    def between(self, begin: int, end: int) -> "_Numbers":
        """Those from `begin` to `end`, exclusive."""
        return self._at(slice(*np.searchsorted(self.number, (begin, end))))

    def _at(self, where: slice | np.ndarray) -> "_Numbers":
        return _Numbers(*(column[where] for column in vars(self).values()))


def _numbers(catalogue: _Catalogue, wanted: Iterable[int], resolution: int) -> _Numbers:
    read = []
    for number, record in catalogue.read(wanted, image=False):
        scale = align.transform_scale(record.transform)
        size = align.INTEROCULAR * resolution / scale if scale else math.nan
        yaw, pitch, _ = record.pose.tolist()
        read.append((number, yaw, pitch, size, record.sharpness, len(record.sound) / AUDIO_RATE))
    number, *columns = np.array(read, np.float64).reshape(-1, len(dataclasses.fields(_Numbers))).T
    return _Numbers(number.astype(np.int64), *columns)


def _crops(
    catalogue: _Catalogue, samples: Mapping[int, int]
) -> dict[int, list[UInt8[np.ndarray, "c c 3"]]]:
    """Small pictures of each persona, in the wanted number, spread evenly over its tracks."""
    owner = {
        catalogue.begins[p] + i: p
        for p, count in samples.items()
        for i in _spread_over_tracks(catalogue.personas[p][1].tracks, count)
    }
    crops = {p: [] for p in samples}
    for number, record in catalogue.read(owner, image=True):
        image = record.image
        if image.dtype == np.uint16:
            image = (image // 257).astype(np.uint8)
        crops[owner[number]].append(align.resize(image, charts.CELL))
    return crops


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0..count - 1, evenly spread."""
    most = min(count, most)
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]


def _spread_over_tracks(tracks: Sequence[int], most: int) -> list[int]:
    """At most `most` records of a persona with tracks of these lengths, as many of each track as can be."""
    share = next(
        (share for share in range(1, most) if sum(min(length, share) for length in tracks) >= most),
        most,
    )
    begins = np.cumsum([0, *tracks]).tolist()
    chosen = [begins[t] + i for t, length in enumerate(tracks) for i in _spread(length, share)]
    return [chosen[i] for i in _spread(len(chosen), most)]


# Personas


@dataclasses.dataclass(frozen=True)
class _Row:
    """A persona on the page and on the contact sheet.

    Attributes:
        number: in the manifest, from 1.
        name: of the persona.
        split: of the persona.
        pictures: that were kept.
        tracks: that they form.
        kept: share of what was seen, 0..1.
        size: median of the distance between the eyes in frame pixels; None if no record could be read.
        yaw: 5th and 95th percentile in degrees; None likewise.
        crops: some of the pictures.
    """

    number: int
    name: str
    split: str
    pictures: int
    tracks: int
    kept: float
    size: float | None
    yaw: tuple[float, float] | None
    crops: list[UInt8[np.ndarray, "c c 3"]]

    @property
    def texts(self) -> tuple[str, str, str]:
        """What stands beside the pictures on the contact sheet."""
        pictures, tracks = _counted(self.pictures, "picture"), _counted(self.tracks, "track")
        return f"{self.number}  {self.name}", pictures, f"{tracks}, {self.split}"

    @property
    def thumbnails(self) -> str:
        """Some of the crops side by side, as a data URI; empty if there are none."""
        if not self.crops:
            return ""
        chosen = [
            align.resize(self.crops[i], THUMBNAIL) for i in _spread(len(self.crops), THUMBNAILS)
        ]
        strip = cv2.cvtColor(np.hstack(chosen), cv2.COLOR_RGB2BGR)
        return charts.data_uri(
            "image/jpeg", cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        )


def _row(
    catalogue: _Catalogue, p: int, numbers: _Numbers, crops: list[UInt8[np.ndarray, "c c 3"]]
) -> _Row:
    name, persona = catalogue.personas[p]
    size, yaw = charts.finite(numbers.size), charts.finite(numbers.yaw)
    return _Row(
        number=p + 1,
        name=name,
        split=persona.split,
        pictures=sum(shard.records for shard in persona.shards),
        tracks=len(persona.tracks),
        kept=persona.counts.kept / max(persona.counts.seen, 1),
        size=float(np.median(size)) if len(size) else None,
        yaw=tuple(np.percentile(yaw, (5, 95)).tolist()) if len(yaw) else None,
        crops=crops,
    )


def _sheet(rows: Sequence[_Row], personas: int) -> bytes:
    """The contact sheet of some of the personas, a PNG."""
    title = _counted(personas, "persona")
    if len(rows) < personas:
        title = f"{len(rows):,} of {title}, evenly spread"
    return charts.contact_sheet(title, [(row.texts, row.crops) for row in rows])


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


# The page


def _page(
    name: str,
    manifest: Manifest,
    rows: Sequence[_Row],
    numbers: _Numbers,
    sampled: int,
    on_sheet: int,
) -> str:
    """HTML of a data set.

    Args:
        name: of the data set.
        manifest: of the data set.
        rows: of the table of personas.
        numbers: of the evenly spread records that could be read.
        sampled: how many of these were to be read.
        on_sheet: how many personas the contact sheet shows.
    """
    personas = manifest.personas.values()
    tracks = [length for persona in personas for length in persona.tracks]
    splits: dict[str, list[Persona]] = {}
    for persona in personas:
        splits.setdefault(persona.split, []).append(persona)
    dropped = Counter()
    for persona in personas:
        dropped.update(persona.counts.dropped)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("data_pipelines.prepare", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "thousands": "{:,}".format,
        "percent": _percent,
        "duration": _duration,
        "signed": _signed,
    }
    return environment.get_template("report.html").render(
        name=name,
        resolution=manifest.resolution,
        pictures=sum(tracks),
        tracks=len(tracks),
        sound=float(numbers.sound.mean()) * sum(tracks) if len(numbers.sound) else 0.0,
        seen=sum(persona.counts.seen for persona in personas),
        kept=sum(persona.counts.kept for persona in personas),
        dropped=dropped.most_common(),
        splits=[
            (
                split,
                len(of),
                sum(sum(persona.tracks) for persona in of),
                sum(len(persona.tracks) for persona in of),
            )
            for split, of in sorted(splits.items(), key=lambda item: -len(item[1]))
        ],
        personas=len(personas),
        rows=rows,
        open_rows=OPEN_ROWS,
        on_sheet=on_sheet,
        sheet=SHEET,
        charts=_distributions(numbers, tracks, manifest.settings),
        sampled=sampled,
        unread=sampled - len(numbers.number),
        unreadable=list(manifest.unreadable.items())[:CLIPS],
        unreadable_count=len(manifest.unreadable),
        settings=[
            (field.name, manifest.settings[field.name], field.metadata["help"])
            for field in dataclasses.fields(Settings)
            if field.name in manifest.settings
        ],
    )


def _distributions(
    numbers: _Numbers, tracks: Sequence[int], settings: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Yields title, note and picture of each chart; limits of the settings are marked."""

    def limits(name: str, *signs: int) -> list[float]:
        return [sign * settings[name] for sign in signs if settings.get(name)]

    yield (
        "Yaw",
        "Turn of the head; positive: to the picture's right.",
        charts.histogram(
            numbers.yaw, charts.angle_edges, "degrees", unit="°", limits=limits("max_yaw", -1, 1)
        ),
    )
    yield (
        "Pitch",
        "Nod of the head; positive: up.",
        charts.histogram(
            numbers.pitch,
            charts.angle_edges,
            "degrees",
            unit="°",
            limits=limits("max_pitch", -1, 1),
        ),
    )
    yield (
        "Pose",
        "Yaw and pitch together; darker: more pictures.",
        charts.pose_map(numbers.yaw, numbers.pitch),
    )
    yield (
        "Face size",
        "Distance between the eyes in the frames.",
        charts.histogram(
            numbers.size,
            charts.size_edges,
            "frame pixels",
            unit=" px",
            limits=limits("min_size", 1),
        ),
    )
    yield (
        "Sharpness",
        "Least variance of the second derivative at 128 px, squared grey levels.",
        charts.histogram(
            numbers.sharpness,
            charts.size_edges,
            "squared grey levels",
            limits=limits("min_sharpness", 1),
        ),
    )
    yield (
        "Track length",
        "Kept pictures of one face in one shot.",
        charts.histogram(tracks, charts.count_edges, "pictures", what="tracks"),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(number: float) -> str:
    return f"{round(number):+d}".replace("-", "\N{MINUS SIGN}")


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "none"
