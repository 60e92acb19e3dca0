"""The verb `search`: faces of a data set that do what a picture shows, or what a query says."""

import contextlib
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.records import decode, unpack
from data_pipelines.sources import PersonaSource
from faceswap_jax.editing.expressions import (
    Found,
    Place,
    image_of,
    open_all,
    read_query,
    read_record,
)
from faceswap_jax.editing.ranking import (
    REGIONS,
    choose,
    most_extreme,
    nearest_by_aspect_ratios,
    nearest_by_blendshapes,
    nearest_by_measures,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.landmarks import Shown, largest_face
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.files import new_folder
from faceswap_jax.inference.audience import tell

FACES, LIST, SHEET = "faces", "found.csv", "sheet.png"
JUDGES = ("measures", "aspect_ratios", "blendshapes")
IN_A_ROW = 5  # faces of the sheet
SIDE = 160  # of these faces, pixels
PNG = b"\x89PNG"  # how such a file begins


def search(
    data: Path,
    output: Path,
    picture: Path | None = None,
    query: str | None = None,
    count: int = 20,
    by: str = JUDGES[0],
    region: str = "all",
) -> list[Found]:
    """Writes those faces of a data set that answer best: the folder `faces`, `found.csv` and `sheet.png`.

    The pictures are the stored ones with their margin. All show a face that MediaPipe finds again, so that the folder
    serves as key pictures.

    Args:
        data: folder made by `faceswap prepare`; all splits are searched.
        output: folder to make.
        picture: its largest face does what is looked for; a file of landmarks beside it counts.
        query: in its place: conditions on signals, see `editing/expressions.py`; the most extreme come first.
        count: of the faces, at most.
        by: what compares faces with that of the picture, one of `JUDGES`.
        region: of the face that is compared, one of `REGIONS`.

    Raises:
        InputError: an argument cannot be used, or nothing is found. Nothing is written then.
    """
    _check(output, picture, query, count, by, region)
    shown = None if picture is None else largest_face(picture)
    sources = open_all(data)
    if query is not None:
        ranked = most_extreme(sources, read_query(query))
    elif by == "measures":
        ranked = nearest_by_measures(sources, shown.face, region)
    elif by == "aspect_ratios":
        ranked = nearest_by_aspect_ratios(sources, shown.face, region)
    else:
        ranked = nearest_by_blendshapes(sources, shown.image, shown.face, region)

    with contextlib.closing(MediaPipeLandmarker()) as landmarker:

        def is_seen(place: Place) -> bool:
            record = read_record(sources, place, decode)
            return record is not None and bool(landmarker(image_of(record), 0))

        chosen = choose(ranked, count, is_seen)
    if not ranked:
        raise InputError(
            "No face of the data can be compared with the picture; prepare the data again."
        )
    if not chosen:
        raise InputError(
            f"None of the {len(ranked)} faces that answer is seen again in its stored picture; prepare "
            "the data with a larger --resolution."
        )
    with new_folder(output) as folder:
        names = _write_faces(folder / FACES, sources, chosen)
        _write_list(folder / LIST, chosen, names)
        write_picture(folder / SHEET, _sheet(sources, chosen, shown))

    personas = len({item.place.persona for item in chosen})
    tell(f"{output}: {len(chosen)} faces of {personas} persona(s); {SHEET} shows them")
    return chosen


def _check(
    output: Path, picture: Path | None, query: str | None, count: int, by: str, region: str
) -> None:
    if (picture is None) == (query is None):
        raise InputError("Say what to look for: with a picture or with --query, one of the two.")
    if query is not None:
        read_query(query)
    if count < 1:
        raise InputError(f"The number of faces is {count}; give 1 or more.")
    for value, choices in ((by, JUDGES), (region, REGIONS)):
        if value not in choices:
            raise InputError(f"There is no '{value}'; choose one of {', '.join(choices)}.")
    # An empty folder may be there.
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(f"'{output}' exists and is kept; choose another --output.")


# Writing


def _write_faces(
    folder: Path, sources: Mapping[str, PersonaSource], chosen: Sequence[Found]
) -> list[str]:
    """Writes the pictures as they are stored; returns their names."""
    folder.mkdir()
    names = []
    for rank, (place, _) in enumerate(chosen, 1):
        _, encoded = read_record(sources, place, unpack)
        suffix = ".png" if encoded.startswith(PNG) else ".jpg"
        names.append(_file_name(rank, place) + suffix)
        (folder / names[-1]).write_bytes(encoded)
    return names


def _file_name(rank: int, place: Place) -> str:
    """Sorts by rank, and tells persona, clip and frame in letters that every file system takes."""
    text = f"{rank:03}-{place.persona}-{_clip_of(place)}-{place.frame:06}"
    return re.sub(r"[^\w.-]", "_", text)


def _clip_of(place: Place) -> str:
    """Name of the clip without that of the persona, which stands before it already."""
    return place.clip.removeprefix(f"{place.persona}/")


def _write_list(path: Path, chosen: Sequence[Found], names: Sequence[str]) -> None:
    rows = []
    for rank, ((place, values), name) in enumerate(zip(chosen, names, strict=True), 1):
        where = place._asdict() | {"time": round(place.time, 3)}
        del where["number"]
        told = {signal: round(value, 4) for signal, value in values.items()}
        rows.append({"rank": rank, "file": name} | where | told)

    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def _sheet(
    sources: Mapping[str, PersonaSource], chosen: Sequence[Found], shown: Shown | None
) -> Image:
    """The picture, then the faces in rows, each with its label above."""
    cells = []
    for rank, (place, values) in enumerate(chosen, 1):
        record = read_record(sources, place, decode)
        face = align.cut_face(image_of(record), record.landmarks, SIDE, "stable")
        told = " ".join(f"{signal} {value:.2f}" for signal, value in values.items())
        label = f"{rank}: {place.persona} {_clip_of(place)} {place.time:.2f} s {told}"
        cells.append(_labelled(face, label))

    lines = [cells[i : i + IN_A_ROW] for i in range(0, len(cells), IN_A_ROW)]
    if shown is not None:
        face = align.cut_face(shown.image, shown.face.landmarks, SIDE, "stable")
        lines.insert(0, [_labelled(face, "the picture")])
    height = max(len(cell) for line in lines for cell in line)
    width = max(cell.shape[1] for line in lines for cell in line)
    sheet = np.full((len(lines) * height, IN_A_ROW * width, 3), 255, np.uint8)
    for row, line in enumerate(lines, 1):
        for column, cell in enumerate(line):
            # At the bottom, so that faces of a row are level
            top, left = row * height - len(cell), column * width
            sheet[top : row * height, left : left + cell.shape[1]] = cell
    return sheet


def _labelled(face: Image, label: str) -> Image:
    return draw_grid(face[None, None], columns=[label])
