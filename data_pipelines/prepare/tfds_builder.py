"""Makes face tracks of data sets such as VoxCeleb on a cluster: a TFDS builder run by Apache Beam.

    python -m data_pipelines.prepare.tfds_builder INPUT... --output DIR [flags] [-- options of Beam]

The flags are those of `faceswap prepare`, but for --person. The command makes DIR/face_tracks/3.0.0, a
TFDS data set with the splits train, validation and test, divided by identity. Its features are the
keys of a record (`records.py`), and its records are those that `faceswap prepare` makes of each clip:
of several people who fills most of it is kept, whatever other clips show.
`tfds_records.py` reads it. Neither making nor reading needs TensorFlow; reading needs no Beam.

A split is in the order of persona, clip, track and time: with disable_shuffling, TFDS sorts by the
keys given here, which count clips and their records. So a persona is a run of records, and a track
is a run within it. metadata.json says where these runs begin and end, what was dropped, and which
clips cannot be read:

    schema, settings    of the records
    personas            by name: split, first (number of its first record in the split), tracks
                        (number of records of each), seen, kept, and dropped (faces and faceless
                        frames, by reason)
    unreadable          what is wrong with each clip whose file is at fault, by name

The folder appears under its name when it is complete; until then its name begins with `incomplete.`.
"""

import itertools
import json
import logging
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from absl import flags

from data_pipelines.clips import Clip
from data_pipelines.prepare import draws, jobs, layouts
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tfds_records import NAME, VERSION, example_of, features_of
from data_pipelines.prepare.tracks import Dropped
from data_pipelines.records import SCHEMA_VERSION, FaceRecord
from faceswap_jax.errors import InputError
from faceswap_jax.files import write_json

REPORTS = "reports"
"""Output of the pipeline, and its file, with what became of each clip."""

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""Runs the pipeline in this process. Beam's own default first tries to download another runner."""


USAGE = "python -m data_pipelines.prepare.tfds_builder INPUT... --output DIR [flags] [-- options of Beam]"


class FaceTracks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The TFDS data set.

    Args:
        inputs: see `layouts.find_clips`; every machine must see them under these paths.
        settings: what to keep and how to store it.
        data_dir: folder for data sets; every machine must see it under this path.
    """

    name = NAME
    VERSION = tfds.core.Version(VERSION)

    # Where checksums of downloads would lie. There are none, and finding the place takes a package
    # that TFDS does not ask for.
    code_path = None

    def __init__(self, inputs: Sequence[Path], settings: Settings, data_dir: Path):
        self._inputs = inputs
        self._settings = settings
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Aligned faces, track after track.",
            features=features_of(self._settings),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(
                schema=SCHEMA_VERSION, settings=self._settings.to_json()
            ),
        )

    def _split_generators(self, dl_manager: Any, pipeline: Any) -> dict[str, Any]:
        return self._generate_examples(pipeline)

    def _generate_examples(self, pipeline: Any) -> dict[str, Any]:
        """Returns the examples of each split, as PCollections."""
        # An extra that not everybody has.
        import apache_beam as beam

        splits = sorted({split for _, split, _ in _plan(self._inputs, self._settings)})
        outcomes = (
            pipeline
            # A worker lists the clips again: a million of them do not fit into the description of
            # a pipeline.
            | "Inputs" >> beam.Create([self._inputs])
            | "Clips" >> beam.FlatMap(_plan, self._settings)
            | "Spread" >> beam.Reshuffle()
            | "FaceTracks" >> beam.FlatMap(_read, self._settings).with_outputs(REPORTS, *splits)
        )
        # No BeamMetadataDict: it writes into a temporary folder, and every machine has its own.
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
        """Says nothing: nothing is downloaded."""

    _log_download_done = _log_download_bytes


def build(
    inputs: Sequence[Path], output: Path, settings: Settings, options: Sequence[str] = ()
) -> FaceTracks:
    """Makes the data set and returns its builder.

    Args:
        inputs: see `layouts.find_clips`; every machine must see them under these paths.
        output: folder to make the data set in; every machine must see it under this path.
        settings: what to keep and how to store it.
        options: of Beam, as on the command line; without --runner the pipeline runs in this process.

    Raises:
        InputError: an input is not understood, a split shows no face that can be used, the data set
            exists, or Beam is not installed.
    """
    beam_options = _beam_options(options)
    builder = FaceTracks([path.absolute() for path in inputs], settings, output.absolute())
    if builder.data_path.exists():
        raise InputError(
            f"{builder.data_path} exists already; remove it, or name another folder for the data set."
        )

    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(beam_options=beam_options, try_download_gcs=False)
    try:
        # There are no downloads, but TFDS makes a folder for them.
        with tempfile.TemporaryDirectory() as downloads:
            builder.download_and_prepare(download_dir=downloads, download_config=config)
    except Exception as error:  # each runner has its own kind
        if empty := re.search(r"generated examples is 0 for split (\w+)", str(error)):
            raise InputError(
                f"No clip of the split {empty[1]} shows a face that can be used; give other clips, or "
                "another --splits."
            ) from error
        raise
    return builder


def _beam_options(options: Sequence[str]) -> Any:
    """Returns Beam's options, with the runner of this process unless they name another."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ModuleNotFoundError as error:
        raise InputError(
            "The pipeline needs Apache Beam, which is not installed: pip install "
            "'faceswap-jax[beam]'."
        ) from error
    parsed = PipelineOptions(list(options))
    standard = parsed.view_as(StandardOptions)
    standard.runner = standard.runner or LOCAL_RUNNER
    return parsed


