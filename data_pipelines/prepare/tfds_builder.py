"""Face tracks of data sets such as VoxCeleb by a cluster: a TFDS builder whose pipeline Apache Beam runs.

    python -m data_pipelines.prepare.tfds_builder INPUT... --output DIR [flags of `faceswap prepare`] [-- options of Beam]

makes DIR/face_tracks/2.0.0, a TFDS data set with the splits train, validation and test, divided by identity. Its
features are the keys of a record (`records.py`), and its records are those that `faceswap prepare` makes of the same
clips. Neither making nor reading it needs TensorFlow, reading it no Beam.

A split is in the order of persona, clip, track and time: with disable_shuffling, TFDS sorts by the keys given here,
which count clips and their records. So a persona is a run of records, and a track a run within it. Where these runs
begin and end, what was dropped, and which clips cannot be read stands in metadata.json:

    schema, settings    of the records
    personas            by name: split, first (number of its first record in the split), tracks (number of records of
                        each), seen, kept, and dropped (faces and faceless frames, by reason)
    unreadable          what is wrong with each clip whose file is at fault, by name

The folder appears under its name when it is complete; until then its name begins with `incomplete.`.
"""

import dataclasses
import itertools
import json
import logging
import re
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grain
import msgpack
import numpy as np
import tensorflow_datasets as tfds
from absl import flags
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.clips import Clip
from data_pipelines.prepare import draws, jobs, layouts
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tracks import Dropped
from data_pipelines.records import ARRAYS, SCHEMA_VERSION, FaceRecord, decode, encode
from faceswap_jax.errors import InputError
from faceswap_jax.files import write_json

REPORTS = "reports"
"""Output of the pipeline, and its file, with what became of each clip."""

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""Runs the pipeline in this process. Beam's own default first tries to download another runner."""


class FaceTracks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The TFDS data set.

    Args:
        inputs: see `layouts.find_clips`; every machine must see them under these paths.
        settings: what to keep and how to store it.
        data_dir: folder for data sets; every machine must see it under this path.
    """

    VERSION = tfds.core.Version(f"{SCHEMA_VERSION}.0.0")
    # Where checksums of downloads would lie. There are none, and finding it takes a package that TFDS does not ask for.
    code_path = None

    def __init__(self, inputs: Sequence[Path], settings: Settings, data_dir: Path):
        self._inputs, self._settings = inputs, settings
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Aligned faces, track after track.",
            features=_features(self._settings),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(
                schema=SCHEMA_VERSION, settings=self._settings.to_json()
            ),
        )

    def _split_generators(self, dl_manager: Any, pipeline: Any) -> dict[str, Any]:
        return self._generate_examples(pipeline)

    def _generate_examples(self, pipeline: Any) -> dict[str, Any]:
        """The examples of each split, as PCollections."""
        import apache_beam as beam  # an extra, which reading does without

        splits = sorted({split for _, split, _ in _plan(self._inputs, self._settings)})
        outcomes = (
            pipeline
            # A worker lists the clips again: a million of them do not fit into the description of a pipeline.
            | "Inputs" >> beam.Create([self._inputs])
            | "Clips" >> beam.FlatMap(_plan, self._settings)
            | "Spread" >> beam.Reshuffle()
            | "FaceTracks" >> beam.FlatMap(_read, self._settings).with_outputs(REPORTS, *splits)
        )
        # No BeamMetadataDict: it writes into a temporary folder, which every machine has for itself.
        _ = (
            outcomes[REPORTS]
            | "Reports" >> beam.combiners.ToList()
            | "WriteReports" >> beam.Map(_write_reports, path=Path(self.data_path / REPORTS))
        )
        return {split: outcomes[split] for split in splits}

    def _process_pipeline_result(self, pipeline_result: Any) -> None:
        path = self.data_path / REPORTS
        self.info.metadata.update(json.loads(path.read_text(encoding="utf-8")))
        path.unlink()

    def _log_download_bytes(self) -> None:
        """Nothing is downloaded: nothing to tell."""

    _log_download_done = _log_download_bytes


def build(
    inputs: Sequence[Path], output: Path, settings: Settings, options: Sequence[str] = ()
) -> FaceTracks:
    """Makes the data set and returns its builder.

    Args:
        inputs: see `layouts.find_clips`; every machine of the cluster must see them under these paths.
        output: folder to make the data set in; every machine of the cluster must see it under this path.
        settings: what to keep and how to store it.
        options: of Beam, as on the command line; without --runner the pipeline runs in this process.

    Raises:
        InputError: an input is not understood, a split shows no face that can be used, the data set exists, or Beam is
            not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ModuleNotFoundError as error:
        raise InputError(
            "The pipeline needs Apache Beam, which is not installed: pip install 'faceswap-jax[beam]'."
        ) from error
    builder = FaceTracks([path.absolute() for path in inputs], settings, output.absolute())
    if builder.data_path.exists():
        raise InputError(
            f"{builder.data_path} exists already; remove it, or name another folder for the data set."
        )
    beam_options = PipelineOptions(list(options))
    standard = beam_options.view_as(StandardOptions)
    standard.runner = standard.runner or LOCAL_RUNNER
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(beam_options=beam_options, try_download_gcs=False)
    try:
        with (
            tempfile.TemporaryDirectory() as downloads
        ):  # there are none, but TFDS makes their folder
            builder.download_and_prepare(download_dir=downloads, download_config=config)
    except Exception as error:  # each runner has its own
        if empty := re.search(r"generated examples is 0 for split (\w+)", str(error)):
            raise InputError(
                f"No clip of the split {empty[1]} shows a face that can be used; give other clips, or another --splits."
            ) from error
        raise
    return builder


