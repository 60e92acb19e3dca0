"""Batches of faces: `batches` loads the records that a sampler names, aligns them, varies them, stacks them.

Fields of a batch, RGB; "..." stands for the axes of the sampler, (x, y) are pixels, and r is the resolution:

    field               dtype and shape         meaning
    image               uint8 [..., r, r, 3]    the face, as the alignment cuts it
    mask                uint8 [..., r, r]       fraction of each pixel of `image` that the face's outline covers, 0..255
    landmarks           float32 [..., 68, 2]    (x, y) in `image`, iBUG order
    irises              float32 [..., 2, 2]     (x, y) of the person's right and left iris in `image`; NaN if unknown
    pose                float32 [..., 3]        yaw, pitch, roll of the head in degrees, in the frame that the face was
                                                cut from; a mirrored or turned `image` counts as cut from a mirrored or
                                                turned frame
    encoder_input       uint8 [..., r, r, 3]    the face as a network sees it: `image`, its points displaced by a smooth
                                                random field; it should produce `image`
    encoder_landmarks   float32 [..., 68, 2]    (x, y) in `encoder_input`
    sound               float32 [..., window]   16 kHz mono in -1..1 around the frame's time; silent beyond its track
    identity            int32 [...]             index of the source
    record              text [...]              where the face comes from, for people: "ada: scene.mp4, frame 12"

Only the fields that are asked for are made.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import grain
import numpy as np
from jaxtyping import Float, Float32, Int, Shaped, UInt8, UInt16

from data_pipelines.batches.addresses import ENDLESS, host_slice
from data_pipelines.batches.augmentation import Augmentation, Draws
from data_pipelines.batches.described import Described, stand_in
from data_pipelines.batches.masks import polygon_masks
from data_pipelines.batches.roles import AUGMENTATION, Group, Sampler, read_group
from data_pipelines.batches.sound import sound_window
from data_pipelines.records import FaceRecord, unpack
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import MIRROR

FIELDS = {
    "image": (np.uint8, ("r", "r", 3)),
    "mask": (np.uint8, ("r", "r")),
    "landmarks": (np.float32, (68, 2)),
    "irises": (np.float32, (2, 2)),
    "pose": (np.float32, (3,)),
    "encoder_input": (np.uint8, ("r", "r", 3)),
    "encoder_landmarks": (np.float32, (68, 2)),
    "sound": (np.float32, ("window",)),
    "identity": (np.int32, ()),
    "record": (np.str_, ()),
}
"""Type and shape of a frame's part of each field."""

NO_AUGMENTATION = Augmentation()

SOUND_WINDOW = 3200
"""Samples around a frame: 0.2 s, as X2Face takes."""

ENLARGED = 1.05
"""How much a JPEG that is decoded smaller may be enlarged afterwards."""

SHRUNK = 0.8
"""Below this scale an image needs more than one sample per pixel lest it alias."""

UNTURNED = 0.5
"""Pixels. A crop that turning and scaling displace by less takes all its samples from alike places between the source's
pixels, where the blur of linear interpolation is not the mean one."""

INVERSIONS = 10
"""Steps of the fixed-point iteration that inverts a displacement, whose slope is well below 1."""

# With IMREAD_COLOR_RGB, "grayscale" is the name of the bit that shrinks.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: 0,
}


