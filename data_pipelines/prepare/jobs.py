"""The unit of preparation: a few clips of one persona become one shard, once.

A job's outcome depends on nothing but its clips and the settings, so any process can do it at any time, and doing it
again gives the same bytes. Its report appears beside the shard after the shard, and only then is the job done.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from pebble import ProcessExpired

from data_pipelines.clips import Clip, FollowedClip, RenderedClip
from data_pipelines.prepare.found import Found, Identity, pick
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tracks import Dropped, Each, face_tracks, in_turn
from data_pipelines.records import (
    SCHEMA_VERSION,
    SHARDS,
    Counts,
    FaceRecord,
    Shard,
    ShardWriter,
    compressed,
    pack,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces import landmarks, mediapipe, people
from faceswap_jax.faces.embedding import can_compare
from faceswap_jax.faces.face import Face, Image, Landmarker
from faceswap_jax.faces.picture import is_picture, is_silent
from faceswap_jax.faces.sequence import files_of
from faceswap_jax.files import write_json

logger = logging.getLogger(__name__)

PICTURES_PER_SHARD = 512
"""A picture is less work than a clip."""

LARGE = 100_000
"""Bytes of clips that may last more than a minute; less is hardly worth dividing."""


@dataclasses.dataclass(frozen=True)
class Job:
    """The clips of one shard.

    Attributes:
        persona: whose they are.
        number: of the shard among the persona's.
        clips: of one or several files.
        wanted: who is kept of several people; None: who fills most of each clip.
    """

    persona: str
    number: int
    clips: tuple[Clip, ...]
    wanted: Identity | None = None

    @property
    def name(self) -> str:
        """Of the shard and its report, without suffix."""
        return f"{self.persona}-{self.number:05}"

    def shard_in(self, directory: Path) -> Path:
        """The shard's file in a data set."""
        return directory / SHARDS / f"{self.name}.arrayrecord"


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a job.

    Attributes:
        key: fingerprint of the clips and settings that it was done for.
        shard: the file; None if no face was kept.
        clips: counts of each clip, by name.
        unreadable: what is wrong with each clip whose file is at fault, by name.
        found: what each clip that could be read shows, by name; in memory without images.
    """

    key: str
    shard: Shard | None
    clips: dict[str, Counts]
    unreadable: dict[str, str]
    found: dict[str, Found]

    def is_of(self, wanted: Identity | None) -> bool:
        """Whether the job would keep the same people if this person is wanted."""
        return all(found.kept == pick(found.people, wanted) for found in self.found.values())


def report_of(shard: Path) -> Path:
    """The file beside a shard that holds the report of its job."""
    return shard.with_suffix(".json")


def plan(clips: Iterable[Clip], clips_per_shard: int) -> list[Job]:
    """Divides clips, which come persona by persona, into jobs."""
    jobs: list[Job] = []
    for persona, of_persona in itertools.groupby(clips, lambda clip: clip.persona):
        groups: list[list[Clip]] = []
        work = math.inf
        for clip in of_persona:
            if work >= clips_per_shard:
                groups.append([])
                work = 0.0
            groups[-1].append(clip)
            work += clips_per_shard / PICTURES_PER_SHARD if is_picture(clip.path) else 1
        jobs += [Job(persona, number, tuple(group)) for number, group in enumerate(groups)]
    return jobs


def size(job: Job) -> int:
    """Bytes of the files behind a job: roughly, how much work it is."""
    stats = [_stat(clip.path) for clip in job.clips]
    return sum(stat[0] for stat in stats if stat)


def may_be_long(job: Job) -> bool:
    """Whether several processes may have something to do at once."""
    return size(job) >= LARGE and not any(is_silent(clip.path) for clip in job.clips)


def key(job: Job, settings: Settings) -> str:
    """Fingerprint of all that decides about the shard but who is wanted.

    That is the schema, the settings, of each clip its name, part, size and age, and whether its people are told apart.
    """
    clips = [
        [*_identity(clip), "people"] if tells_apart(clip, settings) else _identity(clip)
        for clip in job.clips
    ]
    deciding = json.dumps([SCHEMA_VERSION, settings.to_json(), job.persona, clips])
    return hashlib.sha256(deciding.encode()).hexdigest()


def may_show_several(clip: Clip, settings: Settings) -> bool:
    """Whether a clip may show several people, of whom one is to be kept."""
    return (
        settings.faces == "largest"
        and not isinstance(clip, FollowedClip | RenderedClip)
        and not landmarks.find_sidecar(clip.path)
    )


def tells_apart(clip: Clip, settings: Settings) -> bool:
    """Whether the people of a clip are told apart here."""
    return may_show_several(clip, settings) and can_compare()


def _identity(clip: Clip) -> list:
    """What tells a clip from every other, and from itself after a change."""
    if isinstance(clip, RenderedClip):
        return clip.fingerprint
    sidecar = landmarks.sidecar_path(clip.path)
    return [clip.name, clip.start, clip.end, _stat(clip.path), _stat(sidecar)]


def _stat(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change of a file, the sums of a sequence; None if it is not there."""
    try:
        stats = [os.stat(file) for file in files_of(path)]
    except (OSError, InputError):
        return None
    return sum(stat.st_size for stat in stats), sum(stat.st_mtime_ns for stat in stats)


