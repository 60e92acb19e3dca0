"""Models by the folder they lie in: of a run, or an artifact."""

from pathlib import Path

from faceswap_jax.artifacts import runtime
from faceswap_jax.artifacts.manifest import is_artifact
from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Generator


def load(folder: Path, step: int | None = None) -> Generator:
    """The generator of a run, or of an artifact.

    Args:
        folder: of either.
        step: which checkpoint of the run, by its number of steps; the newest sound one if not given.

    Raises:
        InputError: there is neither, it makes no images, or is damaged; or an artifact is asked for a step.
    """
    if is_artifact(folder):
        if step is not None:
            raise InputError(f"'{folder}' is an artifact, which has one step; leave --step out.")
        return runtime.load(folder)
    # Imported where needed: it imports JAX, which takes seconds.
    from faceswap_jax.inference import trained

    return trained.load(folder, step)