def batches(
    sources: Sequence[PersonaSource],
    sampler: Sampler,
    *,
    fields: Sequence[str],
    alignment: str,
    resolution: int,
    batch: int,
    seed: int,
    augmentation: Augmentation = NO_AUGMENTATION,
    sound_samples: int = SOUND_WINDOW,
    host: int = 0,
    hosts: int = 1,
) -> grain.MapDataset[dict]:
    """Endless data set whose element [step] is this host's slice of the global batch of that step.

    Args:
        sources: one per persona or identity.
        sampler: `roles.Personas()`, `roles.Identities()` or `roles.Roles(...)`: what the elements show, and the axes.
        fields: names of what to make, see the module's table.
        alignment: how faces are cut, one of `align.ALIGNMENTS`.
        resolution: side of the images in pixels, at most that of the sources.
        batch: elements of the global batch, divisible by hosts.
        seed: of order and augmentation.
        augmentation: random changes.
        sound_samples: length of the field `sound`.
        host: index of this host in 0..hosts-1.
        hosts: number of hosts that share the global batch: each has a slice of it, in their order.

    Raises:
        InputError: batch is not divisible by hosts, the records are smaller than resolution, or the sources cannot
            fill the sampler's groups, or there is no such alignment; on access, too many records are corrupt.
        ValueError: there is no such field.
    """
    _check(sources, fields, alignment, resolution, batch, hosts)
    groups = sampler.groups(sources)
    augmentation = replace(augmentation, alike=augmentation.alike or sampler.cut_together)
    choose = sampler.chooser(sources, batch, seed)
    own = host_slice(batch, host, hosts)

    # Where frame [element, frame] lies in the arrays
    slots = _slots(sampler.parts(sources), own.stop - own.start)

    def load(step: int) -> dict:
        # Every host draws for the global batch, so that slices do not depend on their number.
        rng = np.random.default_rng((seed, AUGMENTATION, step))
        draws = augmentation.draw(rng, batch, groups).of_slots(own, slots)
        assembly = Assembly(fields, alignment, resolution, draws, sound_samples)
        for element, chosen in enumerate(choose(step, own)):
            first = 0
            for group, count in zip(chosen, groups, strict=True):
                places = slots[element, first : first + count].tolist()
                cut_as = slots[element, :count].tolist() if sampler.cut_together else places
                assembly.read(sources[group.source], group, places, cut_as)
                first += count
        return sampler.arrange(assembly.finish(), sources)

    def describe(_number) -> dict:
        sizes = {"r": resolution, "window": sound_samples}
        arrays = {}
        for name in fields:
            dtype, shape = FIELDS[name]
            arrays[name] = stand_in((slots.size, *(sizes.get(n, n) for n in shape)), dtype)
        return sampler.arrange(arrays, sources)

    return grain.MapDataset.range(ENDLESS).map(Described(load, describe))


