"""The verb `synthesize`: everybody's identity in every picture of attributes, as a data set to train on.

It is one as `faceswap prepare` writes it, where people are personas, with a table beside the manifest, see `table.py`.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from data_pipelines.clips import Clip, RenderedClip
from data_pipelines.prepare import jobs, quality
from data_pipelines.prepare.layouts import find_clips
from data_pipelines.prepare.prepare import carry_out
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tracks import face_record
from data_pipelines.records import FaceRecord, Manifest
from faceswap_jax.artifacts.models import load
from faceswap_jax.errors import InputError
from faceswap_jax.faces import blend
from faceswap_jax.faces.embedding import Embedding
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.audience import tell, watched
from faceswap_jax.inference.batching import BATCH, Performance, generate
from faceswap_jax.inference.clip import blend_side, put_face
from faceswap_jax.inference.generator import Generator, Identity, Who
from faceswap_jax.inference.who import faces_of, shown_in
from faceswap_jax.roles.identities import IDENTITY, Lender, by_sface, check_lends_identities
from faceswap_jax.roles.table import is_written, means, write_table

PER_SHARD = 256
"""Records of a file, about: what a kill can cost."""

Attributes = Sequence[FaceRecord]
"""Faces that are changed, clip after clip; `clip` names each one's picture."""


def synthesize(
    workdir: Path,
    identities: Sequence[Path],
    attributes: Sequence[Path],
    output: Path,
    method: str = blend.DEFAULT_METHOD,
    resolution: int | None = None,
    step: int | None = None,
) -> Manifest:
    """Writes a data set of each person with the pose, the expression, the light and all else of each picture.

    Started again after an interruption, it goes on.

    Args:
        workdir: folder of a trained run, or of an artifact, that can be lent identities.
        identities: clips, pictures, or folders of them, as `prepare` takes them: who is lent.
        attributes: likewise: what is changed. Of a clip some frames are; what shows no face is told and left out.
        output: folder of the data set.
        method: of blending, see `faces.blend.blend`.
        resolution: side in pixels of the crops that the records are made for; the run's if not given.
        step: which checkpoint to use, by its number of steps; the newest if not given.

    Raises:
        InputError: any of these cannot be used; somebody's pictures, or all that is to be changed, show no face; or the
            output holds something else.
    """
    blend.check_method(method)
    lending, changed = _clips(identities), _clips(attributes)
    generator = load(workdir, step)
    check_lends_identities(generator, workdir)
    settings = Settings(resolution=resolution or generator.resolution, sound=False)

    lent = _read_lenders(generator, lending)
    given = _read_attributes(changed, settings.resolution)
    plan = jobs.plan(_made(generator, lent, given, method), clips_per_shard=1)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    manifest = carry_out(plan, output, settings, 1, console)

    # A run that was killed here writes the table when it is started again.
    if not is_written(output):
        write_table(output, generator, lent, given)
    tell(means(output))
    return manifest


# What is given


def _clips(inputs: Sequence[Path]) -> list[Clip]:
    """The clips and pictures of some inputs.

    Raises:
        InputError: an input is not understood, or a table of parts.
    """
    for path in inputs:
        if path.suffix.lower() == ".csv":
            raise InputError(f"{path} is a table; give clips, pictures, or folders of them.")
    return find_clips(inputs).clips


def _read_lenders(generator: Generator, clips: Sequence[Clip]) -> dict[str, Lender]:
    """Everybody who lends, by name.

    Raises:
        InputError: a file cannot be read or shows no face, or SFace is not installed.
    """
    crops: dict[str, list[np.ndarray]] = {}
    embeddings: dict[str, list[Embedding]] = {}
    for clip in watched(clips, "identities", len(clips)):
        faces = faces_of([clip.path])
        crops.setdefault(clip.persona, []).extend(shown_in(faces, generator).pictures)
        embeddings.setdefault(clip.persona, []).extend(
            by_sface(frame.image, face.landmarks) for frame, face in faces
        )
    lenders = {}
    for name, pictures in crops.items():
        identity = generator.identity(Who(pictures=pictures))
        lenders[name] = Lender(identity, np.mean(embeddings[name], axis=0))
    return lenders


