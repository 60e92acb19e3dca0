"""What `benchmarks/export.py` starts: a generator makes its first images. It imports no more than `swap` does."""

from pathlib import Path

import numpy as np

import faceswap_jax.swap  # noqa: F401, for its imports are a part of the start
from faceswap_jax.artifacts import models, runtime
from faceswap_jax.inference.batching import BATCH
from faceswap_jax.inference.generator import Faces, Who


def show(folder: str, kind: str) -> None:
    """Makes a batch of images of the first persona.

    Args:
        folder: of a run or an artifact.
        kind: format of the artifact, or "run".
    """
    path = Path(folder)
    generator = models.load(path) if kind == "run" else runtime.load(path, kind)
    side = generator.resolution
    faces = Faces(
        crops=np.zeros((BATCH, side, side, 3), np.uint8),
        landmarks=np.full((BATCH, 68, 2), side / 2, np.float32),
    )
    generator(generator.identity(Who({generator.personas[0]: 1.0})), faces)
