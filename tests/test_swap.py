"""Swaps with the tiny network: what changes, what does not, and what is told."""

import json
import shutil

import av
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.swap import Count, Model, blend_side, load_models, swap, swap_frames
from tests.support.tiny_run import FRAMES, RATE, RESOLUTION, SIZE


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def outside(path, margin=0) -> np.ndarray:
    """Whether each pixel of each frame lies outside the face polygon, by at least `margin` pixels."""
    landmarker = SidecarLandmarker(sidecar_path(path))
    result = np.ones((FRAMES, SIZE, SIZE), bool)
    for i in range(FRAMES):
        for face in landmarker(None, i):
            mask = align.polygon_mask(align.face_polygon(face.landmarks), SIZE, SIZE) > 0
            grown = [
                np.roll(mask, (y, x), (0, 1))
                for y in range(-margin, margin + 1)
                for x in range(-margin, margin + 1)
            ]
            result[i] = ~np.any(grown, axis=0)
    return result


def invert(crops):
    return 255 - crops


@pytest.fixture(scope="module")
def spoken(clips, tmp_path_factory):
    """A clip with sound, of whose ten frames two lack a face."""
    source, path = clips / "ben.mp4", tmp_path_factory.mktemp("spoken") / "ben.mp4"
    wave = (8000 * np.sin(np.arange(6400) / 5)).astype(np.int16)
    with av.open(str(path), "w") as output, av.open(str(source)) as container:
        stream = output.add_stream_from_template(container.streams.video[0])
        sound = output.add_stream("aac", rate=8000, layout="mono")
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux([*sound.encode(frame), *sound.encode(None)])
    landmarker = SidecarLandmarker(sidecar_path(source))
    write_landmarks(
        sidecar_path(path),
        {i: landmarker(None, i)[0].landmarks for i in range(FRAMES) if i not in (3, 4)},
    )
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [
            (p.pts, bytes(p))
            for p in container.demux(container.streams.audio[0])
            if p.dts is not None
        ]


def test_a_clip(run, spoken, tmp_path, capfd):
    output = tmp_path / "out.mp4"
    assert swap(run, "ada", spoken, output) == Count(FRAMES, 2)
    assert f"out.mp4: {FRAMES} frames, 2 without a face left unchanged" in capfd.readouterr().err
    info = video.probe(output)
    assert (info.width, info.height, info.frames, float(info.rate)) == (SIZE, SIZE, FRAMES, RATE)
    assert packets(output) == packets(spoken)
    times = [[frame.time for frame in video.read_frames(path)] for path in (spoken, output)]
    np.testing.assert_allclose(*times)

    before, after = images(spoken), images(output)
    codec = np.abs(after - before)[[3, 4]].mean()
    assert codec < 1.5
    away = outside(
        spoken, 4
    )  # 2 x 2 pixels share a colour, and the codec's filters reach a little further
    assert np.abs(after - before)[away].mean() < 1.5
    inside = ~outside(spoken)
    assert np.abs(after - before)[inside].mean() > 5 * codec
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("method", ["multiband", "poisson", "none"])
def test_a_picture_changes_inside_the_face_only(run, clips, tmp_path, method):
    frame = next(video.read_frames(clips / "ben.mp4"))
    source, output = tmp_path / "ben.png", tmp_path / "out.PNG"
    write_picture(source, frame.image)
    landmarks = SidecarLandmarker(sidecar_path(clips / "ben.mp4"))(None, 0)[0].landmarks
    write_landmarks(sidecar_path(source), {0: landmarks})
    assert swap(run, "ada", source, output, method) == Count(1, 0)
    before, after = read_picture(source), read_picture(output)
    assert after.shape == before.shape
    changed = (before != after).any(axis=-1)
    polygon = align.polygon_mask(align.face_polygon(landmarks), SIZE, SIZE) > 0
    assert not changed[~polygon].any()
    assert changed[polygon].mean() > 0.5


def test_frames_outside_the_face_are_exact(clips):
    path = clips / "ada.mp4"
    frames, count = list(video.read_frames(path)), Count()
    landmarker = SidecarLandmarker(sidecar_path(path))

    def sometimes(image, index):
        return landmarker(image, index) if index != 9 else []

    swapped = list(swap_frames(iter(frames), sometimes, Model(invert, 32, step=0), "none", count))
    assert count == Count(FRAMES, 1)
    assert [(f.index, f.time) for f in swapped] == [(f.index, f.time) for f in frames]
    np.testing.assert_array_equal(swapped[9].image, frames[9].image)
    changed = np.stack([(a.image != b.image).any(-1) for a, b in zip(frames, swapped, strict=True)])
    assert not changed[outside(path)].any()
    assert changed[:9].any((1, 2)).all()


