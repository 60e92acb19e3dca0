"""Tests of `verify`: every way to break a data set is found, and repaired without touching what is good."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.verify import verify
from data_pipelines.records import MANIFEST, SHARDS, Counts, Manifest, Persona, ShardWriter, encode
from faceswap_jax.cli import main
from faceswap_jax.errors import InputError
from faceswap_jax.files import aside_of
from tests.data_pipelines.test_records import make_record
from tests.support import stored

RECORDS = 6


def write_shard(directory: Path, persona: str, number: int, **change) -> tuple:
    with ShardWriter(directory / SHARDS / f"{persona}-{number:05}.arrayrecord") as writer:
        for frame in range(RECORDS):
            # Noise, so that a flipped byte hits the picture.
            noise = np.random.default_rng(frame).integers(0, 256, (48, 48, 3), np.uint8)
            clip = f"{persona}/{number}.mp4"
            record = dataclasses.replace(
                make_record(frame),
                image=noise,
                persona=persona,
                clip=clip,
                track=frame // 3,
                **change,
            )
            writer.write(encode(record), (clip, frame // 3))
    return writer.shard


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Two personas of two shards."""
    directory = tmp_path_factory.mktemp("data")
    (directory / SHARDS).mkdir()
    personas = {
        name: Persona(
            split, [write_shard(directory, name, n) for n in (0, 1)], Counts(13, 12, {"blurred": 1})
        )
        for name, split in (("ann", "train"), ("bob", "test"))
    }
    settings = Settings(resolution=32, splits=(50, 0, 50))
    Manifest(settings.to_json(), personas, {}).save(directory)
    return directory


