"""From encoded face records to the arrays of a batch.

A thread makes a whole batch and writes each picture right into its arrays. A JPEG is decoded at the smallest half,
fourth or eighth of its size that suffices, which takes libjpeg less time and gives what averaging the full picture
gives, to within rounding (0.6 grey levels rms on camera pictures).
"""

import cv2
import msgpack
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from data_pipelines.records import FaceRecord, decode, stored_side
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import MIRROR

# With IMREAD_COLOR_RGB, "grayscale" is the name of the bit that shrinks.
_SHRINK = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: 0,
}


class Assembly:
    """The faces of a batch on their way into its arrays.

    Pictures are written one by one as they are decoded. All that is small is done for all faces at once, so that
    threads seldom wait for Python's lock.
    """

    def __init__(
        self,
        side: int,
        sizes: Int[np.ndarray, "n"],
        mirrored: Bool[np.ndarray, "n"],
        similarities: Float[np.ndarray, "n 4"] | None = None,
    ):
        """Says what is to become of every face.

        Args:
            side: of the pictures of the batch.
            sizes: side of each stored picture.
            mirrored: whether to mirror it.
            similarities: what else to do to it: degrees clockwise and enlargement (0: none) about its middle, then a
                shift along x and y in picture widths.
        """
        self._side, self._sizes, self._mirrored, self._similarities = (
            side,
            sizes,
            mirrored,
            similarities,
        )
        # What becomes of the aligned crop
        self._then = np.tile(np.eye(2, 3), (len(sizes), 1, 1))
        self._then[mirrored, 0, 0], self._then[mirrored, 0, 2] = -1, side - 1
        if similarities is not None:
            angle, factor = np.deg2rad(similarities[:, 0]), 1 + similarities[:, 1]
            cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
            turn = np.stack([cosine, -sine, sine, cosine], -1).reshape(-1, 2, 2)
            middle = (side - 1) / 2
            self._then[:, :, 2] -= middle
            self._then = turn @ self._then
            self._then[:, :, 2] += middle + side * similarities[:, 2:]
        # From the stored image to that of the batch; `add` knows the alignment.
        self._linear = np.empty((len(sizes), 2, 2))
        self._offset = np.empty((len(sizes), 2))
        self._image = np.empty((len(sizes), side, side, 3), np.uint8)
        self._records: list[FaceRecord | None] = [None] * len(sizes)

    def add(self, slot: int, data: bytes) -> None:
        """Decodes a record as face number `slot`.

        Raises:
            ValueError: the data are damaged, or the picture has another size than expected.
        """
        record, side, size = decode(data, image=False), self._side, int(self._sizes[slot])
        if len(record.polygon) < 3 or not (
            np.isfinite(record.polygon).all() and np.isfinite(record.landmarks).all()
        ):
            raise ValueError("its landmarks or outline are no numbers")
        encoded = msgpack.unpackb(data)["image"]
        cut = align.alignment_transform(record.landmarks, side, "eyes")
        # Only JPEG is shrunk by its decoder; OpenCV decodes others in full and then drops pixels.
        is_jpeg = encoded.startswith(b"\xff\xd8")
        shrink = next(k for k in _SHRINK if size >= k * stored_side(side)) if is_jpeg else 1
        flags = _SHRINK[shrink] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error as error:
            raise ValueError(f"its picture cannot be decoded ({error.err})") from error
        if image is None:
            raise ValueError("its picture cannot be decoded")
        if image.shape[:2] != (size // shrink,) * 2:
            raise ValueError(f"its picture has not {size} x {size} px")
        self._records[slot] = record
        transform = self._then[slot] @ np.vstack([cut, [0, 0, 1]])
        self._linear[slot], self._offset[slot] = transform[:, :2], transform[:, 2]
        # From the pixels of the smaller image
        transform[:, 2] += transform[:, :2] @ np.full(2, (shrink - 1) / 2)
        transform[:, :2] *= shrink
        image = align.crop(image, transform, side)
        if image.dtype == np.uint16:
            image = cv2.convertScaleAbs(image, alpha=255 / 65535)
        self._image[slot] = image

    def finish(self) -> dict[str, np.ndarray]:
        """The arrays of `Pictures`, faces along the leading axis."""
        records, mirrored = self._records, self._mirrored
        points = np.stack([np.concatenate([record.landmarks, record.irises]) for record in records])
        points = (points @ self._linear.mT + self._offset[:, None]).astype(np.float32)
        landmarks, irises = points[:, :68], points[:, 68:]
        pose = np.stack([record.pose for record in records])
        landmarks = np.where(mirrored[:, None, None], landmarks[:, MIRROR], landmarks)
        irises = np.where(mirrored[:, None, None], irises[:, ::-1], irises)
        pose = np.where(mirrored[:, None], pose * np.float32([-1, 1, -1]), pose)
        if self._similarities is not None:
            pose[:, 2] += self._similarities[:, 0]
        counts = np.array([len(record.polygon) for record in records])
        which = np.repeat(np.arange(len(records)), counts)
        outlines = np.concatenate([record.polygon for record in records])
        outlines = (self._linear[which] @ outlines[..., None])[..., 0] + self._offset[which]
        mask = polygon_masks(outlines, counts, self._side)
        names = np.array(
            [f"{record.persona}: {record.clip}, frame {record.frame}" for record in records]
        )
        return {
            "image": self._image,
            "mask": mask,
            "landmarks": landmarks,
            "irises": irises,
            "pose": pose,
            "record": names,
        }


def polygon_masks(
    points: Float[np.ndarray, "points 2"], counts: Int[np.ndarray, "n"], side: int
) -> UInt8[np.ndarray, "n r r"]:
    """The share of each pixel that a polygon covers, 0..255, for many polygons.

    Several times as fast as `align.polygon_mask` and nearly as exact: 0.08 rms (0.16 from 256 px on) in the pixels that
    the outline of a face passes, where that has 0.06. OpenCV also fills the pixels on the outline, so it is first moved
    in by half of a fine pixel. Of all reductions halving is the fast one.

    Args:
        points: corners of all polygons, one polygon after the other, at least three each.
        counts: number of corners of each.
        side: of the masks.
    """
    fineness = 2 if side >= 256 else 4  # samples along each axis of a pixel, a power of two
    masks = np.zeros((len(counts), side, side), np.uint8)
    starts = np.cumsum(counts) - counts
    left, top = np.clip(points.min(0).astype(int) - 1, 0, side).tolist()  # a box around all
    right, bottom = np.clip(points.max(0).astype(int) + 3, 0, side).tolist()
    if left >= right or top >= bottom:
        return masks
    outlines = (points + np.array([0.5 - left, 0.5 - top])) * fineness - 0.5
    inwards = np.repeat(np.add.reduceat(outlines, starts) / counts[:, None], counts, 0) - outlines
    outlines += inwards * (0.5 / np.maximum(np.linalg.norm(inwards, axis=1, keepdims=True), 1))
    bits = 8  # of the fixed-point corners
    outlines = np.split(np.rint(outlines * 2**bits).astype(np.int32), starts[1:])
    height, width = (bottom - top) * fineness, (right - left) * fineness
    together = max(2**20 // (height * width), 1)  # as many as fit into a core's cache
    for first in range(0, len(masks), together):
        some = outlines[first : first + together]
        fine = np.zeros((len(some) * height, width), np.uint8)
        for row, outline in enumerate(some):
            cv2.fillPoly(fine[row * height : (row + 1) * height], [outline], 255, shift=bits)
        while fine.shape[1] > right - left:
            fine = cv2.resize(
                fine, (fine.shape[1] // 2, fine.shape[0] // 2), interpolation=cv2.INTER_AREA
            )
        masks[first : first + together, top:bottom, left:right] = fine.reshape(
            len(some), bottom - top, right - left
        )
    return masks


def warped(
    image: UInt8[np.ndarray, "r r 3"], displacements: Float[np.ndarray, "n n 2"]
) -> UInt8[np.ndarray, "r r 3"]:
    """The picture with its points displaced by a smooth field through a grid of displacements, pixels."""
    side = len(image)
    field = cv2.resize(
        displacements.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    pixels = np.arange(side, dtype=np.float32)
    field[..., 0] += pixels
    field[..., 1] += pixels[:, None]
    return cv2.remap(image, field, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
