"""Tests of the record schema, the shards and the manifest."""

import dataclasses
import hashlib
import json

import msgpack
import numpy as np
import pytest

from data_pipelines import records
from data_pipelines.records import Clip, FaceRecord, Manifest, Persona, ShardWriter
from faceswap_jax.errors import InputError


def make_record(frame: int = 7, resolution: int = 32) -> FaceRecord:
    """A record of smooth colours, so that JPEG changes little."""
    y, x = np.mgrid[:resolution, :resolution] * (255 / resolution)
    return FaceRecord(
        image=np.stack([x, y, 255 - x], -1).astype(np.uint8),
        landmarks=np.arange(136, dtype=np.float32).reshape(68, 2) / 7,
        polygon=np.array([[4, 4], [28, 5], [16, 30]], np.float32),
        transform=np.array([[0.5, 0.1, -3], [-0.1, 0.5, 1 / 3]]),
        frame_size=(480, 512),
        time=0.28,
        frame=frame,
        confidence=0.75,
        persona="zoë",
        clip="a b.mp4",
        track=2,
    )


def write_dataset(directory, frames=(3, 4)):
    with ShardWriter(directory / "zoë.arrayrecord") as writer:
        for frame in frames:
            writer.write(make_record(frame))
    counts = Clip("a b.mp4", len(frames) + 1, len(frames), {"no face": 1})
    manifest = Manifest(32, {"zoë": Persona([writer.shard], [counts])})
    manifest.save(directory)
    return manifest


def test_round_trip_is_exact_but_for_jpeg():
    record = make_record()
    back = records.decode(records.encode(record))
    for field in dataclasses.fields(FaceRecord):
        stored, wanted = getattr(back, field.name), getattr(record, field.name)
        if field.name == "image":
            assert stored.shape == wanted.shape and stored.dtype == np.uint8
            assert np.abs(stored.astype(int) - wanted).max() <= 4  # also tells RGB from BGR
        elif isinstance(wanted, np.ndarray):
            assert stored.dtype == wanted.dtype
            np.testing.assert_array_equal(stored, wanted)
        else:
            assert stored == wanted and type(stored) is type(wanted)


def test_colour_keeps_its_full_resolution():
    record = make_record()
    stripes = np.zeros_like(record.image)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200  # 4:2:0 would average these to one violet
    back = records.decode(records.encode(dataclasses.replace(record, image=stripes)))
    assert np.abs(back.image.astype(int) - stripes).mean() < 10


def test_golden_bytes():
    """The stored layout, spelled out; only the JPEG may differ from one encoder to another."""
    record = make_record()
    data = records.encode(record)
    golden = {
        "version": 1,
        "image": msgpack.unpackb(data)["image"],
        "landmarks": record.landmarks.astype("<f4").tobytes(),
        "polygon": bytes.fromhex("00008040000080400000e0410000a040000080410000f041"),
        "transform": record.transform.astype("<f8").tobytes(),
        "frame_size": [480, 512],
        "time": 0.28,
        "frame": 7,
        "confidence": 0.75,
        "persona": "zoë",
        "clip": "a b.mp4",
        "track": 2,
    }
    assert golden["image"][:3] == b"\xff\xd8\xff"
    assert data == msgpack.packb(golden)
    digest = hashlib.sha256(msgpack.packb({**golden, "image": b""})).hexdigest()
    assert digest == "56559c3728db9c5ee1c940902fcaeb6938bfa3d57c9d458c23502ff0dee729dd"


def test_newer_record_is_refused():
    fields = msgpack.unpackb(records.encode(make_record()))
    data = msgpack.packb({**fields, "version": 2, "depth": b""})
    with pytest.raises(InputError, match="schema version 2, newer than 1"):
        records.decode(data)


def test_data_set_reads_back(tmp_path):
    manifest = write_dataset(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    (shard,) = manifest.personas["zoë"].shards
    assert shard.records == 2
    assert shard.sha256 == hashlib.sha256((tmp_path / shard.file).read_bytes()).hexdigest()
    source = records.open_source(tmp_path, "zoë")
    assert [records.decode(source[i]).frame for i in range(len(source))] == [3, 4]


def test_shard_appears_only_when_complete(tmp_path):
    path = tmp_path / "a.arrayrecord"
    with pytest.raises(KeyboardInterrupt), ShardWriter(path) as writer:
        writer.write(make_record())
        assert not path.exists()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_missing_folder_and_manifest(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        records.open_source(tmp_path / "nowhere", "zoë")
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        records.open_source(tmp_path, "zoë")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1, "resolution": 32, "personas": {"a": {}}}'])
def test_damaged_manifest(tmp_path, text):
    (tmp_path / records.MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.load(tmp_path)


def test_newer_manifest_is_refused(tmp_path):
    write_dataset(tmp_path)
    path = tmp_path / records.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2, "personas": "moved"}))
    with pytest.raises(InputError, match=r"manifest\.json has schema version 2, newer than 1"):
        Manifest.load(tmp_path)


def test_manifest_that_disagrees_with_the_shards(tmp_path):
    manifest = write_dataset(tmp_path)
    (shard,) = manifest.personas["zoë"].shards
    with pytest.raises(InputError, match="no persona 'bob'; it has zoë"):
        records.open_source(tmp_path, "bob")

    persona = Persona([dataclasses.replace(shard, records=5)], [])
    Manifest(32, {"zoë": persona}).save(tmp_path)
    with pytest.raises(InputError, match=r"holds 2 records but manifest\.json says 5"):
        records.open_source(tmp_path, "zoë")

    path = tmp_path / shard.file
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged"):
        records.open_source(tmp_path, "zoë")

    path.unlink()
    with pytest.raises(InputError, match="is missing"):
        records.open_source(tmp_path, "zoë")