@pytest.fixture
def data(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def shard(data: Path, name: str = "ann-00000") -> Path:
    return data / SHARDS / f"{name}.arrayrecord"


def edit_manifest(data: Path, edit) -> None:
    content = json.loads((data / MANIFEST).read_text())
    edit(content["personas"])
    (data / MANIFEST).write_text(json.dumps(content))


def test_a_sound_data_set(data, capsys):
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert verify(data) and verify(data, repair=True)
    assert before == {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert "24 intact records of 2 personas in 4 shards, no fault" in capsys.readouterr().err


def break_record(data):
    path = shard(data)
    content = bytearray(path.read_bytes())
    at = content.index(decode_image(stored.encoded(data, "ann")[2]))
    content[at + 50] ^= 0xFF
    path.write_bytes(content)


def decode_image(data: bytes) -> bytes:
    """Some bytes of the stored picture."""
    start = data.index(b"\xff\xd8\xff")
    return data[start + 700 : start + 800]


def cut_in_the_middle(data):
    path = shard(data)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_one_flipped_byte(data, capsys):
    break_record(data)
    assert not verify(data)
    text = capsys.readouterr().err
    assert "ann-00000.arrayrecord, record 2: " in text and "record 1:" not in text
    others = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (data / SHARDS).iterdir()
        if "ann-00000" not in path.name
    }
    assert verify(data, repair=True)
    assert all((path.read_bytes(), path.stat().st_mtime_ns) == old for path, old in others.items())
    ann = Manifest.load(data).personas["ann"]
    assert ann.counts == Counts(13, 11, {"blurred": 1, "broken": 1}) and ann.tracks == [2, 3, 3, 3]
    assert [record.frame for record in stored.records(data, "ann")[:5]] == [0, 1, 3, 4, 5]
    assert verify(data) and not list((data / SHARDS).glob(".*"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (cut_in_the_middle, "ann-00000.arrayrecord is damaged"),
        (
            lambda data: shard(data).unlink(),
            "ann-00000.arrayrecord cannot be read (No such file or directory)",
        ),
        (lambda data: shard(data).write_bytes(b""), "ann-00000.arrayrecord is damaged"),
        (
            lambda data: shutil.copy(shard(data, "bob-00000"), shard(data)),
            "record 0: it shows 'bob', not 'ann'",
        ),
    ],
)
def test_a_lost_shard(data, capsys, damage, complaint):
    damage(data)
    assert not verify(data)
    assert complaint in capsys.readouterr().err
    assert verify(data, repair=True)
    ann = Manifest.load(data).personas["ann"]
    assert [s.file for s in ann.shards] == ["ann-00001.arrayrecord"] and ann.counts.dropped == {
        "blurred": 1,
        "broken": 6,
    }
    assert not shard(data).exists()


def test_records_that_do_not_belong(data, capsys):
    """They decode and have the right check sum, yet no reader could use them."""
    new = write_shard(data, "ann", 0, pose=np.float32([np.nan, 0, 0]))
    edit_manifest(data, lambda p: p["ann"]["shards"].__setitem__(0, vars(new)))
    assert not verify(data)
    assert capsys.readouterr().err.count("its pose is not finite") == RECORDS


def test_pictures_of_another_size(data, capsys):
    content = json.loads((data / "settings.json").read_text())
    (data / "settings.json").write_text(json.dumps({**content, "resolution": 64}))
    assert not verify(data)
    assert "the picture is uint8 (48, 48, 3), not uint8 96 px" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"Nothing in .* can be used"):
        verify(data, repair=True)


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        (
            lambda p: p["ann"]["shards"][0].update(records=5),
            "is another file than the one that manifest.json describes",
        ),
        (
            lambda p: p["ann"]["shards"][0].update(sha256="0"),
            "is another file than the one that manifest.json describes",
        ),
        (
            lambda p: p["ann"]["shards"][0].update(tracks=[6]),
            "is another file than the one that manifest.json describes",
        ),
        (
            lambda p: p["ann"]["counts"].update(kept=99),
            "persona ann has 12 intact records, but manifest.json says 99",
        ),
        (
            lambda p: p["ann"]["counts"].update(seen=99),
            "persona ann has 12 intact records, but manifest.json says 12 of 99",
        ),
        (
            lambda p: p["ann"].update(split="trian"),
            "persona ann is in the split 'trian', which is none of train",
        ),
    ],
)
def test_a_manifest_that_lies(data, capsys, lie, complaint):
    truth = Manifest.load(data)
    before = {path: path.read_bytes() for path in (data / SHARDS).iterdir()}
    edit_manifest(data, lie)
    assert not verify(data)
    assert complaint in capsys.readouterr().err
    assert verify(data, repair=True)
    assert before == {path: path.read_bytes() for path in (data / SHARDS).iterdir()}
    repaired = Manifest.load(data).personas["ann"]
    assert repaired.shards == truth.personas["ann"].shards and repaired.counts.kept == 12


def test_splits_must_be_disjoint(data, capsys):
    new = write_shard(data, "ann", 0)
    with ShardWriter(shard(data)) as writer:
        writer.write(encode(dataclasses.replace(make_record(), persona="ann", clip="bob/0.mp4")), 0)
    new = writer.shard
    edit_manifest(
        data,
        lambda p: (
            p["ann"]["shards"].__setitem__(0, vars(new)),
            p["ann"]["counts"].update(seen=8, kept=7),
        ),
    )
    assert not verify(data)
    assert "clip bob/0.mp4 is in the splits train and test" in capsys.readouterr().err


def test_a_shard_that_the_manifest_forgets(data, capsys):
    write_shard(data, "cleo", 0)
    assert not verify(data)
    assert "cleo-00000.arrayrecord is not in manifest.json" in capsys.readouterr().err


def test_a_shard_that_a_killed_process_left_unfinished_is_no_fault(data):
    aside_of(shard(data, "cleo-00000")).write_bytes(b"half")
    assert verify(data)


def test_another_schema(data):
    for file in (data / MANIFEST,):
        file.write_text(file.read_text().replace('"schema": 3', '"schema": 4'))
    with pytest.raises(InputError, match=r"schema version 4, newer than 3"):
        verify(data)


def test_exit_codes(data, tmp_path, capsys):
    assert main(["verify", str(data)]) == 0
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    cut_in_the_middle(data)
    assert main(["verify", str(data)]) == 1
    assert main(["verify", str(data), "--repair"]) == 0
    assert main(["verify"]) == 2