class Assembly:
    """The frames of a batch on their way into its arrays.

    A thread makes a whole batch and writes each image right into its arrays, as it is decoded. All that is small is
    done for all frames at once, so that threads seldom wait for Python's lock.

    A JPEG is decoded at the smallest half, fourth or eighth of its size that suffices, which takes libjpeg less time
    and gives what averaging the full image gives, to within rounding (0.6 grey levels rms on camera pictures).
    Alignment, mirror and augmentation are composed into one transform, and each image is resampled once.
    """

    def __init__(
        self,
        fields: Sequence[str],
        alignment: str,
        side: int,
        draws: Draws,
        sound_samples: int = SOUND_WINDOW,
    ):
        """Says what is to become of every frame.

        Args:
            fields: names of what to make.
            alignment: how faces are cut, one of `align.ALIGNMENTS`.
            side: of the images of the batch.
            draws: the augmentation of every frame.
            sound_samples: length of the field `sound`.
        """
        count = len(draws.mirrored)
        self._fields = set(fields)
        self._alignment = alignment
        self._side = side
        self._draws = draws
        # From pixels of the aligned crops to those of the batch's images
        self._from_crop = draws.transforms(side)
        self._warps = draws.displacements is not None
        self._records: list[FaceRecord | None] = [None] * count
        # From pixels of the stored images to those of the batch's images, known when a record is read
        self._transforms = np.zeros((count, 2, 3))
        self._identity = np.zeros(count, np.int32)
        self._numbers = np.zeros(count, np.int64)  # of the records within their sources
        self._images = {
            name: np.empty((count, side, side, 3), np.uint8)
            for name in ("image", "encoder_input")
            if name in fields
        }
        self._arrays = dict(self._images)
        if "identity" in fields:
            self._arrays["identity"] = self._identity
        if "sound" in fields:
            self._arrays["sound"] = np.zeros((count, sound_samples), np.float32)

    def read(
        self, source: PersonaSource, group: Group, slots: Sequence[int], cut_as: Sequence[int]
    ) -> None:
        """Reads the frames of a group into their places.

        Args:
            source: of the identity.
            group: what to read.
            slots: numbers of the frames.
            cut_as: of the frames that they are cut like: themselves, or others that were read before.

        Raises:
            InputError: the source has too few intact records, or does not show what the others do.
        """

        def parse(frame: int, data: bytes) -> None:
            self.add(slots[frame], data, source.side, cut_as[frame])

        numbers = read_group(source, group, parse)
        for slot, like, number in zip(slots, cut_as, numbers, strict=True):
            self._numbers[slot] = number
            if self._numbers[like] != number:
                raise InputError(
                    f"A record of {source.name} or of its neighbour is damaged, so that they do not show the same; "
                    "prepare the data again."
                )
        self._identity[slots] = group.source
        if "sound" in self._arrays:
            sound = self._arrays["sound"]
            for slot, number in zip(slots, numbers, strict=True):
                sound[slot] = sound_window(source, number, sound.shape[1])

    def add(self, slot: int, data: bytes, size: int, cut_as: int) -> None:
        """Decodes a record as frame number `slot`, of which the same part is shown as of frame number `cut_as`.

        Args:
            slot: number of the frame.
            data: the encoded record.
            size: side of its image in pixels.
            cut_as: itself, or one that was read before and shows the same camera's view.

        Raises:
            ValueError: the data are damaged, the image has another size, or landmarks or outline make no sense.
        """
        record, encoded = unpack(data)
        points = np.concatenate([record.landmarks, record.polygon])
        if len(record.polygon) < 3 or not np.isfinite(points).all():
            raise ValueError("its landmarks or outline are no numbers")
        like = record if cut_as == slot else self._records[cut_as]
        cut = align.alignment_transform(like.landmarks, self._side, self._alignment)
        if like is not record:
            moved = _after(like.transform, align.invert(record.transform))
            cut = _after(cut, moved)
        transform = _after(self._from_crop[slot], cut)
        if self._images:
            scale = align.transform_scale(transform)
            image, reduction = decode_image(encoded, size, scale)
            self._resample(slot, image, _of_reduced(transform, reduction))
        self._records[slot] = record
        self._transforms[slot] = transform

    def _resample(self, slot: int, image: np.ndarray, transform: Float[np.ndarray, "2 3"]) -> None:
        """Fills in the images of a frame, each in one step from the decoded one."""
        if "image" in self._images or not self._warps:
            plain = _eight_bits(plain_crop(image, transform, self._side))
        for name, images in self._images.items():
            if name == "encoder_input" and self._warps:
                grid = self._side * self._draws.displacements[slot]
                images[slot] = _eight_bits(displaced_crop(image, transform, grid, self._side))
            else:
                images[slot] = plain

    def finish(self) -> dict[str, np.ndarray]:
        """The arrays of the fields, frames along the leading axis."""
        makers = {
            "mask": self._mask,
            "landmarks": self._landmarks,
            "encoder_landmarks": self._encoder_landmarks,
            "irises": self._irises,
            "pose": self._pose,
            "record": self._record,
        }
        made = {name: makers[name]() for name in self._fields if name in makers}
        return self._arrays | made

    def _mask(self) -> UInt8[np.ndarray, "n r r"]:
        counts = np.array([len(record.polygon) for record in self._records])
        corners = np.concatenate([record.polygon for record in self._records])
        transforms = np.repeat(self._transforms, counts, axis=0)
        return polygon_masks(_moved(corners[:, None], transforms)[:, 0], counts, self._side)

    def _landmarks(self) -> Float32[np.ndarray, "n 68 2"]:
        points = _moved(np.stack([record.landmarks for record in self._records]), self._transforms)
        mirrored = self._draws.mirrored[:, None, None]
        return np.where(mirrored, points[:, MIRROR], points).astype(np.float32)

    def _encoder_landmarks(self) -> Float32[np.ndarray, "n 68 2"]:
        landmarks = self._landmarks()
        if self._warps:
            for slot, points in enumerate(landmarks):
                grid = self._side * self._draws.displacements[slot]
                landmarks[slot] = displaced_points(points, grid, self._side)
        return landmarks

    def _irises(self) -> Float32[np.ndarray, "n 2 2"]:
        points = _moved(np.stack([record.irises for record in self._records]), self._transforms)
        mirrored = self._draws.mirrored[:, None, None]
        return np.where(mirrored, points[:, ::-1], points).astype(np.float32)

    def _pose(self) -> Float32[np.ndarray, "n 3"]:
        pose = np.stack([record.pose for record in self._records])
        # A mirror turns yaw and roll around.
        pose[self._draws.mirrored] *= np.float32([-1, 1, -1])
        pose[:, 2] += self._draws.rotation
        return pose

    def _record(self) -> Shaped[np.ndarray, "n"]:
        return np.array([f"{r.persona}: {r.clip}, frame {r.frame}" for r in self._records])


