"""Tests of the sources: what is opened, what is corrupt, parts, puppets."""

import threading
from pathlib import Path

import ml_collections
import msgpack
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines import datasets
from data_pipelines.datasets import manifest_digest, open_data
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets import source
from data_pipelines.puppets.source import PuppetRecords, PuppetTrack, puppet_source
from data_pipelines.puppets.tracks import RATE, render_frame, truth
from data_pipelines.puppets.voice import track_audio
from data_pipelines.records import (
    SHARDS,
    Counts,
    Manifest,
    Persona,
    ShardWriter,
    aligned_crop,
    decode,
    encode,
)
from data_pipelines.sources import PersonaSource, split
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from tests.support.records import record_of

SIZE = 16


def record(number: int, persona: str = "ann") -> bytes:
    image = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    return encode(record_of(image, time=number / 25, frame=number, persona=persona))


def write_data(folder: Path, personas: dict[str, tuple[str, list[list[int]]]]) -> None:
    """A data set; a persona is its split and, for each shard, the lengths of its tracks."""
    (folder / SHARDS).mkdir(parents=True)
    table = {}
    for name, (part, shards) in personas.items():
        number, written = 0, []
        for index, tracks in enumerate(shards):
            with ShardWriter(folder / SHARDS / f"{name}-{index:05d}.arrayrecord") as writer:
                for track, length in enumerate(tracks):
                    for _ in range(length):
                        writer.write(record(number, name), (index, track))
                        number += 1
            written.append(writer.shard)
        table[name] = Persona(part, written, Counts(number, number, {}))
    Manifest(Settings(resolution=SIZE).to_json(), table, {}).save(folder)


def tracks_of(folder: Path, part: str = "train") -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict({"kind": "tracks", "path": str(folder), "split": part})


def frame(data: bytes) -> int:
    return decode(data, image=False).frame


def lost(path: Path) -> list[int]:
    """Records that ArrayRecord cannot read."""
    reader, numbers = ArrayRecordReader(str(path)), []
    for number in range(reader.num_records()):
        try:
            reader.read([number])
        except RuntimeError:
            numbers.append(number)
    return numbers


def damage(path: Path, number: int) -> None:
    """Flips a bit in a file of ArrayRecord such that one more record is lost."""
    before, content = lost(path), path.read_bytes()
    for place in range(0, len(content), 100):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        if lost(path) == sorted([*before, number]):
            return
    raise AssertionError("no byte of the file belongs to this record alone")


def test_all_records_of_a_split_in_order(tmp_path):
    write_data(
        tmp_path, {"ann": ("train", [[2, 1], [3]]), "ben": ("train", [[4]]), "eve": ("test", [[2]])}
    )
    opened = open_data(tracks_of(tmp_path))
    assert list(opened) == ["ann", "ben"] and list(open_data(tracks_of(tmp_path, "test"))) == [
        "eve"
    ]
    ann = opened["ann"]
    assert (len(ann), ann.tracks, ann.resolution, ann.name) == (6, [2, 1, 3], SIZE, "ann")
    assert [ann.read(i, frame) for i in range(6)] == list(range(6))
    with pytest.raises(
        InputError, match="no persona in the split 'validation'; it has 2 in 'train', 1 in 'test'"
    ):
        open_data(tracks_of(tmp_path, "validation"))


