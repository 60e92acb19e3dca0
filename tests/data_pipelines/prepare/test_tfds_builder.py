"""Tests of the TFDS data set: made by Beam in this process from tiny puppet clips, read back, compared and broken."""

import contextlib
import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import ml_collections
import numpy as np
import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions

from data_pipelines.batches.addresses import iterate
from data_pipelines.batches.roles import Personas
from data_pipelines.datasets import open_data
from data_pipelines.prepare import draws, jobs, layouts
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tfds_builder import LOCAL_RUNNER, FaceTracks, build, main
from data_pipelines.prepare.tfds_records import (
    TfdsRecords,
    example_of,
    features_of,
    open_tfds,
    record_of,
)
from data_pipelines.prepare.tracks import Dropped, face_tracks
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import SCHEMA_VERSION, SPLITS, FaceRecord, decode, encode
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from faceswap_jax.faces import mediapipe
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from tests.support.numbered import made

pytestmark = pytest.mark.filterwarnings(
    "ignore:label.. is deprecated:DeprecationWarning"
)  # TFDS with protobuf 6

FRAMES, SIZE = 6, 96
SETTINGS = Settings(resolution=32, min_size=0, splits=(50, 25, 25))
FOLDER = f"face_tracks/{SCHEMA_VERSION}.0.0"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A clip of six frames, all with a face."""
    path = tmp_path_factory.mktemp("clip") / "ann.mp4"
    write_clip(path, world_seed=0, persona=0, track=0, frames=FRAMES, size=SIZE)
    return path


def copy_clip(clip: Path, to: Path, frames=range(FRAMES)) -> None:
    """A copy whose landmarks know the face in some frames only."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(clip, to)
    write_landmarks(
        sidecar_path(to), {frame: render_frame(0, 0, 0, frame, SIZE).landmarks for frame in frames}
    )


@pytest.fixture(scope="module")
def people(clip) -> Path:
    """Four personas; some clips have two tracks, no face at all, or cannot be read."""
    root = clip.parent / "people"
    for name in ("ann", "bob", "cleo", "dän"):
        copy_clip(clip, root / name / "1.mp4")
        copy_clip(clip, root / name / "2.mp4", (0, 1, 4, 5))
    copy_clip(clip, root / "ann" / "0.mp4", ())
    copy_clip(clip, root / "bob" / "0.mp4")
    (root / "bob" / "0.mp4").write_text("text")
    return root


class Counted(FaceTracks, skip_registration=True):
    """Remembers the counters of the pipeline."""

    name = FaceTracks.name

    def _process_pipeline_result(self, pipeline_result):
        super()._process_pipeline_result(pipeline_result)
        metrics = pipeline_result.metrics().query()["counters"]
        self.counters = {(m.key.metric.namespace, m.key.metric.name): m.committed for m in metrics}


@pytest.fixture(scope="module")
def built(people) -> Counted:
    """The data set, with enough shards that tracks and personas lie across several."""
    builder = Counted([people], SETTINGS, people.parent / "data")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            beam_runner=LOCAL_RUNNER, beam_options=PipelineOptions([]), num_shards=3
        )
    )
    return builder


@pytest.fixture(scope="module")
def expected(people) -> dict[str, list[FaceRecord | Dropped]]:
    """What `face_tracks` makes of the faces and faceless frames of each persona."""
    outcomes = {}
    for part in layouts.find_clips([people]).clips:
        finder = SidecarLandmarker(sidecar_path(part.path))
        with contextlib.suppress(InputError):
            _, *faces = face_tracks(part, SETTINGS, finder)
            outcomes.setdefault(part.persona, []).extend(faces)
    return outcomes


def records(outcomes) -> list[FaceRecord]:
    return [outcome for outcome in outcomes if isinstance(outcome, FaceRecord)]


def stored(outcomes) -> list[bytes]:
    return [encode(record, SETTINGS.image, SETTINGS.quality) for record in records(outcomes)]


def open_all(directory: Path) -> dict[str, dict[str, TfdsRecords]]:
    return {split: open_tfds(directory, split) for split in SPLITS}


def test_the_records_are_those_of_face_tracks(built, people, expected):
    splits = open_all(people.parent / "data")
    assert built.info.splits["train"].num_shards > 1

    read = {}
    split_of = {}
    for split, sources in splits.items():
        for name, source in sources.items():
            read[name] = list(source)
            split_of[name] = split
    assert read == {name: stored(outcomes) for name, outcomes in expected.items()}
    assert split_of == draws.identity_splits(expected, SETTINGS.splits, SETTINGS.seed)
    assert [len(sources) for sources in splits.values()] == [2, 1, 1]
    assert "tensorflow" not in sys.modules


