"""Writes the report of a data set, a page and a contact sheet to look at before training.

Counts come from the manifest and are exact. What only the records tell (pose, size, sharpness,
sound) comes from a sample spread evenly over them, so that a report takes seconds however large the
data set is.
"""

import contextlib
import dataclasses
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from data_pipelines.prepare import charts, contact_sheet
from data_pipelines.prepare.catalogue import Catalogue, spread
from data_pipelines.prepare.page import Measures, PersonaRow, render_page
from data_pipelines.prepare.sightings import read_sightings
from data_pipelines.records import FaceRecord, Manifest, aligned_crop
from faceswap_jax.faces import align
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.picture import is_picture
from faceswap_jax.files import unwritable

REPORT = "report"
"""The report's folder in a data set."""

PAGE = "index.html"
SHEET = "contact_sheet.png"

RECORDS = 10_000
"""Most records whose numbers are read."""

BYTES = 2**30
"""About the most that is read of them."""

ROWS = 200
"""Most personas in the page's table."""

SHEET_ROWS = 40
"""Most personas on the contact sheet."""

THUMBNAILS = 3
"""Images of a persona in the page's table."""

THUMBNAIL = 64
"""Their side in pixels."""

EXPLANATION = (
    "Faces of each persona, spread evenly over its tracks, in their order; below each face: when in "
    "which file."
)