def test_the_network_that_changes_nothing_changes_nothing(clips):
    """The crop is finer than the face, so that an identity restores every pixel."""
    path = clips / "ada.mp4"
    frames = list(video.read_frames(path))
    landmarker = SidecarLandmarker(sidecar_path(path))
    for method in ("multiband", "none"):
        model = Model(lambda crops: crops, 256, step=0)
        swapped = list(swap_frames(iter(frames), landmarker, model, method, Count()))
        for before, after in zip(frames, swapped, strict=True):
            np.testing.assert_array_equal(before.image, after.image)


def test_blending_is_as_fine_as_the_face(clips):
    landmarks = SidecarLandmarker(sidecar_path(clips / "ada.mp4"))(None, 0)[0].landmarks
    for factor, expected in ((1, 64), (2, 128), (100, 1024), (0.1, 16)):
        transform = align.alignment_transform(landmarks * factor, 16, "eyes")
        assert blend_side(transform, 16) == expected
    assert blend_side(align.alignment_transform(landmarks, 256, "eyes"), 256) == 256


def test_a_model_needs_no_data(run, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["path"] = str(tmp_path / "gone")
    (workdir / "config.json").write_text(json.dumps(config))
    crops = np.random.default_rng(0).integers(0, 256, (3, RESOLUTION, RESOLUTION, 3), np.uint8)
    models = load_models(workdir)
    ada, ben = models["ada"], models["ben"]
    assert ada.resolution == RESOLUTION
    swapped = ada.transfer(crops)
    assert swapped.shape == crops.shape and swapped.dtype == np.uint8
    assert (swapped != ben.transfer(crops)).any()
    np.testing.assert_array_equal(swapped[:1], ada.transfer(crops[:1]))  # whatever shares the batch


def test_wrong_inputs_are_told(run, clips, spoken, tmp_path):
    clip, output = clips / "ben.mp4", tmp_path / "out.mp4"
    (tmp_path / "folder.mp4").mkdir()
    picture = tmp_path / "picture.png"
    write_picture(picture, np.zeros((SIZE, SIZE, 3), np.uint8))
    write_landmarks(sidecar_path(picture), {})
    empty = shutil.copytree(run, tmp_path / "empty", ignore=shutil.ignore_patterns("6", "8"))
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        ((run, "eve", clip, output), "has no persona 'eve'; it has ada, ben"),
        ((clips, "ada", clip, output), "holds no run; give the folder that was --workdir"),
        ((tmp_path / "nowhere", "ada", clip, output), "nowhere' holds no run"),
        ((empty, "ada", clip, output), "has no checkpoint yet"),
        (
            (run, "ada", clip, output, "paste"),
            "no blending 'paste'; choose one of multiband, none, poisson",
        ),
        (
            (run, "ada", clip, tmp_path / "out.gif"),
            r"out.gif' cannot hold the result; .* ends in .mp4, .mov, .mkv",
        ),
        ((run, "ada", picture, output), "cannot hold the result; .*png"),
        (
            (run, "ada", clip, tmp_path / "no" / "out.mp4"),
            "The folder '.*no' does not exist; make it first",
        ),
        ((run, "ada", clip, tmp_path / "folder.mp4"), "folder.mp4' is a folder"),
        ((run, "ada", clip, clip), "is the input itself; choose another name for --output"),
        ((run, "ada", tmp_path / "nowhere.mp4", output), "nowhere.mp4 does not exist"),
        ((run, "ada", picture, tmp_path / "out.png"), "None of the 1 frames shows a face"),
    ):
        with pytest.raises(InputError, match=message):
            swap(*arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_clip_without_a_face_leaves_no_file(run, clips, tmp_path):
    clip = shutil.copy(clips / "ben.mp4", tmp_path / "ben.mp4")
    write_landmarks(sidecar_path(clip), {})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=f"None of the {FRAMES} frames shows a face"):
        swap(run, "ada", clip, tmp_path / "out.mp4")
    assert sorted(tmp_path.iterdir()) == before
