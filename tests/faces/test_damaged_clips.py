"""A damaged clip is read as far as it can be, or explained in one sentence that names it."""

import logging
from collections.abc import Callable

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, video
from faceswap_jax.faces.encode import write_video
from tests.support.face_scenes import smooth_picture, write_clip
from tests.support.reading import problem

pytestmark = pytest.mark.usefixtures("quiet")


def test_truncated_clip_without_index(clip):
    clip.write_bytes(clip.read_bytes()[:-2000])  # the index comes last
    assert "damaged" in problem(clip)


def test_truncated_clip_gives_the_frames_that_are_there(tmp_path, caplog):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(30)]
    path = write_clip(tmp_path / "cut.mp4", images, options={"movflags": "faststart"})
    whole = list(video.read_frames(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        frames = list(video.read_frames(path))
    assert 5 < len(frames) < 30
    assert "cut.mp4" in caplog.text and f"{30 - len(frames)} frames" in caplog.text
    for found, expected in zip(frames[:-3], whole, strict=False):
        assert np.array_equal(found.image, expected.image)
    write_video(tmp_path / "out.mp4", path, frames)
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == len(frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damaged_sound_is_left_out_where_it_cannot_be_copied(tmp_path, caplog, suffix):
    images = [smooth_picture(48, 64, index / 5) for index in range(50)]
    path = write_clip(tmp_path / "damaged.ts", images, audio=True)
    data = bytearray(path.read_bytes())
    # Headers of AAC of 16 kHz, mono; one in four is broken.
    header, number = data.find(b"\xff\xf1\x60\x40"), 0
    while header >= 0:
        if number % 4 == 3:
            data[header + 2] |= 0x3C  # a rate that there is not
        header, number = data.find(b"\xff\xf1\x60\x40", header + 4), number + 1
    assert number > 20
    path.write_bytes(data)
    write_video(tmp_path / f"out{suffix}", path, video.read_frames(path))
    assert len(video.frame_times(tmp_path / f"out{suffix}")) == 50
    assert "packets of its sound are left out" in caplog.text
    assert np.abs(audio.read_audio(tmp_path / f"out{suffix}")).max() > 1000


def flip_bytes(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), 12):
        data[place] = rng.integers(256)


def flip_header(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, min(len(data), 600), 4):
        data[place] = rng.integers(256)


def blank(data: bytearray, rng: np.random.Generator) -> None:
    first = rng.integers(len(data))
    data[first : first + 500] = bytes(len(data[first : first + 500]))


def truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(1, len(data)) :]


def cut_out(data: bytearray, rng: np.random.Generator) -> None:
    first = rng.integers(len(data))
    del data[first : first + rng.integers(1, 300)]


@pytest.mark.parametrize("damage", [flip_bytes, flip_header, blank, truncate, cut_out])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_any_damage_gives_frames_or_a_sentence(tmp_path, suffix, damage: Callable, caplog):
    caplog.set_level(logging.ERROR)
    images = [smooth_picture(48, 64, index / 5) for index in range(12)]
    path = write_clip(
        tmp_path / f"damaged{suffix}", images, audio=suffix != ".avi"
    )  # AVI takes no such AAC
    data = path.read_bytes()
    for seed in range(4):
        damaged = bytearray(data)
        damage(damaged, np.random.default_rng(seed))
        path.write_bytes(damaged)
        for read in (
            video.read_frames,
            lambda path: video.read_frames(path, start=0.2, depth=16),
            audio.read_audio,
        ):
            try:
                frames = list(read(path))
                assert len(frames) <= 12 or isinstance(frames[0], np.int16)
            except InputError as error:
                assert str(path) in str(error) and "\n" not in str(error)
