"""Puppets: folders of clips, and frames as arrays."""

from collections.abc import Sequence

import numpy as np

from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from data_pipelines.puppets.renderer import Frame
from tests.support.tiny_run import PERSONAS


def describe_clips(size: int, frames: int, rate: float) -> PuppetClips:
    """One track of each of two puppets."""
    clips = (PuppetClip(f"{name}.mp4", name, p, 0, frames) for p, name in enumerate(PERSONAS))
    return PuppetClips(0, size, rate, tuple(clips))


def stacked(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, landmarks and masks (0..1)."""
    images = np.stack([frame.image for frame in frames])
    landmarks = np.stack([frame.landmarks for frame in frames])
    masks = np.stack([frame.mask for frame in frames]) / 255
    return images, landmarks, masks
