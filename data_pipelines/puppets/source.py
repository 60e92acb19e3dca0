"""Puppets as personas: face records that are rendered when they are wanted."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int16

from data_pipelines import quality
from data_pipelines.clips import PuppetTrack
from data_pipelines.puppets.renderer import MAX_SIZE
from data_pipelines.puppets.sound import track_sound
from data_pipelines.puppets.tracks import RATE, truth
from data_pipelines.records import FaceRecord, encode
from data_pipelines.sources import PersonaSource
from data_pipelines.tracks import face_record
from faceswap_jax.faces.landmarks import Face
from faceswap_jax.faces.sound import RATE as SOUND_RATE


def puppet_source(world_seed: int, persona: int, track: int, frames: int, resolution: int) -> PersonaSource:
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
        # A puppet's face fills about half of its picture and all of the crop.
        size = min(2 * self._resolution, MAX_SIZE)
        frame = truth(clip.world_seed, clip.puppet, clip.puppet, clip.track, index, size, clip.rate)
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
        first, last = (round(count * SOUND_RATE / clip.rate) for count in (index, index + 1))
        pose = frame.performance
        return dataclasses.replace(
            record,
            pose=np.array([pose.yaw, pose.pitch, pose.roll], np.float32),
            sharpness=quality.sharpness(quality.analysis_crop(frame.image, record.transform, self._resolution)),
            sound=self._sound[first:last],
        )

    @functools.cached_property
    def _sound(self) -> Int16[np.ndarray, "n"]:
        clip = self._clip
        return track_sound(clip.world_seed, clip.puppet, clip.track, clip.frames, clip.rate)