def test_a_source_knows_its_tracks_and_travels_to_other_processes(built, people):
    for source in open_tfds(people.parent / "data", "train").values():
        parts = [decode(data) for data in source]
        runs = itertools.groupby(parts, key=lambda record: (record.clip, record.track))
        assert source.tracks == [len(list(run)) for _, run in runs]
        assert len(source.tracks) > 2
        assert source.resolution == SETTINGS.resolution
        # Grain's worker processes
        assert pickle.loads(pickle.dumps(source))[1] == source[1]


def test_metadata_name_what_was_dropped(built, people, expected):
    metadata = json.loads((built.data_path / "metadata.json").read_text())
    assert metadata["schema"] == SCHEMA_VERSION and metadata["settings"] == SETTINGS.to_json()
    assert list(metadata["unreadable"]) == ["bob/0.mp4"]
    assert str(people / "bob" / "0.mp4") in metadata["unreadable"]["bob/0.mp4"]
    dropped = {
        name: Counter(outcome.value for outcome in outcomes if isinstance(outcome, Dropped))
        for name, outcomes in expected.items()
    }
    assert dropped["ann"]["no face"] == FRAMES + 2
    assert metadata["personas"].keys() == expected.keys()
    for name, persona in metadata["personas"].items():
        assert persona["dropped"] == dropped[name]
        assert persona["kept"] == len(records(expected[name]))
        assert persona["seen"] == len(expected[name])

    everything = list(itertools.chain.from_iterable(expected.values()))
    faceless = sum(counts["no face"] for counts in dropped.values())
    assert built.counters["faces", "kept"] == len(records(everything))
    assert built.counters["faces", "dropped: no face"] == faceless
    assert built.counters["clips", "unreadable"] == 1


def test_tfds_reads_it_without_this_project(built):
    """Also what no record of ours needs: the decoded pictures."""
    examples = tfds.builder_from_directory(built.data_path).as_data_source("validation")
    ((name, source),) = open_tfds(built.data_path.parent.parent, "validation").items()
    assert len(examples) == len(source)
    for example, data in zip(examples, source, strict=True):
        record = decode(data)
        assert example.keys() == {"version", *vars(record)}
        assert example["persona"].decode() == name and example["time"] == record.time
        for key in ("image", "landmarks", "irises", "polygon", "transform", "pose", "sound"):
            np.testing.assert_array_equal(example[key], getattr(record, key))


def test_batches(built, expected):
    """The reader takes it, with threads, as it takes the same bytes from a list."""
    path = built.data_path.parent.parent
    sources = open_data(
        ml_collections.ConfigDict({"kind": "tfds", "path": str(path), "split": "train"})
    )
    lists = [
        PersonaSource(name, stored(expected[name]), sources[name].tracks, 32) for name in sources
    ]
    ours = made(list(sources.values()), Personas(), fields=("image", "mask", "landmarks", "record"))
    theirs = made(lists, Personas(), fields=("image", "mask", "landmarks", "record"))
    with iterate(ours, 0, 6, threads=3) as batches:
        for step, batch in enumerate(batches):
            assert batch["image"].shape == (2, 4, 16, 16, 3)
            for key, array in theirs[step].items():
                np.testing.assert_array_equal(batch[key], array)


@pytest.mark.parametrize("codec", ["jpeg", "png", "png16"])
def test_any_record_round_trips(codec):
    rng = np.random.default_rng(0)
    settings = Settings(resolution=16, image=codec)
    record = FaceRecord(
        image=rng.integers(0, 255, (16, 16, 3)).astype(np.uint16 if codec == "png16" else np.uint8),
        landmarks=rng.random((68, 2), np.float32),
        irises=np.full((2, 2), np.nan, np.float32),
        polygon=rng.random((9, 2), np.float32),
        transform=rng.random((2, 3)),
        pose=rng.random(3, np.float32),
        frame_size=(480, 640),
        time=1 / 3,
        frame=2**40,
        confidence=0.1,
        sharpness=float("nan"),
        persona="Zoë",
        clip="Zoë/a#t=1,2",
        track=3,
        sound=rng.integers(-9, 9, 0 if codec == "png" else 7, np.int16),
    )
    example = features_of(settings).serialize_example(example_of(record, settings))
    assert record_of(example) == encode(record, codec, settings.quality)