def _read_attributes(clips: Sequence[Clip], resolution: int) -> list[FaceRecord]:
    """The faces that are to be changed, cut as `prepare` cuts them.

    Raises:
        InputError: there are none.
    """
    records = []
    for clip in watched(clips, "attributes", len(clips)):
        try:
            faces = faces_of([clip.path])
        except InputError as error:
            # One of a thousand pictures stops no other.
            tell(f"left out: {error}")
            continue
        for frame, face in faces:
            place = {"time": frame.time, "frame": frame.index, "track": 0}
            named = {"persona": clip.persona, "clip": clip.name}
            records.append(face_record(frame.image, face, resolution, **place, **named))
    if not records:
        raise InputError("No picture or clip of --attributes shows a face; give others.")
    return records


# What is made of it


@dataclasses.dataclass(frozen=True, slots=True)
class MadeClip(RenderedClip):
    """Some faces with somebody's identity: no file, they are made when they are wanted.

    Attributes:
        generator: makes them.
        identity: that they are lent.
        attributes: the faces that are changed.
        digest: of these.
        method: of blending.
    """

    _: dataclasses.KW_ONLY
    generator: Generator
    identity: Identity
    attributes: Attributes
    digest: str
    method: str

    @property
    def fingerprint(self) -> list[str]:
        """What tells the frames from all others."""
        vector = np.asarray(self.identity[IDENTITY])
        lent = hashlib.sha256(vector.tobytes()).hexdigest()
        return [self.name, self.generator.version, lent, self.digest, self.method]

    def records(self, resolution: int) -> Iterator[FaceRecord]:
        """The face record of each frame."""
        for start in range(0, len(self.attributes), BATCH):
            group = self.attributes[start : start + BATCH]
            frames = [Frame(record.image, record.time, record.frame) for record in group]
            faces = [Face(record.landmarks, record.confidence, record.irises) for record in group]
            images = generate(self.generator, self.identity, Performance(frames, faces))
            for record, image in zip(group, images, strict=True):
                yield self._changed(record, image)

    def _changed(self, record: FaceRecord, image: np.ndarray) -> FaceRecord:
        """A record with a generated face in it, whose place and landmarks stay."""
        alignment, resolution = self.generator.alignment, self.generator.resolution
        side = blend_side([record.landmarks], alignment, resolution)
        whole = put_face(
            record.image,
            image,
            record.landmarks,
            alignment,
            side,
            self.method,
            self.generator.outline,
        )
        sharpness = quality.sharpness(quality.analysis_crop(whole, record.landmarks))
        return dataclasses.replace(
            record,
            image=whole,
            persona=self.persona,
            # A clip is one person's.
            clip=f"{self.persona}/{record.clip}",
            sharpness=sharpness,
        )


def _made(
    generator: Generator, lent: Mapping[str, Lender], given: Attributes, method: str
) -> Iterator[MadeClip]:
    """Everybody's faces, a clip for each shard."""
    parts = [(part, _digest(part)) for part in _parts(given)]
    for name, lender in lent.items():
        for number, (part, digest) in enumerate(parts):
            path = Path(name, f"{number:05}")
            yield MadeClip(
                path,
                name,
                str(path),
                frames=len(part),
                generator=generator,
                identity=lender.identity,
                attributes=part,
                digest=digest,
                method=method,
            )


def _parts(given: Attributes) -> Iterator[list[FaceRecord]]:
    """The faces in parts; those of a clip stay together, for they are a track."""
    part: list[FaceRecord] = []
    for _, of_clip in itertools.groupby(given, lambda record: record.clip):
        part += of_clip
        if len(part) >= PER_SHARD:
            yield part
            part = []
    if part:
        yield part


def _digest(part: Attributes) -> str:
    """What tells faces that are changed from others."""
    digest = hashlib.sha256()
    for record in part:
        digest.update(f"{record.clip} {record.frame} {record.time}".encode())
        digest.update(record.image.tobytes() + record.landmarks.tobytes())
    return digest.hexdigest()