def _plan(inputs: Sequence[Path], settings: Settings) -> Iterator[tuple[Clip, str, int]]:
    """Yields each clip, its split, and its number within the split; the clips of a persona follow one another."""
    clips = draws.draw_videos(layouts.find_clips(inputs).clips, settings.max_videos, settings.seed)
    splits = draws.identity_splits({clip.persona for clip in clips}, settings.splits, settings.seed)
    numbers = Counter()
    for clip in clips:
        split = splits[clip.persona]
        yield clip, split, numbers[split]
        numbers[split] += 1


class _Report(NamedTuple):
    """What became of a clip.

    Attributes:
        split: of its persona.
        number: of the clip within the split.
        persona: whose faces these are.
        clip: its name.
        tracks: number of records of each track.
        dropped: number of faces and faceless frames without a record, by reason.
        problem: what is wrong with the file, if anything.
    """

    split: str
    number: int
    persona: str
    clip: str
    tracks: list[int]
    dropped: dict[str, int]
    problem: str | None


def _read(planned: tuple[Clip, str, int], settings: Settings) -> Iterator[Any]:
    """Yields the keyed examples of a planned clip to the output of its split, then its report."""
    from apache_beam.pvalue import TaggedOutput

    clip, split, number = planned
    tracks, dropped, unreadable = [], Counter(), {}
    for outcome in jobs.outcomes(clip, settings, unreadable):
        if isinstance(outcome, Dropped):
            dropped[outcome.value] += 1
            tfds.beam.inc_counter(f"dropped: {outcome.value}", namespace="faces")
        else:
            yield TaggedOutput(split, (number << 32 | len(tracks), _example(outcome, settings)))
            tracks.append(outcome.track)
            tfds.beam.inc_counter("kept", namespace="faces")
    if unreadable:
        tfds.beam.inc_counter("unreadable", namespace="clips")
    lengths = [len(list(run)) for _, run in itertools.groupby(tracks)]
    report = _Report(
        split, number, clip.persona, clip.name, lengths, dict(dropped), unreadable.get(clip.name)
    )
    yield TaggedOutput(REPORTS, report)


def _write_reports(reports: Iterable[_Report], path: Path) -> None:
    """Writes what the metadata are to say about personas and clips."""
    personas, unreadable, starts = {}, {}, Counter()
    for report in sorted(reports):
        if report.persona not in personas:
            empty = {
                "first": starts[report.split],
                "tracks": [],
                "seen": 0,
                "kept": 0,
                "dropped": Counter(),
            }
            personas[report.persona] = {"split": report.split, **empty}
        persona, kept = personas[report.persona], sum(report.tracks)
        persona["tracks"] += report.tracks
        persona["seen"] += kept + sum(report.dropped.values())
        persona["kept"] += kept
        persona["dropped"].update(report.dropped)
        starts[report.split] += kept
        if report.problem:
            unreadable[report.clip] = report.problem
    personas = {name: persona for name, persona in personas.items() if persona["kept"]}
    write_json(path, {"personas": personas, "unreadable": unreadable})


# Records as TFDS stores them. Arrays and floats are bytes: the numbers of a tf.Example have 32 bits.

_INTEGER = tfds.features.Tensor(shape=(), dtype=np.int64)
_INTEGERS = tfds.features.Tensor(shape=(2,), dtype=np.int64)
_FLOAT = tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")


def _bytes(feature: Any) -> bytes:
    return feature.bytes_list.value[0]


_SCALARS = {
    int: (_INTEGER, lambda feature: feature.int64_list.value[0]),
    tuple[int, int]: (_INTEGERS, lambda feature: list(feature.int64_list.value)),
    float: (_FLOAT, lambda feature: struct.unpack("<d", _bytes(feature))[0]),
    str: (tfds.features.Text(), lambda feature: _bytes(feature).decode()),
}
"""For each type of a field that is no array: how TFDS stores it, and how it is read."""

_KINDS = {
    field.name: _SCALARS.get(field.type, (None, _bytes)) for field in dataclasses.fields(FaceRecord)
}


def _features(settings: Settings) -> tfds.features.FeaturesDict:
    """The keys of a record."""
    image = tfds.features.Image(
        shape=(settings.resolution, settings.resolution, 3),
        dtype=np.uint16 if settings.image == "png16" else np.uint8,
        encoding_format="jpeg" if settings.image == "jpeg" else "png",
    )
    arrays = {
        name: tfds.features.Tensor(
            shape=tuple(None if side < 0 else side for side in shape),
            dtype=np.dtype(dtype),
            encoding="bytes",
        )
        for name, (dtype, shape) in ARRAYS.items()
    }
    scalars = {name: feature for name, (feature, _) in _KINDS.items() if feature}
    return tfds.features.FeaturesDict({"version": _INTEGER, "image": image, **arrays, **scalars})


