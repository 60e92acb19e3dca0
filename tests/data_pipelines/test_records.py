"""Tests of the record schema, the shards and the manifest."""

import dataclasses
import hashlib
import json
import os
import resource
import signal

import msgpack
import numpy as np
import pytest

from data_pipelines import records
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import (
    MANIFEST,
    SHARDS,
    Counts,
    FaceRecord,
    Manifest,
    Persona,
    ShardWriter,
)
from faceswap_jax.errors import InputError
from tests.support import stored


def make_record(frame: int = 7, side: int = 48, bits: int = 8) -> FaceRecord:
    """A record for crops of 32 px, of smooth colours, so that JPEG changes little."""
    y, x = np.mgrid[:side, :side] * (255 / side)
    image = np.stack([x, y, 255 - x], -1)
    return FaceRecord(
        image=image.astype(np.uint8) if bits == 8 else (257 * image).astype(np.uint16),
        landmarks=np.arange(136, dtype=np.float32).reshape(68, 2) / 7,
        irises=np.array([[10.5, 13], [np.nan, np.nan]], np.float32),
        polygon=np.array([[4, 4], [28, 5], [16, 30]], np.float32),
        transform=np.array([[0.5, 0.1, -3], [-0.1, 0.5, 1 / 3]]),
        pose=np.array([12.5, -3, 0.25], np.float32),
        frame_size=(480, 512),
        time=0.28,
        frame=frame,
        confidence=0.75,
        sharpness=123.5,
        persona="zoë",
        clip="zoë/a b.mp4",
        track=2,
        sound=np.array([0, 1, -32768], np.int16),
    )


def write_dataset(directory, frames=(3, 4)):
    (directory / SHARDS).mkdir()
    with ShardWriter(directory / SHARDS / "zoë-00000.arrayrecord") as writer:
        for frame in frames:
            writer.write(records.encode(make_record(frame)), frame // 4)
    counts = Counts(len(frames) + 1, len(frames), {"no face": 1})
    settings = Settings(resolution=32).to_json()
    manifest = Manifest(
        settings, {"zoë": Persona("train", [writer.shard], counts)}, {"b.mp4": "b.mp4 is empty"}
    )
    manifest.save(directory)
    return manifest


@pytest.mark.parametrize(
    ("codec", "bits", "error"), [("jpeg", 8, 4), ("png", 8, 0), ("png16", 16, 0)]
)
def test_round_trip_is_exact_but_for_jpeg(codec, bits, error):
    record = make_record(bits=bits)
    back = records.decode(records.encode(record, codec))
    for field in dataclasses.fields(FaceRecord):
        stored, wanted = getattr(back, field.name), getattr(record, field.name)
        if field.name == "image":
            assert stored.shape == wanted.shape and stored.dtype == wanted.dtype
            assert np.abs(stored.astype(int) - wanted).max() <= error  # also tells RGB from BGR
        elif isinstance(wanted, np.ndarray):
            assert stored.dtype == wanted.dtype
            np.testing.assert_array_equal(stored, wanted)
        else:
            assert stored == wanted and type(stored) is type(wanted)


def test_jpeg_quality_is_a_choice():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    record = dataclasses.replace(make_record(), image=noise)
    coarse, fine = (records.encode(record, "jpeg", quality) for quality in (30, 100))
    error = [
        np.abs(records.decode(data).image.astype(int) - noise).mean() for data in (coarse, fine)
    ]
    assert len(coarse) < len(fine) / 2 and error[1] < 2 < 10 < error[0]


@pytest.mark.parametrize(("codec", "bits"), [("jpeg", 16), ("png", 16), ("png16", 8)])
def test_bits_that_do_not_fit_the_codec(codec, bits):
    with pytest.raises(ValueError, match="cannot be stored as"):
        records.encode(make_record(bits=bits), codec)


def test_all_but_the_picture():
    record = records.decode(records.encode(make_record()), image=False)
    assert (
        record.image.shape == (0, 0, 3) and record.landmarks.shape == (68, 2) and record.track == 2
    )


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
        "version": 3,
        "image": msgpack.unpackb(data)["image"],
        "landmarks": record.landmarks.astype("<f4").tobytes(),
        "irises": bytes.fromhex("00002841000050410000c07f0000c07f"),
        "polygon": bytes.fromhex("00008040000080400000e0410000a040000080410000f041"),
        "transform": record.transform.astype("<f8").tobytes(),
        "pose": bytes.fromhex("00004841000040c00000803e"),
        "frame_size": [480, 512],
        "time": 0.28,
        "frame": 7,
        "confidence": 0.75,
        "sharpness": 123.5,
        "persona": "zoë",
        "clip": "zoë/a b.mp4",
        "track": 2,
        "sound": bytes.fromhex("000001000080"),
    }
    assert golden["image"][:3] == b"\xff\xd8\xff"
    assert data == msgpack.packb(golden)


