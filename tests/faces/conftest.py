"""Fixtures of several files."""

from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.face_scenes import smooth_picture, write_clip


@pytest.fixture
def clip(tmp_path) -> Path:
    """Twelve frames with sound at 30000/1001 frames per second."""
    images = [smooth_picture(96, 128, index / 5) for index in range(12)]
    return write_clip(tmp_path / "clip.mp4", images, Fraction(30000, 1001), audio=True)


@pytest.fixture
def quiet(capfd):
    """FFmpeg writes nothing to the terminal."""
    yield
    assert capfd.readouterr().err == ""