def write_report(directory: Path) -> Path:
    """Writes the folder `report` of a finished data set; it appears when it is complete.

    An old report is replaced. Records and shards that cannot be read are left out and counted on
    the page.

    Returns:
        The page.

    Raises:
        InputError: there is no finished data set in the folder, or the report cannot be written.
    """
    manifest = Manifest.load(directory)
    catalogue = Catalogue.of(directory, manifest)
    shown = spread(len(manifest.personas), ROWS)
    on_sheet = [shown[i] for i in spread(len(shown), SHEET_ROWS)]

    # The page's charts take an even sample; a row takes a sample of its persona.
    most = _affordable(catalogue)
    even = spread(catalogue.total, most)
    wanted = list(even)
    for p in shown:
        wanted += catalogue.spread(p, most // len(shown))
    sample = _measure(catalogue, wanted)

    counts = dict.fromkeys(shown, THUMBNAILS) | dict.fromkeys(on_sheet, contact_sheet.SAMPLES)
    crops = _read_crops(catalogue, counts)
    rows = {p: _row(catalogue, p, sample, crops[p]) for p in shown}

    page = render_page(
        directory.resolve().name,
        manifest,
        list(rows.values()),
        sample.of(even),
        read_sightings(directory, manifest),
        sampled=len(even),
        on_sheet=len(on_sheet),
        sheet=SHEET,
    )
    lines = [_line(rows[p], crops[p]) for p in on_sheet]
    sheet = contact_sheet.contact_sheet(
        _title(len(lines), len(manifest.personas)), EXPLANATION, lines
    )
    _publish(directory / REPORT, {PAGE: page.encode("utf-8", "replace"), SHEET: sheet})
    return directory / REPORT / PAGE


def _affordable(catalogue: Catalogue) -> int:
    """Returns the most records to read, as RECORDS and BYTES say."""
    return min(RECORDS, math.ceil(BYTES * catalogue.total / max(catalogue.stored_bytes, 1)))


def _publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files beside its place, then puts it there."""
    aside = folder.with_name(f".{folder.name}")
    old = folder.with_name(f".{folder.name}.old")
    try:
        # What a killed process left.
        _remove(aside)
        _remove(old)

        aside.mkdir()
        for name, content in files.items():
            (aside / name).write_bytes(content)
        # A folder cannot be renamed onto one that has files.
        if folder.is_symlink() or folder.exists():
            folder.rename(old)
        aside.rename(folder)
        _remove(old)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise unwritable(folder, error.strerror) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# Reading


@dataclasses.dataclass(frozen=True)
class _Sample:
    """What is read of records without their images.

    Attributes:
        numbers: of the records in the catalogue, rising.
        measures: of each.
    """

    numbers: Int64[np.ndarray, "n"]
    measures: Measures

    def of(self, numbers: Sequence[int]) -> Measures:
        """Returns the measures of the wanted records that could be read."""
        return self._at(np.isin(self.numbers, numbers))

    def between(self, begin: int, end: int) -> Measures:
        """Returns the measures of the records from `begin` to `end`, exclusive."""
        return self._at(slice(*np.searchsorted(self.numbers, (begin, end))))

    def _at(self, where: slice | np.ndarray) -> Measures:
        columns = {name: column[where] for name, column in vars(self.measures).items()}
        return Measures(**columns)


def _measure(catalogue: Catalogue, wanted: Iterable[int]) -> _Sample:
    """Reads the wanted records, without their images."""
    numbers = []
    columns: dict[str, list[float]] = {field.name: [] for field in dataclasses.fields(Measures)}
    for number, record in catalogue.read(wanted, image=False):
        yaw, pitch, _ = record.pose.tolist()
        numbers.append(number)
        columns["yaw"].append(yaw)
        columns["pitch"].append(pitch)
        columns["size"].append(_eye_distance(record))
        columns["sharpness"].append(record.sharpness)
        columns["sound"].append(len(record.sound) / AUDIO_RATE)
    measures = {name: np.array(values, np.float64) for name, values in columns.items()}
    return _Sample(np.array(numbers, np.int64), Measures(**measures))


def _eye_distance(record: FaceRecord) -> float:
    """Returns the distance between the eye centres in frame pixels; NaN if the record cannot tell."""
    scale = align.transform_scale(record.transform)
    right, left = align.eye_centres(record.landmarks)
    return float(np.hypot(*(left - right))) / scale if scale else math.nan


@dataclasses.dataclass(frozen=True)
class _Crop:
    """A face as the contact sheet shows it.

    Attributes:
        image: of contact_sheet.CELL pixels.
        caption: when in which file it was seen.
    """

    image: UInt8[np.ndarray, "c c 3"]
    caption: str


def _read_crops(catalogue: Catalogue, counts: Mapping[int, int]) -> dict[int, list[_Crop]]:
    """Reads faces of some personas, spread evenly over the tracks of each.

    Args:
        catalogue: to read from.
        counts: how many faces of each persona are wanted, by its position.
    """
    owner = {}
    for p, count in counts.items():
        owner |= dict.fromkeys(catalogue.spread_over_tracks(p, count), p)

    crops: dict[int, list[_Crop]] = {p: [] for p in counts}
    for number, record in catalogue.read(owner, image=True):
        # Landmarks at one point are left to `faceswap verify`.
        with contextlib.suppress(ValueError):
            crops[owner[number]].append(_crop(record))
    return crops


def _crop(record: FaceRecord) -> _Crop:
    image = aligned_crop(record, contact_sheet.CELL, "eyes")
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)

    # The name without the persona and without the times of a part.
    file = Path(record.clip.partition("#t=")[0])
    caption = file.name if is_picture(file) else f"{record.time:.1f} s  {file.name}"
    return _Crop(image, caption)


# Personas


def _row(catalogue: Catalogue, p: int, sample: _Sample, crops: Sequence[_Crop]) -> PersonaRow:
    """Returns the row of the persona at position p in the page's table."""
    name, persona = catalogue.personas[p]
    measures = sample.between(*catalogue.begins[p : p + 2])
    size = charts.finite(measures.size)
    yaw = charts.finite(measures.yaw)
    return PersonaRow(
        number=p + 1,
        name=name,
        split=persona.split,
        pictures=sum(persona.tracks),
        tracks=len(persona.tracks),
        kept=persona.counts.kept / max(persona.counts.seen, 1),
        size=float(np.median(size)) if len(size) else None,
        yaw=tuple(np.percentile(yaw, (5, 95)).tolist()) if len(yaw) else None,
        thumbnails=_thumbnails(crops),
    )


def _thumbnails(crops: Sequence[_Crop]) -> str:
    """Returns some of the crops side by side, as a data URI; empty if there are none."""
    if not crops:
        return ""
    chosen = [crops[i].image for i in spread(len(crops), THUMBNAILS)]
    strip = np.hstack([align.resize(image, THUMBNAIL) for image in chosen])
    bgr = cv2.cvtColor(strip, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return charts.data_uri("image/jpeg", jpeg.tobytes())


def _line(row: PersonaRow, crops: Sequence[_Crop]) -> contact_sheet.Line:
    """Returns the line of a persona on the contact sheet."""
    return contact_sheet.Line(
        name=f"{row.number}  {row.name}",
        notes=(_counted(row.pictures, "picture"), f"{_counted(row.tracks, 'track')}, {row.split}"),
        images=[crop.image for crop in crops],
        captions=[crop.caption for crop in crops],
    )


def _title(shown: int, personas: int) -> str:
    title = _counted(personas, "persona")
    return f"{shown:,} of {title}, evenly spread" if shown < personas else title


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