def load_report(job: Job, directory: Path, settings: Settings) -> Report | None:
    """The report of a job that was done before with the clips as they are now; None if it is still to be done."""
    try:
        content = json.loads(report_of(job.shard_in(directory)).read_text(encoding="utf-8"))
        shard = content["shard"] and Shard(**content["shard"])
        clips = {name: Counts(**counts) for name, counts in content["clips"].items()}
        # Data sets that were made before people were told apart say nothing of them.
        found = {
            name: Found.from_json(clip).without_images()
            for name, clip in content.get("found", {}).items()
        }
        report = Report(content["key"], shard, clips, content["unreadable"], found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if shard is not None and not job.shard_in(directory).is_file():
        return None
    if report.key != key(job, settings):
        return None
    return report


def run(
    job: Job,
    directory: Path,
    settings: Settings,
    *,
    hopeless: Mapping[str, str],
    looked: Callable[[int, int], None],
    each: Each = in_turn,
) -> Report:
    """Writes the shard of a job, then its report.

    A clip that cannot be read is named in the report and the others go on. Clips without any face make no shard, only
    a report.

    Args:
        job: what to do.
        directory: of the data set; its folder of shards exists.
        settings: of the data set.
        hopeless: clips to leave out, by name, and why.
        looked: called with the number of the clip within the job and 0 when it begins, and 1 for each frame of it.
        each: reads the parts of a clip, see `face_tracks`.

    Raises:
        InputError: the shard cannot be written, or there is nothing to find faces with.
    """
    # Taken before the clips are read: if they change meanwhile, the job counts as not done.
    fingerprint = key(job, settings)
    clips = {}
    found: dict[str, Found] = {}
    unreadable = dict(hopeless)
    with ShardWriter(job.shard_in(directory)) as writer:
        for number, clip in enumerate(job.clips):
            if clip.name in hopeless:
                continue
            looked(number, 0)
            told = partial(looked, number, 1)
            store = partial(compressed, codec=settings.image, quality=settings.quality)
            faces = outcomes(clip, settings, unreadable, told, job.wanted, store, each)
            clips[clip.name] = _write(writer, clip, faces, found)

    shard = writer.shard
    if not shard.records:
        job.shard_in(directory).unlink()
        shard = None
    report = Report(fingerprint, shard, clips, unreadable, found)
    write_json(report_of(job.shard_in(directory)), dataclasses.asdict(report))
    # The images of a million clips would not fit into memory.
    in_numbers = {name: clip.without_images() for name, clip in found.items()}
    return dataclasses.replace(report, found=in_numbers)


def _write(
    writer: ShardWriter,
    clip: Clip,
    faces: Iterable[Found | FaceRecord | Dropped],
    found: dict[str, Found],
) -> Counts:
    """Writes the records of one clip, notes whom it shows, and counts what became of its faces."""
    kept = 0
    dropped: Counter[str] = Counter()
    for face in faces:
        if isinstance(face, FaceRecord):
            writer.write(pack(face), (face.clip, face.track))
            kept += 1
        elif isinstance(face, Found):
            found[clip.name] = face
        else:
            dropped[face.value] += 1
    return Counts(kept + dropped.total(), kept, dict(sorted(dropped.items())))


def outcomes(
    clip: Clip,
    settings: Settings,
    unreadable: dict[str, str],
    looked: Callable[[], None] = lambda: None,
    wanted: Identity | None = None,
    finish: Callable[[FaceRecord], FaceRecord] = lambda record: record,
    each: Each = in_turn,
) -> Iterator[Found | FaceRecord | Dropped]:
    """Yields what `face_tracks` does, or the records of rendered frames.

    What is wrong with a clip ends it and is noted; it stops no other.

    Args:
        clip: what to read.
        settings: of the data set.
        unreadable: gets what is wrong with the clip, by its name.
        looked: called for each frame that is looked at.
        wanted: who is kept of several people; None: who fills most of the clip.
        finish: what becomes of a record where it is cut.
        each: reads the parts of the clip, see `face_tracks`.

    Raises:
        InputError: there is nothing to find faces with.
        ProcessExpired: a process that was to read a part has ended.
        BrokenProcessPool: or one that had nothing to do yet.
        CancelledError: or it was stopped.
    """
    if isinstance(clip, RenderedClip):
        for record in clip.records(settings.resolution):
            looked()
            yield finish(record)
        return
    apart = tells_apart(clip, settings)
    if apart:
        people.embedder()
    sidecar = landmarks.find_sidecar(clip.path)
    if sidecar is None:
        _mediapipe(settings.beta)
    try:
        finder = Finder(sidecar, settings.beta, looked)
        yield from face_tracks(clip, settings, finder, apart, wanted, finish, each)
    except InputError as error:
        unreadable[clip.name] = " ".join(str(error).splitlines())
    except (ProcessExpired, BrokenProcessPool, CancelledError):
        raise
    # One clip in a million must not stop the others, whatever a decoder does with it.
    except Exception as error:
        logger.exception("%s", clip.path)
        unreadable[clip.name] = (
            f"{clip.path} cannot be processed ({type(error).__name__}: {error}); export it again."
        )


@dataclasses.dataclass(frozen=True)
class Finder:
    """Finds the faces of a clip, in any process.

    Attributes:
        sidecar: file of its landmarks; None: MediaPipe finds them.
        beta: see `Settings`.
        looked: called for each frame that is looked at.
    """

    sidecar: Path | None
    beta: float
    looked: Callable[[], None]

    def __post_init__(self) -> None:
        """Raises InputError if there is nothing to find faces with, or the landmarks make no sense."""
        self._landmarker()

    def __call__(self, image: Image, index: int) -> list[Face]:
        """Faces in the frame number `index`, the largest first."""
        self.looked()
        return self._landmarker()(image, index)

    def close(self) -> None:
        """Frees nothing: the networks serve all clips of a process."""

    def _landmarker(self) -> Landmarker:
        if self.sidecar is None:
            return _mediapipe(self.beta)
        return _sidecar(self.sidecar, os.stat(self.sidecar).st_mtime_ns)


@functools.cache
def _mediapipe(beta: float) -> mediapipe.MediaPipeLandmarker:
    """The one of this process, for all its clips: it takes longer to load than a short clip to read."""
    return mediapipe.MediaPipeLandmarker(beta)


@functools.lru_cache(maxsize=2)
def _sidecar(path: Path, changed: int) -> landmarks.SidecarLandmarker:
    """The landmarks in a file, as it is since a time."""
    return landmarks.SidecarLandmarker(path)