def _plan(inputs: Sequence[Path], settings: Settings) -> Iterator[tuple[Clip, str, int]]:
    """Yields each clip, its split, and its number within the split, persona by persona."""
    found = layouts.find_clips(inputs).clips
    clips = draws.draw_videos(found, settings.max_videos, settings.seed)
    personas = {clip.persona for clip in clips}
    splits = draws.identity_splits(personas, settings.splits, settings.seed)
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
    tracks: list[int] = []  # of each record
    dropped = Counter()
    unreadable: dict[str, str] = {}
    for outcome in jobs.outcomes(clip, settings, unreadable):
        if isinstance(outcome, Dropped):
            dropped[outcome.value] += 1
            tfds.beam.inc_counter(f"dropped: {outcome.value}", namespace="faces")
        elif isinstance(outcome, FaceRecord):
            # Sorts by clip, then by the record's place in it.
            key = number << 32 | len(tracks)
            yield TaggedOutput(split, (key, example_of(outcome, settings)))
            tracks.append(outcome.track)
            tfds.beam.inc_counter("kept", namespace="faces")
    if unreadable:
        tfds.beam.inc_counter("unreadable", namespace="clips")

    report = _Report(
        split=split,
        number=number,
        persona=clip.persona,
        clip=clip.name,
        tracks=[len(list(run)) for _, run in itertools.groupby(tracks)],
        dropped=dict(dropped),
        problem=unreadable.get(clip.name),
    )
    yield TaggedOutput(REPORTS, report)


def _write_reports(reports: Iterable[_Report], path: Path) -> None:
    """Writes what the metadata are to say about personas and clips."""
    personas: dict[str, dict[str, Any]] = {}
    unreadable = {}
    written = Counter()  # records of each split so far
    for report in sorted(reports):
        persona = personas.setdefault(
            report.persona,
            {
                "split": report.split,
                "first": written[report.split],
                "tracks": [],
                "seen": 0,
                "kept": 0,
                "dropped": Counter(),
            },
        )
        kept = sum(report.tracks)
        persona["tracks"] += report.tracks
        persona["seen"] += kept + sum(report.dropped.values())
        persona["kept"] += kept
        persona["dropped"].update(report.dropped)
        written[report.split] += kept
        if report.problem:
            unreadable[report.clip] = report.problem

    usable = {name: persona for name, persona in personas.items() if persona["kept"]}
    write_json(path, {"personas": usable, "unreadable": unreadable})


def main(arguments: Sequence[str]) -> int:
    """Runs the command of the module's docstring; returns the exit code, 2 if the input was at fault."""
    # Beam warns that it lacks Google's clients, which few need.
    logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())

    end = arguments.index("--") if "--" in arguments else len(arguments)
    values = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "Show this help.", values)
    flags.DEFINE_string(
        "output", None, "Folder to make the data set in; every machine sees it.", values
    )
    Settings.define_flags(values)
    try:
        _, *inputs = values(["", *arguments[:end]])
        if values.help:
            print(f"usage: {USAGE}\n\n{values.get_help()}")
            return 0
        if not inputs or not values.output:
            raise InputError(f"inputs and --output must be given; usage: {USAGE}")
        if "://" in values.output:
            raise InputError(
                f"--output={values.output} cannot be written: ArrayRecord needs a file system; name "
                "a mounted folder."
            )
        paths = [Path(path) for path in inputs]
        settings = Settings.from_flags(values)
        builder = build(paths, Path(values.output), settings, arguments[end + 1 :])
    except (InputError, flags.Error) as error:
        print("tfds_builder:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    _print_summary(builder)
    return 0


def _print_summary(builder: FaceTracks) -> None:
    metadata = builder.info.metadata
    for split, stored in builder.info.splits.items():
        personas = sum(persona["split"] == split for persona in metadata["personas"].values())
        print(
            f"{split}: {stored.num_examples} records of {personas} persona(s) in "
            f"{stored.num_shards} shard(s)"
        )
    if metadata["unreadable"]:
        print(f"{len(metadata['unreadable'])} clip(s) cannot be read; metadata.json names them")
    print(builder.data_path)


if __name__ == "__main__":
    # A worker finds functions by the name of their module; there `__main__` is another program.
    from data_pipelines.prepare import tfds_builder

    sys.exit(tfds_builder.main(sys.argv[1:]))