def test_shards_are_checked_when_they_are_opened(tmp_path):
    write_data(tmp_path, {"ann": ("train", [[2], [3]])})
    path = tmp_path / SHARDS / "ann-00001.arrayrecord"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputError,
        match=r"ann-00001.arrayrecord (is damaged|holds 0 records but).* `faceswap verify --repair`",
    ):
        open_data(tracks_of(tmp_path))
    path.write_bytes((tmp_path / SHARDS / "ann-00000.arrayrecord").read_bytes())
    with pytest.raises(
        InputError, match=r"ann-00001.arrayrecord holds 2 records but manifest.json says 3"
    ):
        open_data(tracks_of(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=r"ann-00001.arrayrecord is missing"):
        open_data(tracks_of(tmp_path))


def test_many_shards_need_few_open_files(tmp_path, monkeypatch):
    write_data(tmp_path, {"ann": ("train", [[1]] * 12)})
    monkeypatch.setattr(datasets, "OPEN_FILES", 3)
    ann = open_data(tracks_of(tmp_path))["ann"]
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert [ann.read(i, frame) for i in (*range(12), 0, 5)] == [*range(12), 0, 5]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


@pytest.mark.parametrize("flip", [True, False])
def test_corrupt_records_are_named_once_counted_and_replaced_by_the_next(tmp_path, caplog, flip):
    """Bits flip in the file, which its checksums tell, or before, which only decoding tells."""
    write_data(tmp_path, {"ann": ("train", [[3], [4]])})
    ann = open_data(tracks_of(tmp_path))["ann"]
    bad = [4, 5]

    def parse(data: bytes) -> int:
        return frame(data if flip or decode(data, image=False).frame not in bad else data[:50])

    if flip:
        for number in bad:
            damage(tmp_path / SHARDS / "ann-00001.arrayrecord", number - 3)
    found = [None] * 7

    def read(index: int) -> None:
        found[index] = ann.read(index, parse)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0, 1, 2, 3, 6, 6, 6]
    assert sorted(ann.corrupt) == bad
    assert len(caplog.messages) == 2
    for number, message in zip(bad, sorted(caplog.messages), strict=True):
        assert message.startswith(
            f"Record {number} of persona ann, in shards/ann-00001.arrayrecord, is corrupt"
        )
    assert ann.read(5, parse) == 6 and len(caplog.messages) == 2


def test_a_shard_that_disappears_is_named_and_not_taken_for_corrupt(tmp_path, monkeypatch, caplog):
    """Though it was there when the data set was opened. An open file stays readable."""
    monkeypatch.setattr(datasets, "OPEN_FILES", 1)
    write_data(tmp_path, {"ann": ("train", [[2], [3]])})
    ann = open_data(tracks_of(tmp_path))["ann"]
    (tmp_path / SHARDS / "ann-00001.arrayrecord").unlink()
    assert [ann.read(i, frame) for i in (0, 1)] == [0, 1]
    with pytest.raises(InputError, match=r"ann-00001.arrayrecord has disappeared; put it back"):
        ann.read(2, frame)
    assert not ann.corrupt and not caplog.messages


def test_a_manifest_has_a_digest(tmp_path):
    write_data(tmp_path / "one", {"ann": ("train", [[2]])})
    write_data(tmp_path / "two", {"ann": ("train", [[2], [1]])})
    one, two = (manifest_digest(tracks_of(tmp_path / name)) for name in ("one", "two"))
    assert one != two and len(one) == len(two) == 16
    (tmp_path / "two").rename(tmp_path / "moved")
    assert manifest_digest(tracks_of(tmp_path / "moved")) == two
    with pytest.raises(InputError, match=r"two/manifest.json cannot be read"):
        manifest_digest(tracks_of(tmp_path / "two"))
    assert manifest_digest(ml_collections.ConfigDict({"kind": "puppets"})) == ""


def test_what_follows_the_end_is_the_beginning_and_nothing_intact_is_an_error():
    ann = PersonaSource("ann", [record(0), record(1), b"", b"no record"], [4], SIZE)
    assert ann.read(2, frame) == 0
    with pytest.raises(InputError, match="All 2 records of persona ann are corrupt"):
        ann.part(2, 4).read(0, frame)


def test_newer_records_are_no_corrupt_ones():
    newer = msgpack.packb(msgpack.unpackb(record(0)) | {"version": 99})
    with pytest.raises(InputError, match="schema version 99"):
        PersonaSource("ann", [newer, record(1)], [2], SIZE).read(0, frame)


def test_parts_cut_tracks_and_stay_within_themselves():
    ann = PersonaSource("ann", [record(i) for i in range(9)], [2, 3, 4], SIZE)
    part = ann.part(1, 7)
    assert (len(part), part.tracks) == (6, [1, 3, 2])
    assert [part.read(i, frame) for i in range(6)] == [1, 2, 3, 4, 5, 6]
    inner = part.part(1, 4)
    assert inner.tracks == [3] and inner.read(0, frame) == 2
    # The replacement of a part's last record is its first one, and the whole knows of it.
    ann.records[6] = b""
    assert part.read(5, frame) == 1 and list(ann.corrupt) == [6]


