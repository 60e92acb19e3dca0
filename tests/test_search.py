"""`faceswap search` on records of puppets, and the key pictures that it writes."""

import contextlib
import csv
import shutil

import numpy as np
import pytest

from data_pipelines.puppets.dataset import write_records
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import MANIFEST, unpack
from faceswap_jax.editing.expressions import find, open_all, read_query
from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import open_landmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.search import search
from tests.support.folders import files
from tests.support.stored import encoded

RATE, FRAMES = 5.0, 6


@pytest.fixture(scope="module")
def puppets(tmp_path_factory):
    """Two tracks of each of two puppets."""
    folder = tmp_path_factory.mktemp("searched") / "data"
    write_records(folder, 0, range(2), range(2), FRAMES, RATE, 64)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """Frame 5 of the second track of puppet001, larger, with its exact landmarks beside it."""
    frame = render_frame(0, 1, 1, 5, 300, RATE)
    path = tmp_path_factory.mktemp("query") / "query.png"
    write_picture(path, frame.image)
    write_landmarks(sidecar_path(path), {0: frame.landmarks})
    return path


def listed(folder):
    with open(folder / "found.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_nearest_to_a_picture_is_the_record_of_the_same_frame(puppets, picture, tmp_path):
    found = search(puppets, tmp_path / "o", picture, count=6)
    first, second = listed(tmp_path / "o")[:2]
    assert first | {"distance": "", "file": ""} == {
        "rank": "1",
        "file": "",
        "persona": "puppet001",
        "clip": "puppet001/01",
        "track": "0",
        "frame": "5",
        "time": "1.0",
        "distance": "",
    }
    assert float(first["distance"]) < 0.01 < float(second["distance"])
    distances = [item.values["distance"] for item in found]
    assert distances == sorted(distances)


def test_the_folder_holds_key_pictures_in_which_faces_are_found_again(puppets, picture, tmp_path):
    """As they are stored, and nothing else beside them."""
    output = tmp_path / "o"
    found = search(puppets, output, picture, count=5)
    names = sorted(path.name for path in (output / "faces").iterdir())
    assert names == [row["file"] for row in listed(output)] and len(names) == 5
    assert names[0] == "001-puppet001-01-000005.jpg"
    assert {path.name for path in output.iterdir()} == {"faces", "found.csv", "sheet.png"}
    for item, name in zip(found, names, strict=True):
        path = output / "faces" / name
        record = encoded(puppets, item.place.persona)[item.place.number]
        assert path.read_bytes() == unpack(record)[1]
        with contextlib.closing(open_landmarker(path)) as landmarker:
            assert landmarker(read_picture(path), 0)


def test_the_sheet_shows_the_picture_before_the_faces(puppets, picture, tmp_path):
    search(puppets, tmp_path / "with", picture, count=2)
    search(puppets, tmp_path / "without", query="yaw>-90", count=2)
    with_it = read_picture(tmp_path / "with/sheet.png")
    without = read_picture(tmp_path / "without/sheet.png")
    assert len(with_it) == 2 * len(without) > 320
    assert with_it.std() > 30


def test_a_query_gives_its_faces_those_first_that_do_most(puppets, tmp_path):
    query = "mouth_open>0,yaw<60"
    found = search(puppets, tmp_path / "o", query=query)
    expected = find(open_all(puppets), read_query(query))
    assert {item.place for item in found} < {item.place for item in expected}
    values = [float(row["mouth_open"]) for row in listed(tmp_path / "o")]
    assert values == sorted(values, reverse=True) and values[-1] > 0
    assert values[0] == round(max(item.values["mouth_open"] for item in expected), 4)


def test_a_second_run_gives_the_same_bytes(puppets, picture, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "b").mkdir(exist_ok=True)  # an empty folder may be there
        search(puppets, tmp_path / name, picture, count=3, region="mouth")
    names = list(files(tmp_path / "a"))
    assert len(names) == 5 and names == list(files(tmp_path / "b"))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_cannot_be_searched_is_refused_and_nothing_is_written(puppets, picture, tmp_path):
    empty = tmp_path / "empty.png"
    write_picture(empty, np.full((64, 64, 3), 90, np.uint8))
    unfinished = tmp_path / "unfinished"
    shutil.copytree(puppets, unfinished)
    (unfinished / MANIFEST).unlink()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").touch()
    output = tmp_path / "o"

    before = files(tmp_path)
    for message, arguments in (
        ("empty.png shows no face", (puppets, output, empty)),
        ("is not finished", (unfinished, output, picture)),
        ("does not exist.*prepare", (tmp_path / "nowhere", output, picture)),
        ("has no settings.json", (kept, output, picture)),
        ("kept' exists", (puppets, kept, picture)),
        ("mine.txt' exists", (puppets, kept / "mine.txt", picture)),
        ("reaches from .* to .* in the data", (puppets, output, None, "mouth_open>99")),
        ("is 0; give 1", (puppets, output, picture, None, 0)),
        ("no 'nose'", (puppets, output, picture, None, 1, "measures", "nose")),
        ("no 'units'; choose one of measures, asp", (puppets, output, picture, None, 1, "units")),
        ("cannot be written", (puppets, kept / "mine.txt/o", picture)),
    ):
        with pytest.raises(InputError, match=message):
            search(*arguments)
        assert files(tmp_path) == before and not output.exists(), message
