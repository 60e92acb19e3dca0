"""Numbered pictures are clips: by pattern and by folder, in part, with holes, at any rate."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, sequence, video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.faces.picture import is_picture, write_picture
from tests.support.face_scenes import smooth_picture


def write_pictures(folder: Path, name: str, numbers) -> Path:
    """Pictures whose brightness tells their number."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        image = np.full((20, 30, 3), number % 200, np.uint8)
        write_picture(folder / (name % number), image)
    return folder / name


def numbers(path) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in video.read_frames(path)]


def test_a_pattern_and_its_folder_are_clips(tmp_path):
    pattern = write_pictures(tmp_path / "shot", "a.%04d.png", range(98, 103))
    for path in (pattern, pattern.parent):
        assert numbers(path) == [98, 99, 100, 101, 102]
        info = video.probe(path)
        assert (info.width, info.height, info.frames, info.rate) == (30, 20, 5, 25)
        assert info.duration == 0.2 and not is_picture(path)
        assert video.frame_times(path) == [0, 0.04, 0.08, 0.12, 0.16]
        assert len(audio.read_audio(path)) == 0 and video.start_timecode(path) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [("%04d.png", [9998, 9999, 10000]), ("%d.png", [9, 10, 11]), ("f_%02d.png", [99, 100])],
)
def test_numbers_grow_beyond_their_digits(tmp_path, name, found):
    pattern = write_pictures(tmp_path / "shot", name, found)
    assert numbers(pattern) == [number % 200 for number in found]
    assert numbers(pattern.parent) == numbers(pattern)


def test_ranges_and_rates(tmp_path):
    pattern = write_pictures(tmp_path / "shot", "a.%04d.png", range(1, 11))
    part = pattern.with_name(pattern.name + "#3-5@23.976")
    assert numbers(part) == [3, 4, 5] == numbers(pattern.parent.with_name("shot#3-5"))
    times = [frame.time for frame in video.read_frames(part)]
    np.testing.assert_allclose(times, [0, 1001 / 24000, 2002 / 24000])
    assert [frame.index for frame in video.read_frames(part)] == [0, 1, 2]
    assert len(list(video.read_frames(part, start=0.03, end=0.06))) == 1
    assert video.probe(sequence.at_rate(part, "12")).rate == 12
    assert video.probe(sequence.at_rate(pattern, "12.5")).rate == Fraction(25, 2)
    twin = pattern.parent.with_name("shot#3-5@12")
    pattern.parent.rename(twin)
    assert len(numbers(twin)) == 10  # a folder of that name is that folder
    twin.rename(pattern.parent)
    assert sidecar_path(part) == pattern.with_name("a.%04d.png.landmarks.csv")
    for rate in ("0", "fast", "1/0", "-2"):
        with pytest.raises(InputError, match="no number of frames a second"):
            sequence.at_rate(pattern, rate)
    with pytest.raises(InputError, match="the numbers 1 to 10"):
        numbers(pattern.with_name(pattern.name + "#20-30"))


def test_holes_are_told_and_keep_their_time(tmp_path, caplog):
    pattern = write_pictures(tmp_path / "shot", "a.%04d.png", [1, 2, 5, 6, 8])
    assert numbers(pattern) == numbers(pattern) == [1, 2, 5, 6, 8]
    assert caplog.text.count("numbers 3 to 4, 7 are missing") == 1
    assert video.frame_times(pattern) == pytest.approx([0, 0.04, 0.16, 0.2, 0.28])
    output = tmp_path / "out.mp4"
    write_video(output, pattern, video.read_frames(pattern))
    assert video.frame_times(output) == pytest.approx([0, 0.04, 0.16, 0.2, 0.28])


def test_sequences_that_cannot_be_used_are_told(tmp_path):
    mixed = write_pictures(tmp_path / "mixed", "a.%04d.png", range(3))
    write_picture(tmp_path / "mixed" / "a.0002.png", smooth_picture(40, 30))
    write_pictures(tmp_path / "two", "a.%04d.png", range(3))
    write_pictures(tmp_path / "two", "b.%04d.png", range(3))
    broken = write_pictures(tmp_path / "broken", "a.%04d.png", range(3))
    (tmp_path / "broken" / "a.0001.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    for path, message in (
        (mixed, r"a.0002.png has 30 x 40 pixels, and the first picture of .* 30 x 20"),
        (tmp_path / "two", "several sequences; give one of them, such as .*a.%04d.png"),
        (broken, "a.0001.png is damaged"),
        (tmp_path / "empty", "is a folder without numbered pictures"),
        (tmp_path / "empty" / "a.%04d.png", "names no picture that is there"),
        (tmp_path / "no" / "a.%04d.png", "no cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            next(video.read_frames(path))


def test_a_file_of_such_a_name_is_that_file(tmp_path):
    path = tmp_path / "a.%04d.png"
    write_picture(path, smooth_picture(8, 8))
    assert is_picture(path) and len(list(video.read_frames(path))) == 1
    with pytest.raises(InputError, match="has its own times; --fps"):
        sequence.at_rate(path, "24")


def test_rates():
    """Television's are meant by their short names, and whole ones as they are."""
    found = [
        sequence.read_rate(text)
        for text in ("23.976", "23.98", "29.97", "59.94", "2", "24", "12.5")
    ]
    television = [Fraction(24000, 1001)] * 2 + [Fraction(30000, 1001), Fraction(60000, 1001)]
    assert found == [*television, 2, 24, Fraction(25, 2)]
