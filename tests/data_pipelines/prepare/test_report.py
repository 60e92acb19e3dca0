"""Tests of the report: what its page says, what its contact sheet shows, bad records, replacing an old one."""

import base64
import dataclasses
import errno
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from data_pipelines.prepare import report
from data_pipelines.prepare.contact_sheet import CELL, LINE, SAMPLES, corner
from data_pipelines.prepare.page import CLIPS, OPEN_ROWS
from data_pipelines.prepare.report import write_report
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import (
    MARGIN,
    SHARDS,
    Counts,
    FaceRecord,
    Manifest,
    Persona,
    ShardWriter,
    encode,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from tests.support.records import record_of

NAMES = ["Ada Lovelace", 'Zoë <b>"O\'Hara"</b> & Söhne', "李雷"]
SPLITS = ["train", "validation", "test"]
DROPPED = {"no face": 3, "blurred <i>": 2}


class Page(HTMLParser):
    """The tables by id, as rows of texts, and the attributes of all elements by tag."""

    def __init__(self, path: Path):
        super().__init__()
        self.tables, self.elements, self.text = {}, {}, ""
        self._rows, self._cell = [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.setdefault(tag, []).append(dict(attributes))
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attributes)["id"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        self._cell &= tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self._cell:
            self._rows[-1][-1] += data


def record(picture: np.ndarray, **changes) -> FaceRecord:
    """A frontal face with the eyes 80 frame pixels apart, and 0.1 s of sound."""
    fields = {
        "transform": np.eye(2, 3) * align.INTEROCULAR * len(picture) / 80,
        "confidence": 0.9,
        "sound": np.zeros(1600, np.int16),
    }
    return record_of(picture, **fields | changes)


def flat(value: int, size: int = 16) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def write_data(
    folder: Path,
    personas: Mapping[str, Sequence[FaceRecord | bytes]],
    splits: Sequence[str] = ("train",),
    unreadable: Mapping[str, str] | None = None,
    image: str = "png",
) -> Manifest:
    """A finished data set; bytes are stored as they are, as a track of their own."""
    (folder / SHARDS).mkdir(parents=True)
    entries, resolution = {}, 16
    for p, (name, records) in enumerate(personas.items()):
        with ShardWriter(folder / SHARDS / f"{p}-00000.arrayrecord") as writer:
            for each in records:
                if isinstance(each, bytes):
                    writer.write(each, each)
                else:
                    writer.write(encode(each, image), each.track)
                    resolution = round(len(each.image) / MARGIN)
        counts = Counts(len(records) + 5, len(records), DROPPED)
        entries[name] = Persona(splits[p % len(splits)], [writer.shard], counts)
    manifest = Manifest(
        Settings(resolution=resolution, image=image).to_json(), entries, dict(unreadable or {})
    )
    manifest.save(folder)
    return manifest


def open_sheet(folder: Path) -> np.ndarray:
    return cv2.imread(str(folder / report.REPORT / report.SHEET))[..., ::-1]


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The picture in a cell of the contact sheet."""
    x, y = corner(row, column)
    return sheet[y : y + CELL, x : x + CELL]


def level(sheet: np.ndarray, row: int, column: int) -> int:
    """The grey level of a cell."""
    return int(np.median(cell(sheet, row, column)))


def sheet_rows(sheet: np.ndarray) -> int:
    return (len(sheet) - corner(0, 0)[1]) // LINE


@pytest.fixture(scope="module")
def puppets(tmp_path_factory) -> Path:
    """Three puppets of different splits, in two tracks each, and their report."""
    folder, resolution = tmp_path_factory.mktemp("puppets") / "puppets & co", 64
    personas = {}
    for p, name in enumerate(NAMES):
        frame = render_frame(0, p, 0, 0, 96)
        transform = align.alignment_transform(frame.landmarks, resolution, "eyes")
        crop = align.crop(frame.image, transform, resolution)
        personas[name] = [
            record(
                crop,
                transform=transform,
                track=i // 8,
                pose=np.array([10 * p + i, -i, 0], np.float32),
            )
            for i in range(10 + p)
        ]
    write_data(
        folder, personas, SPLITS, {"a <b>.mov": "a <b>.mov cannot be decoded; export it again."}
    )
    assert write_report(folder) == folder / "report" / "index.html"
    return folder


def test_every_picture_is_there_and_nothing_else_is_loaded(puppets):
    page = Page(puppets / "report" / "index.html")
    assert not page.elements.keys() & {"script", "link", "iframe", "object"}
    assert "http" not in (puppets / "report" / "index.html").read_text(encoding="utf-8")
    sources = [image["src"] for image in page.elements["img"]]
    assert len(sources) == 6 + 1 + len(NAMES)
    for source in sources:
        head, _, content = source.partition(",")
        if head == "data:image/svg+xml;base64":
            assert base64.b64decode(content).rstrip().endswith(b"</svg>")
        elif head == "data:image/jpeg;base64":
            strip = cv2.imdecode(
                np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR
            )
            assert strip.shape == (report.THUMBNAIL, report.THUMBNAILS * report.THUMBNAIL, 3)
        else:
            assert (puppets / "report" / unquote(source)).is_file()
    assert all(image["alt"] for image in page.elements["img"])
    assert sorted(path.name for path in (puppets / "report").iterdir()) == [
        "contact_sheet.png",
        "index.html",
    ]


def test_names_are_text_not_markup(puppets):
    page = Page(puppets / "report" / "index.html")
    assert [row[2] for row in page.tables["personas"][1:]] == NAMES
    assert [image["alt"] for image in page.elements["img"]][-len(NAMES) :] == [
        f"Faces of {name}" for name in NAMES
    ]
    assert not page.elements.keys() & {"b", "i"}
    assert page.tables["unreadable"][1] == [
        "a <b>.mov",
        "a <b>.mov cannot be decoded; export it again.",
    ]
    assert "puppets & co" in page.text


def test_counts_are_those_of_the_manifest(puppets):
    page, manifest = Page(puppets / "report" / "index.html"), Manifest.load(puppets)
    counts = {row[0]: row[1:3] for row in page.tables["counts"][1:]}
    assert counts == {
        "seen": ["48", "100.0 %"],
        "kept": ["33", "68.8 %"],
        "dropped: no face": ["9", "18.8 %"],
        "dropped: blurred <i>": ["6", "12.5 %"],
    }
    assert sorted(row[:4] for row in page.tables["splits"][1:]) == sorted(
        [split, "1", str(10 + p), "2"] for p, split in enumerate(SPLITS)
    )
    for p, row in enumerate(page.tables["personas"][1:]):
        counts = manifest.personas[NAMES[p]].counts
        assert row[3:7] == [
            SPLITS[p],
            str(counts.kept),
            "2",
            f"{100 * counts.kept / counts.seen:.1f} %",
        ]
    assert "From all pictures." in page.text
    flags = {row[0]: row[1] for row in page.tables["settings"][1:]}
    assert len(flags) == len(dataclasses.fields(Settings))
    assert (flags["--resolution"], flags["--image"], flags["--splits"]) == ("64", "png", "100,0,0")


def test_same_data_same_report(puppets):
    files = [path.read_bytes() for path in sorted((puppets / "report").iterdir())]
    write_report(puppets)
    assert [path.read_bytes() for path in sorted((puppets / "report").iterdir())] == files


def test_numbers_of_a_persona(tmp_path):
    """Sizes in frame pixels, the span of yaw, the hours of sound; records that do not tell are left out."""
    sizes = [20, 50, 50, 200, math.inf]
    records = [
        record(
            flat(90, 32),
            transform=np.array([[0.0, 1, 5], [-1, 0, 7]]) * align.INTEROCULAR * 32 / size,
            pose=np.array([yaw, 0, 0], np.float32),
            sound=np.zeros(16_000 * 90, np.int16),
            sharpness=sharpness,
        )
        for size, yaw, sharpness in zip(
            sizes, [-20, -20, 40, 40, math.nan], [0, math.nan, math.inf, 5, 3e4], strict=True
        )
    ]
    write_data(tmp_path / "data", {"a": records})
    page = Page(write_report(tmp_path / "data"))
    assert page.tables["personas"][1][7:] == ["50", "−20° to +40°"]
    assert "7.5 min" in page.text


@pytest.mark.parametrize(("resolution", "image"), [(16, "jpeg"), (1024, "png16"), (16, "png16")])
def test_all_kinds_of_pictures(tmp_path, resolution, image):
    picture = np.zeros((resolution, resolution, 3), np.uint8) + np.array([200, 100, 30], np.uint8)
    if image == "png16":
        picture = picture.astype(np.uint16) * 257
    write_data(
        tmp_path / "data", {"a": [record(picture, sound=np.zeros(0, np.int16))]}, image=image
    )
    page = Page(write_report(tmp_path / "data"))
    assert np.abs(cell(open_sheet(tmp_path / "data"), 0, 0).astype(int) - [200, 100, 30]).max() <= 2
    assert page.tables["counts"][2][1] == "1" and "none" in page.text


def test_contact_sheet_shows_each_track_in_turn(tmp_path):
    """Grey levels tell personas and tracks apart."""
    a = [
        record(flat(10 * track), track=track)
        for track in range(5)
        for _ in range(30 if track else 1)
    ]
    b = [record(flat(100 + track), track=track) for track in range(25)]
    c = [record(flat(200)), record(flat(210))]
    write_data(tmp_path / "data", {"a": a, "b": b, "c": c})
    write_report(tmp_path / "data")
    sheet = open_sheet(tmp_path / "data")
    assert sheet_rows(sheet) == 3
    levels = [[level(sheet, row, column) for column in range(SAMPLES)] for row in range(3)]

    of_a = Counter(levels[0])
    assert of_a.keys() == {0, 10, 20, 30, 40} and max(of_a.values()) <= 3
    assert levels[0] == sorted(levels[0])
    assert levels[1][0] >= 100 and set(np.diff(levels[1])) <= {2, 3}
    assert levels[2] == [200, 210] + [255] * 8


def test_contact_sheet_names_personas_and_says_when_and_where_faces_were_seen(
    tmp_path, monkeypatch
):
    lines = []

    def drawn(title, explanation, given):
        lines.extend(given)
        return b""

    monkeypatch.setattr(report.contact_sheet, "contact_sheet", drawn)
    seen = [
        record(flat(9), clip="ann/monday/a.mp4#t=60,90", time=61.25),
        record(flat(9), clip="ann/b.png", track=1),
    ]
    write_data(tmp_path / "data", {"ann": seen})
    write_report(tmp_path / "data")
    (line,) = lines
    assert line.name.endswith("ann") and "2 tracks" in line.notes[1]
    assert line.captions == ["61.2 s  a.mp4", "b.png"]


def test_many_personas_are_capped(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RECORDS", 300)
    people = report.ROWS + 20
    noise = np.random.default_rng(0).integers(
        0, 256, (16, 16, 3), np.uint8
    )  # the worst for the page's size
    personas = {f"{'long ' * 40}{p}": [record(noise), record(noise)] for p in range(people)}
    clips = {f"{i}.mp4": "cannot be decoded " * 100 for i in range(CLIPS + 1)}
    write_data(tmp_path / "data", personas, SPLITS, clips)
    path = write_report(tmp_path / "data")
    page = Page(path)
    rows = page.tables["personas"][1:] + page.tables["more_personas"][1:]
    assert (len(page.tables["personas"]) - 1, len(rows)) == (OPEN_ROWS, report.ROWS)
    numbers = [int(row[0]) for row in rows]
    assert set(np.diff(numbers)) <= {1, 2} and numbers[0] == 1 and numbers[-1] == people
    assert all(int(row[2].split()[-1]) == int(row[0]) - 1 for row in rows)
    assert len(page.tables["unreadable"]) - 1 == CLIPS
    assert f"Unreadable clips ({CLIPS + 1})" in page.text
    for told in (
        "From 300 pictures spread evenly over the 440",
        "40 of 220 personas",
        "200 of 220, evenly spread",
    ):
        assert told in page.text
    assert [row[1:3] for row in page.tables["splits"][1:]] == [
        ["74", "148"],
        ["73", "146"],
        ["73", "146"],
    ]
    assert sheet_rows(open_sheet(tmp_path / "data")) == report.SHEET_ROWS
    assert path.stat().st_size < 2e6


def test_large_records_are_read_sparingly(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    write_data(tmp_path / "data", {"a": [record(noise)] * 4})
    monkeypatch.setattr(
        report, "BYTES", (tmp_path / "data" / SHARDS / "0-00000.arrayrecord").stat().st_size // 2
    )
    assert "From 2 pictures spread evenly over the 4" in Page(write_report(tmp_path / "data")).text


def test_damaged_records_and_shards_are_left_out(tmp_path):
    good = [record(flat(50 + i), track=i) for i in range(4)]
    packed = encode(good[0], "png")
    bad_picture = packed.replace(b"IHDR", b"XXXX")
    manifest = write_data(
        tmp_path / "data",
        {
            "odd": [*good, b"\x00", b"no record", packed[:-9], bad_picture],
            "hit": good,
            "cut": good,
            "lost": good,
        },
    )
    hit, cut, lost = (tmp_path / "data" / SHARDS / f"{p}-00000.arrayrecord" for p in (1, 2, 3))
    content = bytearray(hit.read_bytes())
    content[200] ^= 0xFF  # in the first record, behind the headers of file and chunk
    hit.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:200])
    lost.unlink()
    page = Page(write_report(tmp_path / "data"))
    total = sum(sum(persona.tracks) for persona in manifest.personas.values())
    assert total == 20
    assert f"{3 + 1 + 4 + 4} of the {total} cannot be read" in page.text
    assert [row[7] for row in page.tables["personas"][1:]] == ["80", "80", "–", "–"]
    sheet = open_sheet(tmp_path / "data")
    shown = [sum(level(sheet, row, column) < 100 for column in range(SAMPLES)) for row in range(4)]
    assert shown == [4, 3, 0, 0]


def test_nothing_can_be_read(tmp_path):
    write_data(tmp_path / "data", {"a": [b"no record"]})
    page = Page(write_report(tmp_path / "data"))
    assert "1 of the 1 cannot be read" in page.text
    assert page.tables["personas"][1][7:] == ["–", "–"]


def test_old_report_and_what_a_killed_process_left_are_replaced(tmp_path):
    data = tmp_path / "data"
    write_data(data, {"a": [record(flat(9))]})
    for folder in ("report", ".report", ".report.old"):
        (data / folder).mkdir()
        (data / folder / "old.html").write_text("old")
    write_report(data)
    assert sorted(path.name for path in data.iterdir()) == [
        "manifest.json",
        "report",
        "settings.json",
        "shards",
    ]
    assert not (data / "report" / "old.html").exists()


def test_old_report_stays_when_the_disk_is_full(tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_data(data, {"a": [record(flat(9))]})
    page = write_report(data)
    before = page.read_bytes()

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"report cannot be written \(No space left"):
        write_report(data)
    assert page.read_bytes() == before
    assert sorted(path.name for path in data.iterdir()) == [
        "manifest.json",
        "report",
        "settings.json",
        "shards",
    ]


def test_unfinished_data_set(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "none")
