"""Models by the folder they lie in: of a run, or an artifact."""

import re
from collections.abc import Sequence
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


def named(artifacts: Sequence[str]) -> dict[str, Path]:
    """Folders by the names of their models.

    Raises:
        InputError: a name comes twice or cannot stand in an address.
    """
    folders = {}
    for text in artifacts:
        name, _, path = text.rpartition("=")
        name = name or Path(path).resolve().name
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise InputError(
                f"'{name}' cannot stand in an address; name the model, as in NAME={path}."
            )
        if name in folders:
            raise InputError(f"Two models are named '{name}'; name one, as in NAME={path}.")
        folders[name] = Path(path)
    return folders
