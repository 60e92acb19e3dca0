"""Folders of puppets' clips: what they hold, that they are finished or continued, and what is refused."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from data_pipelines.puppets import dataset
from data_pipelines.puppets.dataset import CLIPS, PuppetClip, PuppetClips, write_clips
from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.errors import InputError
from faceswap_jax.faces.video import read_frames
from tests.support.folders import files

NAMED = PuppetClips(
    world_seed=0,
    size=32,
    rate=8.0,
    clips=(PuppetClip("ada/00.mp4", "ada", 0, 4, 3), PuppetClip("ben.mp4", "ben", 1, 5, 2)),
)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_folder_tells_how_to_render_its_truth(tmp_path, processes):
    folder = tmp_path / "clips"
    write_clips(folder, NAMED, processes)
    assert sorted(files(folder)) == [
        "ada/00.mp4",
        "ada/00.mp4.landmarks.csv",
        "ben.mp4",
        "ben.mp4.landmarks.csv",
        CLIPS,
    ]
    loaded = PuppetClips.load(folder)
    assert loaded == NAMED
    for clip in loaded.clips:
        pictures = [frame.image for frame in read_frames(folder / clip.file)]
        assert len(pictures) == clip.frames
        for index, picture in enumerate(pictures):
            true = render_frame(
                loaded.world_seed, clip.persona, clip.track, index, loaded.size, loaded.rate
            )
            assert np.abs(picture.astype(int) - true.image).mean() < 5


def test_usual_names():
    clips = PuppetClips.regular(7, range(3, 5), range(2, 4), 5, 32, 25.0)
    assert [
        (clip.file, clip.name, clip.persona, clip.track, clip.frames) for clip in clips.clips
    ] == [(f"puppet{p:03}/{t:02}.mp4", f"puppet{p:03}", p, t, 5) for p in (3, 4) for t in (2, 3)]
    assert (clips.world_seed, clips.size, clips.rate) == (7, 32, 25.0)


def test_what_is_there_is_left_alone(tmp_path):
    write_clips(tmp_path, NAMED)
    before = files(tmp_path)
    (tmp_path / "ben.mp4").unlink()
    (tmp_path / "ada" / ".00.123.partial.mp4").touch()
    with pytest.raises(
        InputError, match=r"ben.mp4 is missing; run the `faceswap puppets` that made it again"
    ):
        PuppetClips.load(tmp_path)
    write_clips(tmp_path, NAMED)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert {"ben.mp4"} <= changed <= {"ben.mp4", "ben.mp4.landmarks.csv", CLIPS}


def test_a_killed_run_leaves_nothing_half_written_and_goes_on(tmp_path):
    folder = tmp_path / "clips"
    puppets = PuppetClips.regular(0, range(1), range(3), 20, 64, 25.0)
    process = multiprocessing.get_context("spawn").Process(
        target=write_clips, args=(folder, puppets, 1)
    )
    process.start()
    while not list(folder.rglob("[!.]*.mp4")):
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    done = [path for path in folder.rglob("*.mp4") if not path.name.startswith(".")]
    assert process.exitcode == -signal.SIGKILL and 1 <= len(done) < 3
    assert all(len(list(read_frames(path))) == 20 for path in done)
    write_clips(folder, puppets, 1)
    PuppetClips.load(folder)
    assert len(files(folder)) == 7


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(
        InputError, match="is not an empty folder; name another folder for the puppets"
    ):
        write_clips(tmp_path, NAMED)
    with pytest.raises(InputError, match="is not an empty folder"):
        write_clips(tmp_path / "mine.txt", NAMED)
    assert list(files(tmp_path)) == ["mine.txt"]
    folder = tmp_path / "clips"
    write_clips(folder, NAMED)
    before = files(folder)
    with pytest.raises(InputError, match="holds other puppets; name another folder"):
        write_clips(folder, dataclasses.replace(NAMED, world_seed=1))
    assert files(folder) == before
    with pytest.raises(InputError, match=r"cannot be written .*; name a folder elsewhere"):
        write_clips(tmp_path / "mine.txt" / "clips", NAMED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 33}, "is 33 px; it must be even"),
        ({"size": 8}, "is 8 px; it must be even and between 16 and 1024"),
        ({"size": 10**9}, "between 16 and 1024"),
        ({"rate": 0.0}, "rate of puppets is 0.0; it must lie between 1 and 240"),
        ({"rate": float("nan")}, "rate of puppets is nan"),
        ({"world_seed": -1}, "world_seed is -1; .* whole number"),
        ({"clips": ()}, "There are 0 puppet clips"),
        ({"clips": (PuppetClip("a.mp4", "a", -1, 0, 1),)}, "persona is -1; .* whole number"),
        ({"clips": (PuppetClip("a.mp4", "a", 0, 0, 0),)}, "has 0 frames; it must have 1 to 100000"),
        ({"clips": (PuppetClip("a.mp4", "a", 0, 0, 10**9),)}, "has 1000000000 frames"),
        (
            {"clips": (PuppetClip("../a.mp4", "a", 0, 0, 1),)},
            "'../a.mp4' is no .mp4 file within its folder",
        ),
        (
            {"clips": (PuppetClip("/a.mp4", "a", 0, 0, 1),)},
            "'/a.mp4' is no .mp4 file within its folder",
        ),
    ],
)
def test_values_that_make_no_sense(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(NAMED, **change)
    content = dataclasses.asdict(NAMED) | {
        key: [vars(clip) for clip in value] if key == "clips" else value
        for key, value in change.items()
    }
    (tmp_path / CLIPS).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        PuppetClips.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"world_seed": 0, "size": 32, "rate": 8, "clips": [{}]}']
)
def test_a_damaged_table(tmp_path, text):
    with pytest.raises(
        InputError, match=r"has no puppets.json; make puppets with `faceswap puppets"
    ):
        PuppetClips.load(tmp_path)
    (tmp_path / CLIPS).write_text(text)
    with pytest.raises(
        InputError, match=r"puppets.json is damaged .*; make the puppets anew in another folder"
    ):
        PuppetClips.load(tmp_path)


def test_a_process_that_dies_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "write_clip", _die)
    with pytest.raises(
        InputError, match=r"ended with exit code 7, .* run the same command again with fewer"
    ):
        write_clips(tmp_path / "clips", NAMED, processes=2)


def _die(*_):
    os._exit(7)