def test_split_holds_out_the_end():
    ann = PersonaSource("ann", [record(i) for i in range(10)], [3, 7], SIZE)
    train, validation = split(ann, 0.2)
    assert [train.read(i, frame) for i in range(len(train))] == list(range(8))
    assert [validation.read(i, frame) for i in range(len(validation))] == [8, 9]
    assert (train.tracks, validation.tracks) == ([3, 5], [2])
    assert list(map(len, split(ann.part(0, 3), 0.0))) == [2, 1]
    assert list(map(len, split(ann.part(0, 3), 1.0))) == [1, 2]
    with pytest.raises(InputError, match="Persona ann has only one picture"):
        split(ann.part(0, 1), 0.5)


def test_puppets():
    config = {"kind": "puppets", "world_seed": 0, "personas": 2, "frames": 3, "resolution": SIZE}
    opened = open_data(ml_collections.ConfigDict(config))
    assert list(opened) == ["puppet000", "puppet001"]
    face = opened["puppet001"].read(2, decode)
    assert (face.persona, face.frame, face.image.shape) == ("puppet001", 2, (24, 24, 3))
    assert opened["puppet001"].records[2] == puppet_source(0, 1, 0, 3, SIZE).records[2]
    with pytest.raises(InputError, match="'movies'; choose tracks, tfds, puppets or blank"):
        open_data(ml_collections.ConfigDict({"kind": "movies"}))


def test_blank_pictures_are_records_like_all_others():
    config = {"kind": "blank", "personas": 2, "frames": 3, "resolution": SIZE}
    opened = open_data(ml_collections.ConfigDict(config))
    assert {name: len(source) for name, source in opened.items()} == {"blank000": 3, "blank001": 3}
    face = opened["blank001"].read(2, decode)
    assert face.image.shape == (24, 24, 3) and face.image.std() < 1
    assert (face.landmarks > 0).all() and (face.landmarks < 24).all()
    assert len(face.sound) == 640 and not face.sound.any()
    assert manifest_digest(ml_collections.ConfigDict(config)) == ""


def test_puppets_are_exact():
    """The crop, the points in it, the pose and the sound are those of the rendered frame."""
    resolution, rate = 64, 8.0
    records = PuppetRecords(PuppetTrack.of(0, 1, 2, frames=9, rate=rate), resolution)
    faces = [decode(data) for data in records]
    assert [(face.clip, face.track, face.frame, face.time) for face in faces] == [
        ("puppet001/02", 0, index, index / rate) for index in range(9)
    ]
    for index, face in enumerate(faces):
        frame = render_frame(0, 1, 2, index, face.frame_size[0], rate)
        assert face.pose == pytest.approx(
            [frame.performance.yaw, frame.performance.pitch, frame.performance.roll]
        )
        for points, rendered in ((face.landmarks, frame.landmarks), (face.irises, frame.irises)):
            assert points == pytest.approx(
                align.transform_points(rendered, face.transform), abs=1e-3
            )
        assert (
            np.abs(face.image.astype(int) - align.crop(frame.image, face.transform, 96)).mean() < 4
        )
        assert face.sharpness > 0
    assert np.array_equal(
        np.concatenate([face.sound for face in faces]), track_audio(0, 1, 2, 9, rate)
    )
    assert {len(face.sound) for face in faces} == {2000}


@pytest.mark.parametrize("alignment", align.ALIGNMENTS)
def test_every_alignment_cuts_from_a_record_what_it_cuts_from_the_frame(alignment):
    resolution = 64
    record = PuppetRecords(PuppetTrack.of(0, 1, 2, 9, RATE), resolution).render(8)
    frame = render_frame(0, 1, 2, 8, record.frame_size[0])
    transform = align.alignment_transform(frame.landmarks, resolution, alignment)
    direct = align.crop(frame.image, transform, resolution)
    assert np.abs(aligned_crop(record, resolution, alignment).astype(int) - direct).mean() < 4


def test_puppets_are_rendered_once(monkeypatch):
    rendered = []
    monkeypatch.setattr(source, "truth", lambda *args: rendered.append(args) or truth(*args))
    records = puppet_source(0, 0, 0, frames=2, resolution=SIZE).records
    assert records[1] == records[1] and len(rendered) == 1
