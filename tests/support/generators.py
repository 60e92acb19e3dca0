"""Generators without a network, for tests of what is done around one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from faceswap_jax.editing.control import Control
from faceswap_jax.errors import InputError


@dataclass
class PixelGenerator:
    """Makes images of crops by a function of their pixels; counts its calls by size of batch."""

    pixels: Callable[[np.ndarray], np.ndarray]
    resolution: int
    alignment: str = "eyes"
    placement: str = "blended"
    outline: str = "hull"
    inputs: tuple[str, ...] = ("crops",)
    sound_window: int = 1600
    personas: tuple[str, ...] = ("ada", "ben")
    step: int = 0
    parts: Mapping[str, slice] = field(default_factory=dict)
    paintable: bool = False
    roles: tuple[str, ...] = ()
    relative: bool = False
    samples: bool = False
    digest: str = "0123456789abcdef"
    version: str = "0123456789abcdef"

    def __post_init__(self):
        self.batches = []

    def identity(self, who):
        return None

    def __call__(self, identity, faces, edit=None):
        self.batches.append(len(faces.crops))
        return self.pixels(faces.crops)


class KnowsPersonas(PixelGenerator):
    """Refuses others, as real ones do."""

    def identity(self, who):
        for name in who.personas:
            if name not in self.personas:
                raise InputError(f"This model has no persona '{name}'.")


@dataclass
class SidedGenerator(PixelGenerator):
    """Its latents are the mean brightness of the left half and of the right; keeps the edits it was given."""

    relative: bool = True

    def latents(self, faces):
        middle = self.resolution // 2
        halves = faces.crops[:, :, :middle], faces.crops[:, :, middle:]
        return np.stack([half.mean((1, 2, 3)) for half in halves], 1)

    def __call__(self, identity, faces, edit=None):
        self.edits = [*getattr(self, "edits", ()), edit]
        return super().__call__(identity, faces, edit)


@dataclass
class PosingGenerator(PixelGenerator):
    """Its latents are yaw, pitch and roll."""

    inputs: tuple[str, ...] = ("crops", "pose")

    def latents(self, faces):
        return faces.pose

    def control(self, too_much: float) -> Control:
        """A control that tells a yaw of so many degrees too much."""
        return Control(
            step=self.step,
            digest=self.digest,
            faces=0,
            to_poses=[[1, 0, 0], [0, 1, 0], [0, 0, 1], [too_much, 0, 0]],
            to_latents=np.eye(3).tolist(),
            by_sound=[],
            explained=0,
            reach=[(-90, 90)] * 3,
            errors=(),
        )
