"""Models by the folder they lie in: of a run, or an artifact."""

import os
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
    if not os.path.exists(folder / "config.json"):
        raise InputError(
            f"'{folder}' holds neither a run nor an artifact; give a folder that 'faceswap train' or 'faceswap export' "
            "has written."
        )
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
        # A path may have "=" in it, too.
        name, path = ("", text) if os.path.exists(text) else _split(text)
        name = name or Path(path).resolve().name
        if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
            raise InputError(
                f"'{name}' cannot stand in an address; name the model, as in NAME={path}."
            )
        if name in folders:
            raise InputError(f"Two models are named '{name}'; name one, as in NAME={path}.")
        folders[name] = Path(path)
    return folders


def _split(text: str) -> tuple[str, str]:
    """The name and the path of "NAME=PATH"; no name of a path alone."""
    name, equals, path = text.partition("=")
    return (name, path) if equals else ("", text)
