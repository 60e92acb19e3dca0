"""A file that is no clip or picture, or cannot be opened, is explained in one sentence that names it; nothing hangs."""

import os
import shutil
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest

from faceswap_jax.faces import audio, video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.picture import write_picture
from tests.support.face_scenes import smooth_picture
from tests.support.reading import answers, problem

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_no_such_content(tmp_path, suffix):
    path = tmp_path / f"bad{suffix}"
    assert "does not exist" in problem(path)
    path.touch()
    assert "is empty" in problem(path)
    path.write_text("This is no picture.\n" * 50)
    assert "damaged or not a" in problem(path)
    path.unlink()
    path.mkdir()
    assert "is a folder" in problem(path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mpg", ".ts", ".png", ".jpg", ".webp"])
@pytest.mark.parametrize("size", [1, 100, 20000])
def test_random_bytes(tmp_path, suffix, size):
    path = tmp_path / f"random{suffix}"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    problem(path)


def test_text_is_no_video(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("This is no video.\n" * 50)
    assert "no" in problem(path)


def test_lists_of_other_files_are_not_followed(tmp_path):
    path = tmp_path / "list.mp4"
    for text in (
        "#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ):
        path.write_text(text)
        problem(path)


def test_a_list_of_a_clip_beside_it_is_not_followed(clip, tmp_path):
    """Who may give a clip may not see others."""
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    assert clip.parent == tmp_path
    assert "not a video" in problem(path)


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_sound_without_pictures(tmp_path):
    write_sound(tmp_path / "sound.mp4")
    assert "has no video" in problem(tmp_path / "sound.mp4")


def test_unknown_format(clip):
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzz1"))
    assert "cannot decode" in problem(clip)


def test_pipes_devices_and_links(tmp_path):
    """In another process with a time limit: a pipe without a writer would be waited for."""
    reasons = {
        "pipe": "is a pipe or a device",
        "zero": "is a pipe or a device",
        "loop": "cannot be read",
        "dangling": "does not exist",
    }
    paths = [tmp_path / f"{name}{suffix}" for suffix in (".mp4", ".png") for name in reasons]
    for pipe, device, loop, dangling in (paths[:4], paths[4:]):
        os.mkfifo(pipe)
        device.symlink_to("/dev/zero")
        loop.symlink_to(loop)
        dangling.symlink_to(tmp_path / "nothing")
    said = answers(paths)
    assert len(said) == 3 * len(paths)
    for number, line in enumerate(said):
        path, is_audio = paths[number // 3], number % 3 == 2
        if is_audio and path.suffix == ".png":
            assert line == f"read {path}"  # a picture's audio needs no look
        else:
            assert str(path) in line and reasons[path.stem] in line


def test_a_link_to_a_clip_is_the_clip(clip, tmp_path):
    (tmp_path / "link.mp4").symlink_to(clip)
    assert len(list(video.read_frames(tmp_path / "link.mp4"))) == 12


def test_no_permission(clip):
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    try:
        folder.chmod(0o755)
        shut = folder / "shut"
        shut.mkdir()
        picture = folder / "locked.png"
        write_picture(picture, smooth_picture(8, 8))
        paths = [folder / "locked.mp4", picture, shut / "clip.mp4"]
        for path in (paths[0], paths[2]):
            shutil.copyfile(clip, path)
        for path in (paths[0], paths[1], shut):
            path.chmod(0)
        said = answers(paths, "drop")
        assert said.pop(5) == f"read {picture}"  # its sound
        assert len(said) == 8
        for line, path in zip(said, [paths[0]] * 3 + [paths[1]] * 2 + [paths[2]] * 3, strict=True):
            assert line.startswith(f"{path} may not be read")
    finally:
        (folder / "shut").chmod(0o700)
        shutil.rmtree(folder)


NAMES = (
    "two words",
    "ünï 日本",
    "a:b",
    "file:a",
    "%03d",
    "-x",
    "'q'\"",
    "a?b#c",
    "*",
    "~",
    "$HOME",
    "caf\udce9",
)


@pytest.mark.parametrize("stem", NAMES)
def test_names(clip, tmp_path, monkeypatch, stem):
    """Nothing in a name is a pattern, a protocol or a flag; the last one is not UTF-8."""
    monkeypatch.chdir(tmp_path)
    movie, still = Path(f"{stem}.mp4"), Path(f"{stem}.png")
    try:
        shutil.copyfile(clip, movie)
    except OSError:
        pytest.skip("this file system does not take the name")
    write_picture(still, smooth_picture(8, 8))
    assert len(list(video.read_frames(movie))) == 12
    assert len(list(video.read_frames(movie, start=0.2))) == 6
    assert len(audio.read_audio(movie)) > 6000
    assert len(list(video.read_frames(still))) == 1
    write_video(movie, movie, video.read_frames(movie))
    assert video.probe(movie).frames == 12
    movie.write_bytes(b"no clip")
    assert "damaged" in problem(movie)
