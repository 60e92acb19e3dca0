"""Tests of the layouts of folders, on trees of empty files: nothing here opens a clip."""

import math
import os
import pickle
import random
from pathlib import Path

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from tests.support.trees import error_of, make, names


def test_files_and_folders_of_one_persona(tmp_path):
    make(tmp_path, "ann.MP4", "ann.MP4.landmarks.csv")
    make(
        tmp_path / "bob [1]",
        "b.PNG",
        "a.mov",
        "a.mov.landmarks.csv",
        "c.mp4.landmarks.csv",
        "notes.txt",
        ".x.mp4",
    )
    make(tmp_path / "bob [1]", "._a.mov", ".cache/d.mp4", "papers/e.pdf")
    found = find_clips([tmp_path / "bob [1]", tmp_path / "ann.MP4"])
    folder = tmp_path / "bob [1]"
    assert found.clips == [
        Clip(tmp_path / "ann.MP4", "ann", "ann.MP4", 0.0, math.inf, "ann.MP4"),
        Clip(folder / "a.mov", "bob [1]", "bob [1]/a.mov", 0.0, math.inf, "bob [1]/a.mov"),
        Clip(folder / "b.PNG", "bob [1]", "bob [1]/b.PNG", 0.0, math.inf, "bob [1]/"),
    ]
    assert found.skipped == [
        folder / "c.mp4.landmarks.csv",
        folder / "notes.txt",
        folder / "papers" / "e.pdf",
    ]
    assert pickle.loads(pickle.dumps(found.clips)) == found.clips  # they travel to other processes


def test_numbered_pictures_are_one_clip(tmp_path):
    make(tmp_path, "ann.0001.exr", "ann.0002.exr", "bob/0001.png", "bob/0002.png", "cy/1.png")
    ann, bob, cy = tmp_path / "ann.%04d.exr", tmp_path / "bob/%04d.png#1-2", tmp_path / "cy@12"
    assert find_clips([ann, bob, cy]).clips == [
        Clip(ann, "ann", "ann.%04d.exr", 0.0, math.inf, "ann.%04d.exr"),
        Clip(bob, "bob", "%04d.png#1-2", 0.0, math.inf, "%04d.png#1-2"),
        Clip(cy, "cy", "cy@12", 0.0, math.inf, "cy@12"),
    ]
    # In a folder of a persona each counts for itself: photographs have numbers, too.
    assert len(find_clips([tmp_path / "bob"]).clips) == 2


def test_a_folder_per_persona(tmp_path):
    """Whatever the order in which files were made, and however deep they lie."""
    files = [
        "eva/b/2.mp4",
        "eva/b/10.mp4",
        "eva/a/1.mp4",
        "eva/a.mp4",
        "Zoé X/s/t/1.webm",
        "no one/a.pdf",
        "README",
    ]
    results = []
    for seed in range(3):
        root = make(tmp_path / str(seed) / "people", *random.Random(seed).sample(files, len(files)))
        found = find_clips([root])
        assert all(
            clip.path.is_file() and clip.path.parent.parent != tmp_path for clip in found.clips
        )
        results.append(
            (names(found.clips), [os.fspath(path.relative_to(root)) for path in found.skipped])
        )
    assert results == 3 * [
        (
            [("Zoé X", "Zoé X/s/t/1.webm")]
            + [
                ("eva", name)
                for name in ("eva/a.mp4", "eva/a/1.mp4", "eva/b/10.mp4", "eva/b/2.mp4")
            ],
            ["README", "no one/a.pdf"],
        )
    ]


def test_folders_without_a_name_of_their_own(tmp_path, monkeypatch):
    make(tmp_path, "eve/a.png", "eve/texts/a.txt")
    monkeypatch.chdir(tmp_path / "eve" / "texts")
    assert names(find_clips([Path("..")]).clips) == [("eve", "eve/a.png")]
    monkeypatch.chdir(tmp_path / "eve")
    (clip,) = find_clips([Path(".")]).clips
    assert clip.persona == "eve" and clip.path == Path("a.png")


def test_bad_inputs(tmp_path):
    make(
        tmp_path,
        "empty/",
        "texts/a.txt",
        "both/a.mp4",
        "both/x/y/b.mp4",
        "ann/a.mp4",
        "ann.mp4",
        "song.wav",
    )
    os.symlink("loop", tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.mp4")
    for inputs, problem in {
        (): "There is no input; name at least one clip",
        ("gone.mp4",): "gone.mp4 does not exist; check its name",
        ("ann.mp4/x.mp4",): "x.mp4 does not exist",
        ("empty",): "empty holds no clip or picture (.",
        ("texts",): "texts holds no clip or picture",
        ("both",): "both holds both clips, such as a.mp4, and a folder of clips, ",
        (
            "ann",
            "ann.mp4",
        ): "ann.mp4 is the second input for persona ann; rename one, or put both in one folder",
        ("ann", "ann"): "second input for persona ann",
        ("song.wav",): "song.wav is no folder, no CSV table and no clip or picture",
        ("pipe.mp4",): "pipe.mp4 is no folder",
        ("loop",): "loop cannot be read (Too many levels of symbolic links)",
    }.items():
        assert problem in error_of(*(tmp_path / name for name in inputs))


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    make(tmp_path, "people/ann/a.mp4", "people/bob/locked/b.mp4")
    locked, scan = tmp_path / "people" / "bob" / "locked", os.scandir

    def refusing(path):
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)  # the rights of files do not stop root
    assert f"{locked} cannot be read (Permission denied)" in error_of(tmp_path / "people")


def test_links(tmp_path):
    """Links are followed, loops end, nothing is there twice, and real folders win over links to them."""
    people = make(tmp_path / "people", "ann/a.mp4", "zoe/monday/z.mp4")
    elsewhere = make(tmp_path / "elsewhere", "deep/e.mp4")
    os.symlink(people, people / "ann" / "up")
    os.symlink("../zoe", people / "ann" / "friend")
    os.symlink("zoe", people / "Beth")
    os.symlink(elsewhere, people / "eve")
    os.symlink(tmp_path / "elsewhere" / "deep" / "e.mp4", people / "ann" / "b.mp4")
    os.symlink("nowhere", people / "ann" / "c.mp4")
    os.symlink("itself.mp4", people / "ann" / "itself.mp4")
    os.mkfifo(people / "ann" / "pipe.mp4")
    found = find_clips([people])
    assert [name for _, name in names(found.clips)] == [
        "ann/a.mp4",
        "ann/b.mp4",
        "eve/deep/e.mp4",
        "zoe/monday/z.mp4",
    ]
    skipped = ["Beth", "ann/c.mp4", "ann/friend", "ann/itself.mp4", "ann/pipe.mp4", "ann/up"]
    assert found.skipped == [people / name for name in skipped]
