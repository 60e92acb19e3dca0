"""One clip in HDR and wide gamuts: faces are seen as in SDR, and results keep what the clip is."""

import shutil

import numpy as np
import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.tracks import face_tracks
from data_pipelines.records import FaceRecord
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Coding, Count
from faceswap_jax.people import people
from faceswap_jax.swap import swap
from tests.support.hdr import numbers_seen_as, write_deep
from tests.support.tiny_run import SIZE

pytest.importorskip("PyOpenColorIO")

SDR = (1, 1)
LOG = "ARRI LogC4"

TAGS = {"pq": (9, 16), "hlg": (9, 18), "p3": (12, 1), "ten bits": SDR, "log": SDR}
"""Code points of primaries and transfer."""

COUNT = 4


@pytest.fixture
def write(clips, tmp_path):
    """Writes Ben's first frames without loss, with his landmarks."""
    ben = clips / "ben.mp4"
    plain = [frame.image for frame in video.read_frames(ben)][:COUNT]

    def write(name, tags, pixel_format="yuv444p10le"):
        images = [numbers_seen_as(image, LOG) for image in plain] if name == "log" else plain
        path = write_deep(
            tmp_path / f"{name}.mkv", images, *tags, "ffv1", pixel_format, mastering=False
        )
        shutil.copy(sidecar_path(ben), sidecar_path(path))
        return path

    return write


def images(path, colorspace=None) -> np.ndarray:
    frames = video.read_frames(path, colorspace=colorspace)
    return np.stack([frame.image for frame in frames]).astype(int)


def inside(path) -> np.ndarray:
    """Whether each pixel of each frame lies in the face."""
    landmarker = SidecarLandmarker(sidecar_path(path))
    masks = []
    for index in range(COUNT):
        (face,) = landmarker(None, index)
        masks.append(align.polygon_mask(align.face_polygon(face.landmarks), SIZE, SIZE) > 0)
    return np.stack(masks)


@pytest.mark.parametrize("name", TAGS)
def test_the_swap_is_that_of_the_sdr_clip(run, write, tmp_path, name):
    plain, deep = write("sdr", SDR, "yuv444p"), write(name, TAGS[name])
    looks = {}
    for path in (plain, deep):
        output = tmp_path / f"out_{path.stem}.mp4"
        colorspace = LOG if path.stem == "log" else None
        coding = Coding(colorspace=colorspace)
        assert swap(run, "ada", path, output, coding=coding) == Count(COUNT, 0)
        looks[path] = images(path, colorspace), images(output, colorspace)

    before, after = looks[plain]
    assert np.abs(after - before)[inside(plain)].mean() > 10
    # The brightest looks share their range with highlights.
    common = (np.minimum(before, after) > 10) & (np.maximum(before, after) < 200)
    place = common & inside(plain)[..., None]
    assert np.abs(looks[deep][1] - after)[place].mean() < 3.5  # of which HEVC's are two
    info = video.probe(tmp_path / f"out_{name}.mp4")
    assert info.layout.bits == 10 and info.tags[:2] == TAGS[name]


@pytest.mark.parametrize("name", TAGS)
def test_records_are_those_of_the_sdr_clip(write, name):
    records = []
    for path in (write("sdr", SDR, "yuv444p"), write(name, TAGS[name])):
        clip = Clip(path, "ben", path.name)
        colorspace = LOG if path.stem == "log" else ""
        settings = Settings(
            resolution=32, min_size=0, min_sharpness=0, min_change=0, colorspace=colorspace
        )
        landmarker = SidecarLandmarker(sidecar_path(path))
        outcomes = face_tracks(clip, settings, landmarker)
        faces = [record for record in outcomes if isinstance(record, FaceRecord)]
        records.append([face.image.astype(int) for face in faces])
    plain, deep = map(np.stack, records)
    assert len(plain) == COUNT
    assert np.abs(deep - plain)[plain < 200].mean() < 1.5


def test_people_are_drawn_in_the_colours_that_are_named(write, tmp_path):
    plain, log = write("sdr", SDR, "yuv444p"), write("log", SDR)
    sheets = []
    for number, (source, colorspace) in enumerate(((plain, None), (log, None), (log, LOG))):
        people(source, tmp_path / f"{number}.png", colorspace)
        sheets.append(read_picture(tmp_path / f"{number}.png").astype(int))
    wanted, flat, seen = sheets
    assert 3 * np.abs(seen - wanted).mean() < np.abs(flat - wanted).mean()


def test_bad_colour_spaces_are_told_before_the_work(faceswap, write, run, tmp_path):
    source = write("ten bits", SDR)
    arguments = ("--workdir", run, "--persona", "ada", "--output", tmp_path / "out.mp4")
    for command in (
        ("swap", source, *arguments),
        ("prepare", source, "--output", tmp_path / "out"),
    ):
        code, _, err = faceswap(*command, "--colorspace", "slog9")
        assert code == 2 and "no colour space 'slog9'" in err and "'Apple Log'" in err
    picture = tmp_path / "picture.png"
    write_picture(picture, np.zeros((8, 8, 3), np.uint8))
    code, _, err = faceswap(
        "people", picture, "--output", tmp_path / "out.png", "--colorspace", LOG
    )
    assert code == 2 and "leave --colorspace out" in err
    assert not list(tmp_path.glob("out*"))


def test_bad_codecs_are_told_before_the_work(faceswap, write, run, tmp_path):
    source = write("pq", TAGS["pq"])
    for output, codec, message in (
        ("out.mp4", "prores", "cannot hold the codec prores"),
        ("out.mp4", "vp9", "There is no codec 'vp9'; choose one of h264, hevc, prores."),
        ("out.%04d.png", "hevc", "cannot hold the codec hevc"),
    ):
        arguments = ("--workdir", run, "--persona", "ada", "--output", tmp_path / output)
        code, _, err = faceswap("swap", source, *arguments, "--codec", codec)
        assert code == 2 and message in err
    assert not list(tmp_path.glob("out*"))