def test_a_damaged_record_is_told():
    for data in (b"garbage", b""):
        with pytest.raises(ValueError, match="the record is damaged"):
            TfdsRecords([data], 0, [1], 32)[0]


def test_damage_is_found_when_opened(built, tmp_path):
    path = shutil.copytree(built.data_path.parent.parent, tmp_path / "data")
    folder = path / FOLDER
    with pytest.raises(InputError, match=r"has no split 'trian'; it has .*train"):
        open_tfds(path, "trian")
    with pytest.raises(InputError, match=r"no_such/face_tracks/.* does not exist"):
        open_tfds(tmp_path / "no_such", "train")
    metadata = json.loads((folder / "metadata.json").read_text())
    next(iter(metadata["personas"].values()))["tracks"].append(1)
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="is damaged"):
        [open_tfds(path, split) for split in SPLITS]
    for file in (
        "metadata.json",
        "dataset_info.json",
        *(shard.name for shard in folder.glob("*train*-00001-*")),
    ):
        whole = (built.data_path / file).read_bytes()
        for content in (whole[: len(whole) // 2], None):
            shutil.copytree(built.data_path, folder, dirs_exist_ok=True)
            (folder / file).write_bytes(content) if content else (folder / file).unlink()
            with pytest.raises(InputError, match="is damaged"):
                open_tfds(path, "train")


def test_nothing_is_visible_before_the_end(people, tmp_path, monkeypatch):
    """A fault that is no clip's stops the job, and nothing is left of it."""
    clips = shutil.copytree(people / "ann", tmp_path / "ann")
    sidecar_path(clips / "2.mp4").unlink()
    seen = []

    def no_mediapipe(beta):
        seen.extend(path.name for path in (tmp_path / "data" / "face_tracks").iterdir())
        raise InputError("MediaPipe is not installed")

    jobs._mediapipe.cache_clear()
    monkeypatch.setattr(mediapipe, "MediaPipeLandmarker", no_mediapipe)
    with pytest.raises(Exception, match="MediaPipe is not installed"):
        build([clips], tmp_path / "data", Settings(resolution=16))
    assert seen and all(name.startswith("incomplete.") for name in seen)
    assert not list((tmp_path / "data" / "face_tracks").iterdir())


@pytest.mark.slow
def test_a_killed_job_leaves_nothing_visible(people, tmp_path):
    """What it leaves does not stand in the way of the next job, whose records are read without Beam."""
    command = [
        sys.executable,
        "-m",
        "data_pipelines.prepare.tfds_builder",
        people / "ann",
        f"--output={tmp_path}",
        "--min_size=0",
        "--resolution=16",
    ]
    with subprocess.Popen(command, start_new_session=True) as job:
        while not list(tmp_path.glob("face_tracks/incomplete.*")):
            assert job.poll() is None
            time.sleep(0.01)
        os.killpg(job.pid, signal.SIGKILL)
    assert not (tmp_path / FOLDER).exists()
    subprocess.run(command, check=True)
    reader = f"""
import pathlib, sys
from data_pipelines.prepare.tfds_records import open_tfds
(source,) = open_tfds(pathlib.Path({str(tmp_path)!r}), "train").values()
assert len(list(source)) > 0
assert not {{"tensorflow", "apache_beam"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", reader], check=True)


def test_command_line(people, tmp_path, capsys):
    arguments = [str(people / "ann"), f"--output={tmp_path}", "--resolution=16", "--min_size=0"]
    options = ["--", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    assert main([*arguments, *options]) == 0
    output = capsys.readouterr()
    assert "train: " in output.out and " of 1 persona(s) in 1 shard(s)" in output.out
    assert str(tmp_path / FOLDER) in output.out and not output.err
    assert list(open_tfds(tmp_path, "train")) == ["ann"]

    for changed, problem in (
        (arguments, "exists already"),
        ([*arguments[:1], "--output=gs://bucket"], "needs a file system"),
        (arguments[1:], "inputs and --output must be given"),
        ([*arguments, "--resolution=17"], "--resolution=17 cannot be used"),
        ([*arguments, "--resolutoin=16"], "resolutoin"),
    ):
        assert main(changed) == 2
        error = capsys.readouterr().err
        assert problem in error and error.startswith("tfds_builder: ") and error.count("\n") == 1


def test_a_split_without_a_face(people, tmp_path):
    clip = tmp_path / "faceless.mp4"
    copy_clip(people / "ann" / "0.mp4", clip, ())
    with pytest.raises(InputError, match="No clip of the split train shows a face"):
        build([clip], tmp_path / "data", Settings(resolution=16))
