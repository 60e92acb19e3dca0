"""From frames and their faces to what a generator reads, and on to its images.

The only place that cuts crops, moves landmarks, measures pose, cuts windows of sound and fills batches up.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, Int16, UInt8

from faceswap_jax.faces import align, audio
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.generator import Edit, Faces, Generator, Identity, Images

BATCH = 8
"""Frames that go through the generator together."""


class Lent(NamedTuple):
    """A feature that others lend, over time.

    Attributes:
        times: seconds, in order; one alone if it stays the same.
        vectors: what is lent at each of them.
    """

    times: Float[np.ndarray, "n"]
    vectors: Float32[np.ndarray, "n d"]

    def at(self, times: Sequence[float]) -> Float32[np.ndarray, "m d"]:
        """What is lent at other times: that of the nearest, so before the first and after the last what these have."""
        borders = (self.times[1:] + self.times[:-1]) / 2
        return self.vectors[np.searchsorted(borders, times)]


@dataclass(frozen=True)
class Performance:
    """What is to be acted: some frames of a clip.

    Attributes:
        frames: in any order.
        faces: the face of each frame; not read if the generator hears only.
        sound: of the whole clip, 16 kHz mono from time 0 on; None if the generator does not hear.
        expression: that is lent to the faces; None if theirs stays.
    """

    frames: Sequence[Frame]
    faces: Sequence[Face]
    sound: Int16[np.ndarray, "n"] | None = None
    expression: Lent | None = None


def generate(
    generator: Generator, identity: Identity, performance: Performance, edit: Edit | None = None
) -> Images:
    """One image for each frame of a performance, in batches of BATCH.

    Args:
        generator: makes them.
        identity: who is shown.
        performance: what the face does.
        edit: of each frame of the performance.
    """
    side = generator.resolution
    # Starts with none: there may be no frames.
    images = [np.zeros((0, side, side, 3), np.uint8)]
    for frames in _batches_of(performance):
        faces = _read_batch(generator, performance, frames)
        of_batch = None if edit is None else Edit(edit.shift[filled(frames)])
        images.append(generator(identity, faces, of_batch)[: len(frames)])
    return np.concatenate(images)


def latents(generator: Generator, performance: Performance) -> Float[np.ndarray, "n latent"]:
    """The latents of each frame of a performance, of which there is at least one."""
    found = []
    for frames in _batches_of(performance):
        faces = _read_batch(generator, performance, frames)
        found.append(generator.latents(faces)[: len(frames)])
    return np.concatenate(found)


def at_rest(generator: Generator, performance: Performance) -> Float[np.ndarray, "latent"]:
    """The latents of a face that looks to the front and does nothing much: the mean of a performance's frames and of
    their mirror images. Of a generator that sees alone.
    """
    found = []
    for frames in _batches_of(performance):
        faces = _read_batch(generator, performance, frames)
        for crops in (faces.crops, faces.crops[:, :, ::-1]):
            found.append(generator.latents(Faces(crops=crops))[: len(frames)])
    return np.concatenate(found).mean(0)


def features(
    generator: Generator, role: str, crops: Iterable[UInt8[np.ndarray, "r r 3"]]
) -> Float32[np.ndarray, "n d"]:
    """What each of some crops, of which there is at least one, says of a role; they are taken as they are needed."""
    waiting = iter(crops)
    found = []
    while group := list(itertools.islice(waiting, BATCH)):
        batch = np.stack(group)[filled(range(len(group)))]
        found.append(generator.features(role, batch)[: len(group)])
    return np.concatenate(found)


def _batches_of(performance: Performance) -> Iterator[range]:
    """Numbers of the frames that go through the generator together."""
    count = len(performance.frames)
    for start in range(0, count, BATCH):
        yield range(start, min(start + BATCH, count))


def _read_batch(generator: Generator, performance: Performance, frames: range) -> Faces:
    """What the generator reads of some frames, BATCH of them."""
    part = slice(frames.start, frames.stop)
    group = replace(performance, frames=performance.frames[part], faces=performance.faces[part])
    return _fill_up(read_inputs(generator, group))


def filled(frames: range) -> Int[np.ndarray, "batch"]:
    """Numbers of BATCH frames: the last one is repeated, so that one compiled program serves all."""
    return np.minimum(np.arange(BATCH) + frames.start, frames.stop - 1)


def read_inputs(generator: Generator, performance: Performance) -> Faces:
    """The fields of `Faces` that the generator reads, with what is lent, and no others."""
    read = [_read_frame(generator, performance, i) for i in range(len(performance.frames))]
    fields = {}
    for name in generator.inputs:
        fields[name] = np.stack([of_frame[name] for of_frame in read])
    if performance.expression is not None:
        fields["expression"] = performance.expression.at([f.time for f in performance.frames])
    return Faces(**fields)


def _read_frame(generator: Generator, performance: Performance, number: int) -> dict[str, Any]:
    """The fields of `Faces` that the generator reads, of one frame."""
    wanted = generator.inputs
    side = generator.resolution
    frame = performance.frames[number]
    face = performance.faces[number]
    found = {}

    # In the generator's alignment
    if "crops" in wanted or "landmarks" in wanted:
        transform = align.alignment_transform(face.landmarks, side, generator.alignment)
    if "crops" in wanted:
        found["crops"] = align.crop(frame.image, transform, side)
    if "landmarks" in wanted:
        found["landmarks"] = align.transform_points(face.landmarks, transform)

    # Whatever the alignment
    if "pose" in wanted:
        found["pose"] = head_pose(face.landmarks)
    if "sound" in wanted:
        found["sound"] = sound_window(performance.sound, frame.time, generator.sound_window)
    return found


def sound_window(
    sound: Int16[np.ndarray, "n"], time: float, length: int
) -> Float32[np.ndarray, "length"]:
    """Sound around a moment, in -1..1, silent beyond its ends.

    Args:
        sound: 16 kHz mono from time 0 on.
        time: of the middle of the window, seconds.
        length: of the window, samples.
    """
    first = round(time * audio.RATE) - length // 2
    last = first + length
    heard = sound[max(first, 0) : max(last, 0)]

    # Before time 0 it is silent.
    silent = min(max(-first, 0), length)
    window = np.zeros(length, np.float32)
    # From 16 bits to -1..1
    window[silent : silent + len(heard)] = heard / 2.0**15
    return window


def _fill_up(faces: Faces) -> Faces:
    """A batch of BATCH, see `filled`."""
    given = {name: array for name, array in vars(faces).items() if array is not None}
    count = len(next(iter(given.values())))
    chosen = filled(range(count))
    return Faces(**{name: array[chosen] for name, array in given.items()})
