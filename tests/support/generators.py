"""A generator without a network, for tests of what is done around one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass
class PixelGenerator:
    """Makes images of crops by a function of their pixels; counts its calls by size of batch."""

    pixels: Callable[[np.ndarray], np.ndarray]
    resolution: int
    alignment: str = "eyes"
    placement: str = "blended"
    inputs: tuple[str, ...] = ("crops",)
    sound_window: int = 1600
    personas: tuple[str, ...] = ("ada", "ben")
    step: int = 0
    parts: Mapping[str, slice] = field(default_factory=dict)
    paintable: bool = False

    def __post_init__(self):
        self.batches = []

    def identity(self, who):
        return None

    def __call__(self, identity, faces, edit=None):
        self.batches.append(len(faces.crops))
        return self.pixels(faces.crops)