def _example(record: FaceRecord, settings: Settings) -> dict[str, Any]:
    """A record as TFDS takes it, with the encoded picture."""
    data = encode(record, settings.image, settings.quality)
    return {
        "version": SCHEMA_VERSION,
        **vars(decode(data, image=False)),
        "image": msgpack.unpackb(data)["image"],
    }


def _record(example: bytes) -> bytes:
    """A serialized example as `records.encode` stores it."""
    features = tf_example_pb2.Example.FromString(example).features.feature
    version = {"version": features["version"].int64_list.value[0]}
    return msgpack.packb(
        version | {name: read(features[name]) for name, (_, read) in _KINDS.items()}
    )


class TfdsRecords:
    """The records of one persona, for random access from any thread.

    Attributes:
        tracks: number of records of each face track, in order.
        resolution: side of the pictures in pixels.
    """

    def __init__(
        self,
        examples: grain.sources.ArrayRecordDataSource,
        first: int,
        tracks: list[int],
        resolution: int,
    ):
        self._examples, self._first, self._length = examples, first, sum(tracks)
        self.tracks, self.resolution = tracks, resolution

    def __len__(self) -> int:
        """Number of records."""
        return self._length

    def __getitem__(self, index: int) -> bytes:
        """One record, as `records.encode` stores it.

        Raises:
            RuntimeError, ValueError: it is damaged.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"there is no record {index} among {self._length}")
        try:
            return _record(self._examples[self._first + index])
        except (DecodeError, IndexError, struct.error) as error:
            raise ValueError(f"the record is damaged ({error!r})") from error


def open_tfds(path: Path, split: str) -> dict[str, TfdsRecords]:
    """Opens the records of a split, by persona.

    Args:
        path: the folder given as --output.
        split: "train", "validation" or "test".

    Raises:
        InputError: there is no such data set or split, or it is damaged.
    """
    folder = path / FaceTracks.name / str(FaceTracks.VERSION)
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist; name a folder in which `python -m data_pipelines.prepare.tfds_builder` made a data set."
        )
    try:
        info = tfds.builder_from_directory(folder).info
        personas, resolution = info.metadata["personas"], info.metadata["settings"]["resolution"]
        if split not in info.splits:
            raise InputError(f"{folder} has no split {split!r}; it has {', '.join(info.splits)}.")
        examples = grain.sources.ArrayRecordDataSource(
            [str(file) for file in info.splits[split].filepaths]
        )
        sources = {
            name: TfdsRecords(examples, persona["first"], persona["tracks"], resolution)
            for name, persona in personas.items()
            if persona["split"] == split
        }
        if not len(examples) == info.splits[split].num_examples == sum(map(len, sources.values())):
            raise ValueError(
                f"the split {split} has {len(examples)} records, but not as many are listed"
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, json_format.Error) as error:
        raise InputError(f"{folder} is damaged ({error}); make the data set anew.") from error
    return sources


def main(arguments: Sequence[str]) -> int:
    """The command line in the module's docstring; returns the exit code: 0, or 2 if the input was at fault."""
    # Beam warns that it lacks Google's clients, which few need.
    logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())
    end = arguments.index("--") if "--" in arguments else len(arguments)
    values = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "Show this help.", values)
    flags.DEFINE_string(
        "output", None, "Folder to make the data set in; every machine sees it.", values
    )
    Settings.define_flags(values)
    usage = "python -m data_pipelines.prepare.tfds_builder INPUT... --output DIR [flags] [-- options of Beam]"
    try:
        _, *inputs = values(["", *arguments[:end]])
        if values.help:
            print(f"usage: {usage}\n\n{values.get_help()}")
            return 0
        if not inputs or not values.output:
            raise InputError(f"inputs and --output must be given; usage: {usage}")
        if "://" in values.output:
            raise InputError(
                f"--output={values.output} cannot be written: ArrayRecord needs a file system; name a mounted folder."
            )
        paths = [Path(path) for path in inputs]
        builder = build(
            paths, Path(values.output), Settings.from_flags(values), arguments[end + 1 :]
        )
    except (InputError, flags.Error) as error:
        print("tfds_builder:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    metadata = builder.info.metadata
    for split, stored in builder.info.splits.items():
        personas = sum(persona["split"] == split for persona in metadata["personas"].values())
        print(
            f"{split}: {stored.num_examples} records of {personas} persona(s) in {stored.num_shards} shard(s)"
        )
    if metadata["unreadable"]:
        print(f"{len(metadata['unreadable'])} clip(s) cannot be read; metadata.json names them")
    print(builder.data_path)
    return 0


if __name__ == "__main__":
    # A worker finds functions by the name of their module, and there `__main__` is another program.
    from data_pipelines.prepare import tfds_builder

    sys.exit(tfds_builder.main(sys.argv[1:]))