def decode_image(
    encoded: bytes, size: int, scale: float
) -> tuple[UInt8[np.ndarray, "s s 3"] | UInt16[np.ndarray, "s s 3"], int]:
    """A stored image, decoded at the smallest size that suffices.

    Args:
        encoded: as JPEG or PNG.
        size: its side in pixels.
        scale: pixels of the result per pixel of the stored image.

    Returns:
        The image and how many times smaller than stored it is: 1, 2, 4 or 8.

    Raises:
        ValueError: it cannot be decoded or has another size.
    """
    # Only JPEG is shrunk by its decoder; OpenCV decodes others in full and then drops pixels.
    reduction = 1
    if encoded.startswith(b"\xff\xd8"):
        # Where the decoder would have to round its size, the pixels' places would shift.
        suffices = [k for k in _REDUCED if k * scale <= ENLARGED and size % k == 0]
        reduction = max(suffices, default=1)

    # IMREAD_ANYDEPTH keeps 16 bits.
    flags = _REDUCED[reduction] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"its image cannot be decoded ({error.err})") from error
    if image is None:
        raise ValueError("its image cannot be decoded")
    if image.shape[:2] != (size // reduction, size // reduction):
        raise ValueError(f"its image has not {size} x {size} px")
    return image, reduction


def plain_crop(
    image: np.ndarray, transform: Float[np.ndarray, "2 3"], side: int
) -> UInt8[np.ndarray, "r r 3"] | UInt16[np.ndarray, "r r 3"]:
    """A crop [side, side], as `align.crop` makes it, but faster where that hardly shrinks or enlarges.

    Cubic interpolation takes twice as long as decoding. Linear interpolation that is sharpened takes a third of it and
    is 1 dB further from the truth (38.5 for 39.5 dB on a rendered face with fine noise), as near as `align.crop` where
    it shrinks by a little.
    """
    scale = align.transform_scale(transform)
    turn = np.abs(transform[:, :2]) - np.eye(2)
    if scale < SHRUNK or np.abs(turn).max() < UNTURNED / side:
        return align.crop(image, transform, side)
    size, border = (side, side), cv2.BORDER_REPLICATE
    blurred = cv2.warpAffine(image, transform, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return align.sharpen_linear(blurred, scale)


def displaced_crop(
    image: np.ndarray,
    transform: Float[np.ndarray, "2 3"],
    grid: Float[np.ndarray, "4 4 2"],
    side: int,
) -> np.ndarray:
    """A crop [side, side] with its points displaced by a smooth field, in one resampling.

    Args:
        image: the source.
        transform: from its pixels to those of the crop.
        grid: displacements of a grid of points, in pixels of the crop.
        side: of the crop.
    """
    # Where the transform shrinks, four samples a pixel.
    dense = 2 if align.transform_scale(transform) < SHRUNK else 1
    inverse = align.invert(align.scale_transform(transform, dense))
    field = _field(dense * grid, dense * side) + _pixels(dense * side)
    # Through the inverse, so that the image is sampled once
    places = cv2.transform(field, inverse.astype(np.float32))
    crop = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if dense > 1:
        crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return crop


def displaced_points(
    points: Float32[np.ndarray, "n 2"], grid: Float[np.ndarray, "4 4 2"], side: int
) -> Float32[np.ndarray, "n 2"]:
    """Points of a crop [side, side] where `displaced_crop` shows them: the q with q + field(q) = p, for every p."""
    field = _field(grid, side)
    moved = points
    # q = p - field(q), from q = p on
    for _ in range(INVERSIONS):
        here = cv2.remap(
            field, moved[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        moved = points - here[0]
    return moved


def _field(grid: Float[np.ndarray, "4 4 2"], side: int) -> Float32[np.ndarray, "r r 2"]:
    """A smooth field through a grid of displacements."""
    return cv2.resize(grid.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)


@lru_cache(16)
def _pixels(side: int) -> Float32[np.ndarray, "r r 2"]:
    """(x, y) of every pixel."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return np.stack([x, y], -1)


def _after(
    second: Float[np.ndarray, "2 3"], first: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "2 3"]:
    """The transform that does `first`, then `second`."""
    composed = second[:, :2] @ first
    composed[:, 2] += second[:, 2]
    return composed


def _of_reduced(transform: Float[np.ndarray, "2 3"], reduction: int) -> Float[np.ndarray, "2 3"]:
    """A transform from the pixels of an image that was decoded so many times smaller."""
    if reduction == 1:
        return transform
    # Pixel centres of the smaller image lie between those of the full one.
    middle = (reduction - 1) / 2
    reduced = transform * [reduction, reduction, 1]
    reduced[:, 2] += middle * (transform[:, 0] + transform[:, 1])
    return reduced


def _moved(
    points: Float[np.ndarray, "n m 2"], transforms: Float[np.ndarray, "n 2 3"]
) -> Float[np.ndarray, "n m 2"]:
    """The points of each frame under its transform."""
    return points @ transforms[:, :, :2].mT + transforms[:, None, :, 2]


def _eight_bits(image: np.ndarray) -> UInt8[np.ndarray, "..."]:
    if image.dtype == np.uint16:
        return cv2.convertScaleAbs(image, alpha=255 / 65535)
    return image


def _slots(parts: Sequence[int], elements: int) -> Int[np.ndarray, "elements frames"]:
    """Where the frames of each element lie in the arrays: part after part, the frames of an element side by side."""
    columns, start = [], 0
    for count in parts:
        places = start + np.arange(elements * count)
        columns.append(places.reshape(elements, count))
        start += elements * count
    return np.concatenate(columns, axis=1)


def _check(
    sources: Sequence[PersonaSource],
    fields: Sequence[str],
    alignment: str,
    resolution: int,
    batch: int,
    hosts: int,
) -> None:
    unknown = set(fields) - set(FIELDS)
    if unknown:
        raise ValueError(f"There are no fields {sorted(unknown)}; choose from {tuple(FIELDS)}.")
    if alignment not in align.ALIGNMENTS:
        raise InputError(
            f"There is no alignment '{alignment}'; choose one of {', '.join(align.ALIGNMENTS)}."
        )
    if batch % hosts:
        raise InputError(
            f"A batch of {batch} does not divide among {hosts} hosts; make it a multiple of {hosts}."
        )
    for source in sources:
        if source.resolution < resolution:
            raise InputError(
                f"The images of persona {source.name} have {source.resolution} px, but {resolution} px are wanted; "
                f"train at {source.resolution} px or prepare the data with --resolution {resolution}."
            )
