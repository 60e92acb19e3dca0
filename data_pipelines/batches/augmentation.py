"""Random changes of faces: how strong they may be, and those drawn for a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

GRID = 4
"""Points along each side of an image that the smooth random deformation moves."""


class Draws(NamedTuple):
    """What was drawn for every frame of a batch: leading axes [batch, frame], or [slot] after `of_slots`.

    Attributes:
        mirrored: whether to mirror the frame.
        rotation: clockwise, degrees.
        enlargement: of the face; 0.05 shows it 1.05 times as large.
        shift: along x and y, in image widths.
        displacements: of a grid of points, in image widths; None without deformation.
    """

    mirrored: Bool[np.ndarray, "..."]
    rotation: Float[np.ndarray, "..."]
    enlargement: Float[np.ndarray, "..."]
    shift: Float[np.ndarray, "... 2"]
    displacements: Float[np.ndarray, "... 4 4 2"] | None

    def repeated(self, frames: int) -> "Draws":
        """Those of elements with one frame, for each of several frames."""
        return Draws(*(a if a is None else np.repeat(a, frames, axis=1) for a in self))

    def of_slots(self, own: slice, slots: Int[np.ndarray, "elements frames"]) -> "Draws":
        """A host's draws in the order of its arrays.

        Args:
            own: its elements of the batch.
            slots: where their frames lie in its arrays.
        """
        arranged = []
        for array in self:
            if array is not None:
                part = np.empty((slots.size, *array.shape[2:]), array.dtype)
                part[slots] = array[own]
                array = part
            arranged.append(array)
        return Draws(*arranged)

    def transforms(self, side: int) -> Float[np.ndarray, "n 2 3"]:
        """Maps from pixels of each aligned crop [side, side] to those of the mirrored, then turned and moved one."""
        # Mirror: x becomes side - 1 - x.
        mirror = np.zeros((len(self.mirrored), 2, 3))
        mirror[:, 0, 0] = np.where(self.mirrored, -1, 1)
        mirror[:, 0, 2] = np.where(self.mirrored, side - 1, 0)
        mirror[:, 1, 1] = 1

        # Turn and enlarge about the middle, then shift.
        angle, factor = np.deg2rad(self.rotation), 1 + self.enlargement
        cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
        turn = np.stack([cosine, -sine, sine, cosine], -1).reshape(-1, 2, 2)
        middle = np.full(2, (side - 1) / 2)
        moved = turn @ mirror
        moved[:, :, 2] += middle - turn @ middle + side * self.shift
        return moved


@dataclass(frozen=True)
class Augmentation:
    """Strengths of random changes; the default changes nothing.

    Image, mask, landmarks, irises and pose change together. Each amount is drawn evenly from ± its strength.

    Attributes:
        mirror: whether half of the groups of frames, by chance, are mirrored; frames of one track are so together.
        rotation: degrees.
        scale: enlargement; 0.05 makes 0.95 to 1.05.
        shift: along each axis, in image widths.
        warp: of the smooth deformation of `encoder_input`: standard deviation of the displacement of a grid of 4 x 4
            points, in image widths.
        alike: whether the frames of an element all change in the same way.
    """

    mirror: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    warp: float = 0.0
    alike: bool = False

    def draw(self, rng: np.random.Generator, batch: int, groups: Sequence[int]) -> Draws:
        """Draws for a global batch.

        Every host draws the same and uses its slice.

        Args:
            rng: of the batch.
            batch: elements of the global batch.
            groups: frames in each group of an element.
        """
        if self.alike:
            drawn = replace(self, alike=False).draw(rng, batch, (1,))
            return drawn.repeated(sum(groups))

        frames = (batch, sum(groups))
        mirrored = rng.random((batch, len(groups))) < 0.5
        rotation = rng.uniform(-self.rotation, self.rotation, frames)
        enlargement = rng.uniform(-self.scale, self.scale, frames)
        shift = rng.uniform(-self.shift, self.shift, (*frames, 2))

        # Drawn last and only if wanted: it is most of the numbers.
        displacements = rng.normal(0, self.warp, (*frames, GRID, GRID, 2)) if self.warp else None
        mirrored = self.mirror & np.repeat(mirrored, groups, axis=1)
        return Draws(mirrored, rotation, enlargement, shift, displacements)
