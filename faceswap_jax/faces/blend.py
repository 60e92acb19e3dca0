"""Blending of a generated face into its target crop, and of the crop back into the frame.

Everything here adds to the target what the generated face changes, so a face without changes leaves the target's
pixels exactly as they are.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces.align import Transform, invert, polygon_mask, transform_points, warp
from faceswap_jax.faces.face import Image

METHODS = ("multiband", "none", "poisson")
DEFAULT_METHOD = "multiband"

TARGET_LEVELS = 2
"""How many of the coarsest pyramid levels of the face come from the target; they keep its light and contrast."""

SOFTNESS = 1 / 64
"""Standard deviation of the mask's softening, in crop widths: less shows a seam, more lets the old face through."""

CHANGES = (8.0, 20.0)
"""Changes of pixels that are nothing yet, and that are clear, of 255."""

WIDER = 3
"""By how many 64ths of a face's width what counts as changed is wider than what has."""

REACH = 2
"""Radius of cubic interpolation, in pixels."""


def check_method(method: str) -> None:
    """Raises InputError unless there is such a method of blending."""
    if method not in METHODS:
        raise InputError(f"There is no blending '{method}'; choose one of {', '.join(METHODS)}.")


def blend(
    generated: Image,
    target: Image,
    polygon: Float[np.ndarray, "n 2"],
    method: str = DEFAULT_METHOD,
    softness: float = SOFTNESS,
) -> Image:
    """Puts the generated face into the target crop; both show the face at the same place.

    Args:
        generated: image of the new face.
        target: image that gives everything outside the face.
        polygon: outline of the face in the target [n, 2], crop pixels.
        method: "multiband", the enhanced multi-band blending of US 2020/0372621 A1, Fig. 5; "none", an alpha mask
            alone; "poisson", OpenCV's seamless cloning, which flickers in video because the light of the whole face
            follows the pixels under its outline.
        softness: standard deviation of the Gaussian that softens the mask (the source's sigma), in crop widths.

    Returns:
        The blended crop; every pixel that is not wholly inside the polygon equals the target's.

    Raises:
        InputError: no such method.
    """
    return Canvas(target, polygon, softness).blend(generated, method)


class Canvas:
    """A target crop into which faces are blended, see `blend`; what does not depend on them is made once."""

    def __init__(
        self, target: Image, polygon: Float[np.ndarray, "n 2"], softness: float = SOFTNESS
    ) -> None:
        """See `blend`."""
        self.target = target
        self._softness = softness
        self._inside = _interior(polygon, *target.shape[:2])
        self._box = _box(self._inside)

    def blend(self, generated: Image, method: str = DEFAULT_METHOD) -> Image:
        """The target with a generated face."""
        check_method(method)
        target = self.target
        box = self._box
        if box is None:
            return target.copy()
        if method == "poisson":
            return _poisson(generated, target, self._inside)

        # Nothing changes outside of the box.
        if method == "multiband":
            difference = cv2.subtract(generated, target, dtype=cv2.CV_32F)
            change = _multiband(difference, self._masks, self._inside)[box]
        else:
            difference = cv2.subtract(generated[box], target[box], dtype=cv2.CV_32F)
            change = cv2.merge([self._mask] * 3) * difference
        result = target.copy()
        result[box] = _add(target[box], change)
        return result

    @functools.cached_property
    def _mask(self) -> Float[np.ndarray, "h w"]:
        """Weight of the generated face, inside the box."""
        return _inward_smoothed(self._inside[self._box], self._softness * self.target.shape[1])

    @functools.cached_property
    def _masks(self) -> list[Float[np.ndarray, "..."]]:
        """Pyramid of the same weight, everywhere."""
        whole = np.zeros(self._inside.shape, np.float32)
        whole[self._box] = self._mask
        return _gaussian_pyramid(whole, _levels(whole))


def where_changed(edited: Image, plain: Image) -> Float[np.ndarray, "h w"]:
    """Where an edit has changed a generated face: from 0, nothing, to 1, soft at its border.

    Args:
        edited: the generated face with the edit.
        plain: without it.
    """
    unit = edited.shape[1] / 64  # pixels
    change = np.abs(edited.astype(np.float32) - plain).max(2)
    change = cv2.GaussianBlur(change, (0, 0), unit)
    faint, clear = CHANGES
    mask = np.clip((change - faint) / (clear - faint), 0, 1)

    # Wider, so that nothing of what was there before remains at its border
    side = 2 * round(WIDER * unit) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), WIDER / 2 * unit)


def paste(
    frame: Image,
    before: UInt8[np.ndarray, "r r 3"],
    after: UInt8[np.ndarray, "r r 3"],
    transform: Transform,
) -> Image:
    """Puts an edited crop back into its frame.

    Only the change (after - before) is warped and added, so the frame itself is never resampled: where the crop was
    not edited, the frame's pixels stay as they are. Detail finer than the crop's pixels stays in the frame, too: to
    replace a face wholly, crop and blend at no less than the resolution that it has in the frame.

    Args:
        frame: the frame that the crop was taken from.
        before: the crop as it was.
        after: the edited crop.
        transform: affine, from frame to crop pixels.
    """
    result = frame.copy()
    changed = _box(cv2.absdiff(after, before))
    if changed is None:
        return result
    change = cv2.subtract(after[changed], before[changed], dtype=cv2.CV_32F)

    # The rectangle of the frame that the change can reach
    rows, columns = changed
    back = invert(transform)
    size = frame.shape[1::-1]
    corners = transform_points(_reached_corners(rows, columns), back)
    first = np.floor(corners.min(0)).astype(int)
    last = np.ceil(corners.max(0)).astype(int)
    left, top = np.clip(first, 0, size)
    right, bottom = np.clip(last + 1, 0, size)
    if left >= right or top >= bottom:
        return result

    # Warp the change there, from its own rectangle
    back[:, 2] += back[:, :2] @ (columns.start, rows.start)
    back[:, 2] -= left, top
    warped = warp(change, back, right - left, bottom - top, cv2.BORDER_CONSTANT)
    region = result[top:bottom, left:right]
    region[:] = _add(region, warped)
    return result


