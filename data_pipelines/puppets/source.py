"""Puppets as personas: face records that are rendered when they are wanted."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Int16

from data_pipelines.clips import RenderedClip
from data_pipelines.prepare import quality
from data_pipelines.prepare.tracks import face_record
from data_pipelines.puppets.renderer import MAX_SIZE
from data_pipelines.puppets.tracks import RATE, Cast, Take, truth
from data_pipelines.puppets.voice import track_audio
from data_pipelines.records import FaceRecord, encode
from data_pipelines.sources import PersonaSource
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.face import Face


@dataclasses.dataclass(frozen=True, slots=True)
class PuppetTrack(RenderedClip):
    """A track of a puppet in place of a clip: no file, its frames are rendered when they are wanted.

    Attributes:
        world_seed: of its world.
        puppet: number of the persona.
        performer: number of the persona whose performance and scene it shows, its own or another's.
        actor: number of the persona whose gaze, lids, brows and mouth it has, and whose voice.
        stylist: number of the persona whose glasses, hair, beard and skin tone it has, its own or another's.
        track: number of the performer's track.
        rate: of them per second.
    """

    _: dataclasses.KW_ONLY
    world_seed: int
    puppet: int
    performer: int
    actor: int
    stylist: int
    track: int
    rate: float

    @classmethod
    def of(
        cls,
        world_seed: int,
        puppet: int,
        track: int,
        frames: int,
        rate: float,
        performer: int | None = None,
        stylist: int | None = None,
        actor: int | None = None,
    ) -> Self:
        """The track with its usual names: puppet000, puppet000/00.

        It is the puppet's own one unless another performer, stylist or actor is told. Who performs also acts, unless
        somebody else does.
        """
        persona = f"puppet{puppet:03}"
        path = Path(persona, f"{track:02}")
        performer = puppet if performer is None else performer
        return cls(
            path,
            persona,
            str(path),
            frames=frames,
            world_seed=world_seed,
            puppet=puppet,
            performer=performer,
            actor=performer if actor is None else actor,
            stylist=puppet if stylist is None else stylist,
            track=track,
            rate=rate,
        )

    def records(self, resolution: int) -> Iterator[FaceRecord]:
        """The face record of each frame."""
        rendered = PuppetRecords(self, resolution)
        return map(rendered.render, range(self.frames))


def puppet_source(
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    resolution: int,
) -> PersonaSource:
    """One track of a puppet, at 25 frames/s, as a persona's source."""
    clip = PuppetTrack.of(world_seed, persona, track, frames, RATE)
    return PersonaSource(clip.persona, PuppetRecords(clip, resolution), [frames], resolution)


class PuppetRecords:
    """The frames of a puppet's track as records with exact landmarks, irises, pose and sound.

    Each is rendered when it is first asked for and kept encoded: a few kilobytes a picture, while rendering one takes
    many times as long as decoding it.
    """

    def __init__(self, clip: PuppetTrack, resolution: int):
        self._clip = clip
        self._resolution = resolution
        self._records: list[bytes | None] = [None] * clip.frames

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        """The record of one frame."""
        data = self._records[index]
        if data is None:
            data = self._records[index] = encode(self.render(index))
        return data

    def render(self, index: int) -> FaceRecord:
        """The record of one frame, rendered anew."""
        clip = self._clip
        # The crop covers about half of a puppet's frame.
        size = min(2 * self._resolution, MAX_SIZE)
        performance, acted = (
            Take(persona, clip.track, index) for persona in (clip.performer, clip.actor)
        )
        cast = Cast(clip.puppet, performance, performance, clip.stylist, acted)
        frame = truth(clip.world_seed, cast, size, clip.rate)
        record = face_record(
            frame.image,
            Face(frame.landmarks, 1.0, frame.irises),
            self._resolution,
            time=index / clip.rate,
            frame=index,
            persona=clip.persona,
            clip=clip.name,
            track=0,
        )

        # What the renderer knows exactly
        first = round(index * AUDIO_RATE / clip.rate)
        last = round((index + 1) * AUDIO_RATE / clip.rate)
        pose = frame.performance
        return dataclasses.replace(
            record,
            pose=np.array([pose.yaw, pose.pitch, pose.roll], np.float32),
            sharpness=quality.sharpness(quality.analysis_crop(frame.image, frame.landmarks)),
            sound=self._sound[first:last],
        )

    @functools.cached_property
    def _sound(self) -> Int16[np.ndarray, "n"]:
        clip = self._clip
        return track_audio(clip.world_seed, clip.actor, clip.track, clip.frames, clip.rate)
