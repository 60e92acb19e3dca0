"""Trees of empty files, and what the layouts make of them."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from faceswap_jax.errors import InputError


def make(root: Path, *names: str) -> Path:
    """Empty files below `root`; a name that ends with a slash is a folder."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return root


def names(clips: Iterable[Clip]) -> list[tuple[str, str]]:
    return [(clip.persona, clip.name) for clip in clips]


def error_of(*inputs: Path) -> str:
    with pytest.raises(InputError) as raised:
        find_clips(inputs)
    message = str(raised.value)
    assert message.endswith(".") and "\n" not in message
    return message
