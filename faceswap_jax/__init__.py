"""faceswap_jax: one person's performance on another's face.

These are for those who write Python; README shows them. JAX is imported where it is needed.
"""

import os
from pathlib import Path

# onnxruntime would tell Microsoft of sessions, models and errors: nothing here speaks to anybody unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(folder, step=None):
    """The generator of a run's folder, or of an artifact's, see `artifacts.models.load`."""
    from faceswap_jax.artifacts import models

    return models.load(Path(folder), step)


def load_run(workdir, step=None):
    """A run with its whole state, on all devices, see `training.runs.Run`."""
    from faceswap_jax.parallel.mesh import make_mesh
    from faceswap_jax.training import runs

    return runs.load(Path(workdir), make_mesh(), step, optimizer=True)


def read_faces(generator, source):
    """The faces of a picture or a clip as a generator reads them, see `inference.pictures.read_faces`."""
    from faceswap_jax.inference import pictures

    return pictures.read_faces(generator, Path(source))


def swap_picture(generator, persona, picture):
    """A picture with a persona's face in place of the largest one, see `inference.pictures.swap_picture`."""
    from faceswap_jax.inference import pictures

    return pictures.swap_picture(generator, persona, Path(picture))
