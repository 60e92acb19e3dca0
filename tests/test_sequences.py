"""Swaps of numbered pictures: what is written, what is kept when a job stops, what is refused."""

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference import clip as clips_through
from faceswap_jax.inference.clip import Count
from faceswap_jax.swap import swap
from tests.support.hdr import write_deep
from tests.support.outlines import outside_faces
from tests.support.pictures import exr, exr_channels, light_seen_as
from tests.support.tiny_run import FRAMES, SIZE

FIRST = 1001


@pytest.fixture
def shot(clips, tmp_path):
    """A clip of a puppet as half floats, on a wall that is brighter than white, with a matte and its landmarks."""
    folder = tmp_path / "shot"
    folder.mkdir()
    pattern = folder / "ben.%04d.exr"
    sidecar_path(pattern).write_bytes(sidecar_path(clips / "ben.mp4").read_bytes())
    for number, frame in enumerate(video.read_frames(clips / "ben.mp4"), FIRST):
        light = light_seen_as(frame.image)
        light[:4] = 7.5
        planes = {name: np.ascontiguousarray(light[..., i]) for i, name in enumerate("RGB")}
        planes["matte"] = np.full((SIZE, SIZE), 0.25, np.float16)
        (folder / f"ben.{number}.exr").write_bytes(exr(planes))
    return pattern


def light(path) -> np.ndarray:
    channels = exr_channels(path.read_bytes())
    assert (channels["matte"] == 0.25).all()
    return np.stack([channels[name] for name in "RGB"], -1)


def test_open_exr_in_and_out(run, shot, tmp_path):
    output = tmp_path / "out.%05d.exr"
    assert swap(run, "ada", shot, output) == Count(FRAMES, 0)
    assert len(list(tmp_path.glob("out.*"))) == FRAMES and not list(tmp_path.glob(".*"))
    outside = outside_faces(shot)
    for i in range(FRAMES):
        before = light(shot.parent / f"ben.{FIRST + i}.exr")
        after = light(tmp_path / f"out.0{FIRST + i}.exr")
        np.testing.assert_array_equal(after[outside[i]], before[outside[i]])
        assert (after[:4] == 7.5).all() and after.dtype == np.float16
        assert (after != before).any(2)[~outside[i]].mean() > 0.5


def test_a_folder_in_and_out(run, shot, tmp_path):
    folder = tmp_path / "new"
    part = shot.parent.with_name("shot#1002-1003")
    assert swap(run, "ada", part, folder) == Count(2, 0)
    assert {path.name for path in folder.iterdir()} == {"ben.1002.exr", "ben.1003.exr"}


def test_a_sequence_becomes_a_clip_and_a_clip_a_sequence(run, clips, shot, tmp_path):
    output = tmp_path / "out.mp4"
    assert swap(run, "ada", shot.with_name(shot.name + "@12"), output) == Count(FRAMES, 0)
    info = video.probe(output)
    assert (info.frames, info.rate, info.width) == (FRAMES, 12, SIZE)
    swap(run, "ada", clips / "ben.mp4", tmp_path / "out.%03d.png")
    assert (tmp_path / "out.001.png").exists() and (tmp_path / f"out.{FRAMES:03d}.png").exists()
    assert read_picture(tmp_path / "out.001.png").shape == (SIZE, SIZE, 3)


def test_what_a_result_of_the_other_kind_loses_is_told(run, clips, shot, tmp_path, capfd):
    swap(run, "ada", shot, tmp_path / "out.mov")
    assert "it loses its depth beyond 8 bits" in capfd.readouterr().err
    frames = [frame.image for frame in video.read_frames(clips / "ben.mp4")][:2]
    cut_out = write_deep(tmp_path / "cut.mov", frames, 1, 1, "prores_ks", "yuva444p10le")
    sidecar_path(cut_out).write_bytes(sidecar_path(clips / "ben.mp4").read_bytes())
    swap(run, "ada", cut_out, tmp_path / "clip.mkv")
    assert "it loses its transparency." in capfd.readouterr().err
    swap(run, "ada", cut_out, tmp_path / "out.%03d.png")
    assert "it loses its depth beyond 8 bits" in capfd.readouterr().err
    wide = write_deep(tmp_path / "wide.mkv", frames, 12, 1, "libx264", "yuv420p")
    sidecar_path(wide).write_bytes(sidecar_path(clips / "ben.mp4").read_bytes())
    swap(run, "ada", wide, tmp_path / "wide.%03d.png")
    assert "HDR and wider colours" in capfd.readouterr().err
    swap(run, "ada", clips / "ben.mp4", tmp_path / "plain.mkv")
    assert "loses" not in capfd.readouterr().err


def test_a_job_that_stops_goes_on_where_it_was(run, shot, tmp_path, monkeypatch, capfd):
    output, whole = tmp_path / "out.%04d.exr", tmp_path / "whole.%04d.exr"
    swap(run, "ada", shot, whole)
    written = []
    write = clips_through.NumberedPictures.write

    def write_some(self, frame):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(frame.index)
        write(self, frame)

    monkeypatch.setattr(clips_through.NumberedPictures, "write", write_some)
    with pytest.raises(KeyboardInterrupt):
        swap(run, "ada", shot, output)
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out.*.exr")}
    assert len(kept) == 3

    assert swap(run, "ada", shot, output) == Count(FRAMES - 3, 0)
    assert "3 more were finished before" in capfd.readouterr().err
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    for number in range(FIRST, FIRST + FRAMES):
        same = [(tmp_path / f"{name}.{number}.exr").read_bytes() for name in ("out", "whole")]
        assert same[0] == same[1]
    # A finished job, and another persona, begin anew.
    assert swap(run, "ben", shot, output) == Count(FRAMES, 0)


def test_outputs_that_do_not_fit_are_told_before_the_work(run, shot, tmp_path):
    deep = tmp_path / "deep.png"
    deep.write_bytes(png16())
    before = sorted(tmp_path.rglob("*"))
    for source, output, message in (
        (shot, tmp_path / "out.%04d.png", "scene-linear light; choose a name that ends in .exr"),
        (shot, shot, "is the input itself"),
        (shot, shot.parent, "is the input itself"),
        # Other widths of the number make the same names.
        (shot, shot.with_name("ben.%d.exr"), "is the input itself"),
        (shot.parent, shot.with_name("out.%04d.exr"), "lies in the folder that is the input"),
        (deep, tmp_path / "one.%04d.png", "is one picture; choose a plain name"),
        (shot, tmp_path / "no" / "out.%04d.exr", "no' does not exist"),
        (shot, tmp_path / "out.exr", "is one picture, and .* a clip; .* .mp4.* out.%04d.png"),
        (deep, tmp_path / "out.jpg", "16 bits, transparency; choose .* .png, .tif, .tiff"),
    ):
        with pytest.raises(InputError, match=message):
            swap(run, "ada", source, output)
    write_picture(shot.parent / f"ben.{FIRST + 1}.exr", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=f"ben.{FIRST + 1}.exr has 8 x 8 pixels"):
        swap(run, "ada", shot, tmp_path / "out.%04d.exr")
    assert sorted(tmp_path.rglob("*")) == before


def png16() -> bytes:
    import cv2

    return cv2.imencode(".png", np.full((8, 8, 4), 40_000, np.uint16))[1].tobytes()