def _box(image: UInt8[np.ndarray, "h w ..."]) -> tuple[slice, slice] | None:
    """The rows and columns around all that is not zero; None if all is."""
    if image.ndim == 3:
        image = functools.reduce(cv2.bitwise_or, cv2.split(image))
    x, y, width, height = cv2.boundingRect(image)
    if not width:
        return None
    return slice(y, y + height), slice(x, x + width)


def _reached_corners(rows: slice, columns: slice) -> Float[np.ndarray, "4 2"]:
    """Corners of a rectangle of a crop, widened by the interpolation's radius, in its pixels."""
    x = (columns.start - REACH, columns.stop + REACH)
    y = (rows.start - REACH, rows.stop + REACH)
    return np.array(list(itertools.product(x, y)), np.float64)


def _add(image: Image, change: Float[np.ndarray, "h w 3"]) -> Image:
    """Image plus change, rounded and clipped."""
    return cv2.add(image, change, dtype=cv2.CV_8U)


def _interior(
    polygon: Float[np.ndarray, "n 2"], height: int, width: int
) -> UInt8[np.ndarray, "h w"]:
    """1 where a change may happen, else 0: the polygon less a rim as wide as the interpolation's reach.

    A change that `paste` warps spreads by that reach, and with the rim it still ends inside the polygon.
    """
    covered = polygon_mask(polygon, height, width) == 1
    side = 2 * REACH + 1
    kernel = np.ones((side, side), np.uint8)
    # Beyond the crop nothing is inside.
    return cv2.erode(
        covered.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )


def _inward_smoothed(inside: UInt8[np.ndarray, "h w"], sigma: float) -> Float[np.ndarray, "h w"]:
    """Mask smoothed towards its inside only: 0 outside and on the edge, rising to 1 within about 2 sigma.

    A Gaussian gives 1/2 on a straight edge; the half above that is stretched to 0..1 and the half below cut off.
    """
    inside = inside.astype(np.float32)
    smooth = cv2.GaussianBlur(inside, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    upper_half = np.clip(2 * smooth - 1, 0, 1)
    return upper_half * inside


def _multiband(
    difference: Float[np.ndarray, "h w 3"],
    masks: Sequence[Float[np.ndarray, "..."]],
    inside: UInt8[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
    """Change that multi-band blending makes to the target.

    A Laplacian pyramid is linear, so P(O) = (1 - M) P(T) + M P(S) is P(T) + M P(S - T): one pyramid, of the
    difference, is enough, and its levels taken from the target are zero.

    The mask is softened once and goes through a pyramid of its own, so that the result does not depend on the
    resolution of the blending. Each band is masked once. What a coarse band spreads beyond the outline is cut off at
    every level, not at the end: the next finer level smooths each cut, and no edge shows.

    Args:
        difference: between generated face and target.
        masks: pyramid of the weight of the generated face, which is 0 where nothing is inside.
        inside: 1 where the target may change, else 0.

    Returns:
        The change; 0 where nothing is inside.
    """
    # The coarsest level first, as the source counts. Level after level has every second pixel.
    count = len(masks)
    differences = _gaussian_pyramid(difference, count)
    insides = [inside[:: 2**halvings, :: 2**halvings] for halvings in reversed(range(count))]

    # Add up the bands that the generated face gives
    kept = min(TARGET_LEVELS, count)
    change = np.zeros_like(differences[kept - 1])
    for level in range(kept, count):
        fine = differences[level]
        size = fine.shape[1::-1]
        band = cv2.subtract(fine, cv2.pyrUp(differences[level - 1], dstsize=size))
        masked = cv2.multiply(cv2.merge([masks[level]] * 3), band)
        change = cv2.add(cv2.pyrUp(change, dstsize=size), masked)
        # 0 where nothing is inside
        change = cv2.copyTo(change, insides[level])
    return change


def _levels(image: Float[np.ndarray, "h w ..."]) -> int:
    """How many levels the pyramids of images of this size have."""
    return int(math.log2(min(image.shape[:2])))


def _gaussian_pyramid(
    image: Float[np.ndarray, "h w ..."], count: int
) -> list[Float[np.ndarray, "..."]]:
    """The image and its reductions by 2, the smallest first; `count` levels."""
    levels = [image]
    for _ in range(count - 1):
        levels.append(cv2.pyrDown(levels[-1]))
    return levels[::-1]


def _poisson(
    generated: Image,
    target: Image,
    inside: UInt8[np.ndarray, "h w"],
) -> Image:
    """OpenCV's seamless cloning; the interior stays clear of the crop's border, as it demands."""
    x, y, width, height = cv2.boundingRect(inside)
    centre = (x + width // 2, y + height // 2)
    cloned = cv2.seamlessClone(generated, target, 255 * inside, centre, cv2.NORMAL_CLONE)
    return np.where(inside[..., None] > 0, cloned, target)
