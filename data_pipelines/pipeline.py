"""From stored or rendered faces to batches [persona, batch, ...], addressed by step.

Element [step] of the data set depends on nothing but the seed and the step: training resumes at any step without the
state of an iterator, and any number of hosts and threads sees the same global batches.
"""

import contextlib
from collections.abc import Sequence
from typing import Protocol, TypedDict

import cv2
import grain
import numpy as np
from jaxtyping import UInt8

from data_pipelines.puppets.renderer import MAX_SIZE
from data_pipelines.puppets.tracks import RATE, render_frame
from data_pipelines.records import FaceRecord, decode, encode
from data_pipelines.tracks import face_record
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.landmarks import Face


class RecordSource(Protocol):
    """Random access to the encoded face records of one persona, in the order of time."""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def __getitem__(self, index: int) -> bytes:
        """One record, as `records.encode` stores it."""
        ...


class Batch(TypedDict):
    """One step's pictures, RGB.

    Attributes:
        image: what a model should produce.
        input: what it sees: the same, warped.
        mask: the share of each pixel of `image` that the face polygon covers, 0..255.
    """

    image: UInt8[np.ndarray, "persona batch r r 3"]
    input: UInt8[np.ndarray, "persona batch r r 3"]
    mask: UInt8[np.ndarray, "persona batch r r"]


class PuppetSource:
    """One track of a puppet as a source of face records, each rendered when it is first asked for.

    Kept encoded: a few kilobytes a picture, while rendering one takes many times as long as decoding it.
    """

    def __init__(self, world_seed: int, persona: int, track: int, frames: int, resolution: int):
        self._track = (world_seed, persona, track)
        self._resolution = resolution
        self._records: list[bytes | None] = [None] * frames

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        """The record of one frame."""
        data = self._records[index]
        if data is None:
            data = self._records[index] = encode(self._render(index))
        return data

    def _render(self, index: int) -> FaceRecord:
        _, persona, track = self._track
        # A puppet's face fills about half of its picture and all of the crop.
        frame = render_frame(*self._track, index, min(2 * self._resolution, MAX_SIZE))
        return face_record(
            frame.image,
            Face(frame.landmarks, 1.0),
            self._resolution,
            time=index / RATE,
            frame=index,
            persona=f"puppet{persona}",
            clip="puppets",
            track=track,
        )


def split(source: RecordSource, validation: float) -> tuple[RecordSource, RecordSource]:
    """Splits a persona's records into training and validation, at least one record each.

    Validation is the last share of the records: neighbouring frames look alike, so that a random draw would measure
    memory.

    Args:
        source: at least two records.
        validation: share of the records to hold out, 0..1.

    Raises:
        InputError: there are fewer than two records.
    """
    if len(source) < 2:
        raise InputError("A persona has only one picture, but training and validation need one each; add pictures.")
    held_out = min(max(round(validation * len(source)), 1), len(source) - 1)
    dataset = grain.MapDataset.source(source)
    return dataset[:-held_out], dataset[-held_out:]


def persona_batches(
    sources: Sequence[RecordSource],
    *,
    resolution: int,
    batch: int,
    seed: int,
    host: int = 0,
    hosts: int = 1,
    mirror: bool = True,
    warp: float = 0.0,
) -> grain.MapDataset[Batch]:
    """Endless data set whose element [step] is this host's share of the global batch of that step.

    Every persona's records are shuffled anew in each epoch, each persona in its own order.

    Args:
        sources: one per persona.
        resolution: side of the pictures in pixels, at most that of the records.
        batch: pictures per persona in the global batch, divisible by hosts.
        seed: of order and augmentation.
        host: index of this host in 0..hosts-1.
        hosts: number of hosts that share the global batch: host h has its pictures h, h + hosts, ...
        mirror: whether every second picture, by chance, is mirrored.
        warp: strength of the smooth random deformation of `input`: standard deviation of the displacement of a 4 x 4
            grid of points, in picture widths.

    Raises:
        InputError: batch is not divisible by hosts; on access, the records are smaller than resolution.
    """
    if batch % hosts:
        raise InputError(f"The batch of {batch} pictures per persona does not divide among {hosts} hosts.")

    def load(data: bytes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        sample = _sample(data, resolution)
        if mirror and rng.random() < 0.5:
            sample = {name: array[:, ::-1] for name, array in sample.items()}
        return sample | {"input": _warped(sample["image"], warp, rng) if warp else sample["image"]}

    # Batched before it becomes an iterator: after it, Grain loses records between its workers. The remainder that is
    # dropped lies at the end of an endless data set; keeping it overflows the length of batches of one.
    personas = [
        grain.MapDataset.source(source)
        .seed(int(np.random.SeedSequence((seed, persona)).generate_state(1)[0]))
        .shuffle()
        .repeat()
        .random_map(load)[host::hosts]
        .batch(batch // hosts, drop_remainder=True)
        for persona, source in enumerate(sources)
    ]
    return grain.experimental.ZipMapDataset(personas).map(_stack)


def iterate(
    dataset: grain.MapDataset[Batch], start: int, stop: int, *, threads: int = 2
) -> contextlib.closing[grain.DatasetIterator[Batch]]:
    """Batches of the steps start..stop-1, prefetched by threads; use it in a `with` statement."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return contextlib.closing(iter(dataset[start:stop].to_iter_dataset(options)))


def _sample(data: bytes, resolution: int) -> dict[str, np.ndarray]:
    """Decodes a record to a picture [r, r, 3] and mask [r, r], uint8."""
    record = decode(data)
    size = record.image.shape[0]
    if size < resolution:
        raise InputError(
            f"The pictures of persona {record.persona} have {size} px, but {resolution} px are wanted; "
            f"train at {size} px or prepare the data with --resolution {resolution}."
        )
    image = cv2.resize(record.image, (resolution, resolution), interpolation=cv2.INTER_AREA)
    polygon = align.transform_points(record.polygon, align.scale_transform(np.eye(2, 3), resolution / size))
    mask = align.polygon_mask(polygon, resolution, resolution)
    return {"image": image, "mask": np.rint(255 * mask).astype(np.uint8)}


def _warped(image: UInt8[np.ndarray, "r r 3"], strength: float, rng: np.random.Generator) -> UInt8[np.ndarray, "r r 3"]:
    """The picture with its points displaced by a smooth random field."""
    side = len(image)
    coarse = rng.normal(0, strength * side, (4, 4, 2)).astype(np.float32)
    field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    return cv2.remap(image, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _stack(samples: tuple[dict[str, np.ndarray], ...]) -> Batch:
    """Stacks the batches of all personas along a new leading axis."""
    return {name: np.stack([sample[name] for sample in samples]) for name in Batch.__annotations__}