@pytest.mark.parametrize(
    ("version", "problem"), [(4, "version 4, newer than 3"), (2, "version 2, older than 3")]
)
def test_record_of_another_version_is_refused(version, problem):
    fields = msgpack.unpackb(records.encode(make_record()))
    with pytest.raises(InputError, match=f"schema {problem}"):
        records.decode(msgpack.packb({**fields, "version": version, "depth": b""}))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[1:],
        lambda data: msgpack.packb([1, 2]),
        lambda data: msgpack.packb({**msgpack.unpackb(data), "image": b"no picture"}),
        lambda data: msgpack.packb({**msgpack.unpackb(data), "image": b""}),
        lambda data: msgpack.packb({**msgpack.unpackb(data), "landmarks": b"1234"}),
        lambda data: msgpack.packb({**msgpack.unpackb(data), "pose": None}),
        lambda data: msgpack.packb({**msgpack.unpackb(data), "unknown": 1}),
        lambda data: msgpack.packb({k: v for k, v in msgpack.unpackb(data).items() if k != "time"}),
    ],
)
def test_damaged_record(change):
    with pytest.raises(ValueError, match=r".+"):
        records.decode(change(records.encode(make_record())))


def test_data_set_reads_back(tmp_path):
    manifest = write_dataset(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert manifest.resolution == 32 and manifest.personas["zoë"].tracks == [1, 1]
    (shard,) = manifest.personas["zoë"].shards
    assert shard.records == 2
    assert shard.sha256 == hashlib.sha256((tmp_path / SHARDS / shard.file).read_bytes()).hexdigest()
    assert [record.frame for record in stored.records(tmp_path, "zoë")] == [3, 4]


def test_equal_records_make_equal_shards(tmp_path):
    for name in "ab":
        with ShardWriter(tmp_path / name) as writer:
            for frame in range(20):
                writer.write(records.encode(make_record(frame)), 0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shard_appears_only_when_complete(tmp_path):
    path = tmp_path / "a.arrayrecord"
    with pytest.raises(KeyboardInterrupt), ShardWriter(path) as writer:
        writer.write(b"1", 0)
        assert not path.exists()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(tmp_path):
    with (
        pytest.raises(InputError, match=r"gone/a cannot be written .*run the same command again"),
        ShardWriter(tmp_path / "gone" / "a"),
    ):
        pass
    with pytest.raises(InputError, match=r"gone/a\.json cannot be written"):
        records.write_json(tmp_path / "gone" / "a.json", {})


def test_an_interrupted_write_keeps_the_old_file(tmp_path):
    records.write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        records.write_json(tmp_path / "a.json", [2, object()])
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_missing_folder_and_manifest(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        Manifest.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no settings\.json; make one"):
        Manifest.load(tmp_path)
    write_dataset(tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(
        InputError, match="is not finished; run the `faceswap prepare` that began it again"
    ):
        Manifest.load(tmp_path)


def test_a_file_is_no_data_folder(tmp_path):
    clip = tmp_path / "a.mp4"
    clip.touch()
    with pytest.raises(InputError, match=r"a\.mp4 is a file; .*`faceswap prepare`"):
        Manifest.load(clip)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 3, "personas": {"a": {}}}', '{"schema": 3']
)
def test_damaged_manifest(tmp_path, text):
    write_dataset(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"resolution": "x"}'])
def test_damaged_settings(tmp_path, text):
    write_dataset(tmp_path)
    (tmp_path / records.SETTINGS).write_text(text)
    with pytest.raises(InputError, match=r"settings\.json is damaged"):
        Manifest.load(tmp_path)


def test_newer_manifest_is_refused(tmp_path):
    write_dataset(tmp_path)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 4, "personas": "moved"}))
    with pytest.raises(InputError, match=r"manifest\.json has schema version 4, newer than 3"):
        Manifest.load(tmp_path)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk: ArrayRecord meets the same refusal of write()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        noise = np.random.default_rng(0).bytes(5_000)
        with (
            pytest.raises(InputError, match="cannot be written"),
            ShardWriter(tmp_path / "a") as writer,
        ):
            for _ in range(1000):
                writer.write(noise, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not os.listdir(tmp_path)
