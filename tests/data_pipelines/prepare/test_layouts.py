"""Tests of the layouts on trees of empty files: nothing here opens a clip."""

import itertools
import math
import os
import pickle
import random
import unicodedata
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import draw_videos, find_clips, identity_splits
from tests.support.trees import error_of, make, names

# Files and folders.


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


# Names.


def test_accents_are_one_persona_however_they_are_written(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Zoé") for form in ("NFC", "NFD"))
    (clip,) = find_clips([make(tmp_path / decomposed, "a.mp4")]).clips
    assert clip.persona == composed and clip.path.exists()
    make(tmp_path, f"{composed}.mp4", f"people/{composed}/a.mp4", f"people/{decomposed}/a.mp4")
    assert f"second input for persona {composed}" in error_of(
        tmp_path / decomposed, tmp_path / f"{composed}.mp4"
    )
    assert f"are both named {composed}" in error_of(tmp_path / "people")


def test_personas_that_differ_only_by_case(tmp_path):
    make(tmp_path, "ann.mp4", "others/Ann/a.mp4", "ANN/a.mp4")
    for inputs in itertools.permutations([tmp_path / "ann.mp4", tmp_path / "others"]):
        message = error_of(*inputs)
        assert "Ann of" in message and "ann of" in message and "differ only by case" in message


@pytest.mark.parametrize("name", [".ann", "a" * 201, "é" * 101, b"J\xfcrgen", "a\nb", "a\x7f"])
def test_names_that_cannot_name_files(tmp_path, name):
    folder = os.fsencode(tmp_path) + b"/" + os.fsencode(name)
    os.mkdir(folder)
    open(folder + b"/a.mp4", "w").close()
    message = error_of(Path(os.fsdecode(folder)))
    assert "cannot name files; give it a name of at most 200 bytes" in message


def test_a_long_name_that_can(tmp_path):
    assert find_clips([make(tmp_path / ("é" * 100), "a.mp4")]).clips[0].persona == "é" * 100


def test_a_clip_whose_name_is_no_text(tmp_path):
    make(tmp_path, "ann/a.mp4")
    open(os.fsencode(tmp_path) + b"/ann/caf\xe9.mp4", "w").close()
    assert "caf\\xe9.mp4' is not UTF-8 text; rename it" in error_of(tmp_path / "ann")


# Tables of parts.


def table(folder: Path, *lines: str, header: str = "path,persona,start,end") -> Path:
    path = folder / "parts.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_table_of_parts(tmp_path, monkeypatch):
    make(tmp_path, "a b.mp4", "sub/c.mp4", "photo.png", "far/d.mov")
    path = table(
        tmp_path,
        "a b.mp4,ann,10,12.5",
        "",
        '"a b.mp4", "ann",2 , 10',
        "./a b.mp4,bob,20,",
        "sub/c.mp4,,,",
        "photo.png,ann,,",
        f"{tmp_path}/far/d.mov,ann,,3",
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as spreadsheets write it
    monkeypatch.chdir(tmp_path / "sub")
    far = f"ann/{tmp_path}/far/d.mov"
    expected = [
        Clip(tmp_path / "far/d.mov", "ann", f"{far}#t=0,3", 0.0, 3.0, far),
        Clip(tmp_path / "a b.mp4", "ann", "ann/a b.mp4#t=2,10", 2.0, 10.0, "ann/a b.mp4"),
        Clip(tmp_path / "a b.mp4", "ann", "ann/a b.mp4#t=10,12.5", 10.0, 12.5, "ann/a b.mp4"),
        Clip(tmp_path / "photo.png", "ann", "ann/photo.png", 0.0, math.inf, "ann/photo.png"),
        Clip(tmp_path / "a b.mp4", "bob", "bob/a b.mp4#t=20", 20.0, math.inf, "bob/a b.mp4"),
        Clip(tmp_path / "sub/c.mp4", "c", "c/sub/c.mp4", 0.0, math.inf, "c/sub/c.mp4"),
    ]
    assert find_clips([path]).clips == expected
    relative = find_clips([Path("../parts.csv")]).clips
    assert [clip.path.resolve() for clip in relative] == [clip.path for clip in expected]
    table(tmp_path, "12.5,10,ann,a b.mp4", header="end,start,persona,path")
    assert find_clips([path]).clips == [expected[2]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a.mp4,ann,0", "There are 3 cells in line 3 of"),
        ("a.mp4,ann,0,1,2", "There are 5 cells in line 3 of"),
        ("a.mp4,ann,0,1:30", "'1:30' in line 3 of"),
        ("a.mp4,ann,-1,", "'-1' in line 3 of"),
        ("a.mp4,ann,inf,", "'inf' in line 3 of"),
        ("a.mp4,ann,nan,", "'nan' in line 3 of"),
        ("a.mp4,ann,2,2", "line 3 of PATH starts at 2 s and ends at 2 s"),
        (",ann,,", "The path '' in line 3 of PATH names no clip or picture"),
        ("notes.txt,ann,,", "The path 'notes.txt' in line 3 of PATH names no clip or picture"),
        ("photo.png,ann,0,1", "line 3 of PATH is a picture, which has no times"),
        ("a.mp4,x/y,0,1", "The persona 'x/y' of line 3 of PATH cannot name files"),
        ("a.mp4,..,0,1", "The persona '..' of line 3 of PATH cannot name files"),
        ("a.mp4,a\0b,0,1", "of line 3 of PATH cannot name files"),
        ('a.mp4,"ann"x,0,1', "Line 3 of PATH is no CSV"),
        ('a.mp4,"ann,0,1', "of PATH is no CSV"),
        ("a.mp4,ann,99,101", "Lines 2 and 3 of PATH overlap in"),
        ("./a.mp4,bob,,", "Lines 2 and 3 of PATH overlap in"),
        ("gone.mp4,ann,,", "1 of the 2 files that PATH names do not exist, the first is"),
    ],
)
def test_malformed_rows(tmp_path, line, problem):
    make(tmp_path, "a.mp4", "photo.png", "notes.txt")
    path = table(tmp_path, "a.mp4,ann,100,200", line)
    assert problem in error_of(path).replace(os.fspath(path), "PATH")


def test_malformed_tables(tmp_path):
    path = table(make(tmp_path, "a.mp4"), "a.mp4,ann,0,1,x", header="path,persona,start,end,note")
    assert (
        "is 'path,persona,start,end,note'; it must be the header path,persona,start,end."
        in error_of(path)
    )
    table(tmp_path, header=",".join(["frame", *(f"x{i},y{i}" for i in range(68))]))
    assert len(error_of(path)) < len(os.fspath(path)) + 200
    table(tmp_path, "\n")
    assert "names no clip; add a line for each" in error_of(path)
    path.write_bytes(b"")
    assert f"Line 1 of {path} is ''" in error_of(path)
    path.write_text("path,persona,start,end\na.mp4,Jürgen,,\n", encoding="latin-1")
    assert f"{path} is not UTF-8 text" in error_of(path)


def test_a_table_and_a_folder_are_merged(tmp_path):
    make(tmp_path, "people/bob/b.mp4", "a.mp4")
    path = table(tmp_path, "a.mp4,ann,0,1")
    assert [clip.persona for clip in find_clips([tmp_path / "people", path]).clips] == [
        "ann",
        "bob",
    ]
    table(tmp_path, "a.mp4,bob,0,1")
    assert "parts.csv is the second input for persona bob" in error_of(tmp_path / "people", path)


# Draws.


def clips_of(persona: str, videos: int, parts: int = 2) -> list[Clip]:
    return [
        Clip(Path(f"{v}.mp4"), persona, f"{persona}/{v}.mp4#t={p}", p, p + 1, str(v))
        for v in range(videos)
        for p in range(parts)
    ]


def test_videos_are_drawn_whole_and_by_identity():
    ann, bob = clips_of("ann", 12), clips_of("bob", 3)
    drawn = draw_videos(ann + bob, 5, seed=1)
    assert Counter(clip.persona for clip in drawn) == {"ann": 10, "bob": 6}
    assert all(
        count == 2 for count in Counter((clip.persona, clip.video) for clip in drawn).values()
    )
    assert [clip for clip in ann + bob if clip in drawn] == drawn

    backwards = draw_videos([*reversed(ann), *clips_of("eve", 9)], 5, seed=1)
    assert {clip.name for clip in backwards if clip.persona == "ann"} == {
        c.name for c in drawn if c.persona == "ann"
    }
    assert {clip.name for clip in draw_videos(ann, 4, seed=1)} < {clip.name for clip in drawn}
    assert draw_videos(ann + bob, 0, seed=1) == ann + bob


def test_every_video_is_as_likely():
    counts = Counter(
        clip.video for seed in range(400) for clip in draw_videos(clips_of("ann", 8, 1), 2, seed)
    )
    assert len(counts) == 8 and all(
        70 < count < 130 for count in counts.values()
    )  # 100 +- 3.5 sigma


@pytest.mark.parametrize(
    "percent", [(100, 0, 0), (75, 15, 10), (34, 33, 33), (80, 0, 20), (1, 50, 49), (0, 50, 50)]
)
def test_splits_have_exact_counts(percent):
    for count in [0, 1, 2, 3, 7, 40, 100, 333]:
        personas = [f"p{i}" for i in range(count)]
        splits = identity_splits(personas, percent, seed=3)
        assert list(splits) == sorted(personas)
        assert (
            identity_splits(random.Random(count).sample(personas, count), percent, seed=3) == splits
        )
        counts = [list(splits.values()).count(split) for split in ("train", "validation", "test")]
        assert not count or not percent[0] or counts[0]
        shares = [Fraction(count * share, 100) for share in percent]
        assert all(
            abs(got - share) < 1 or min(shares) < 1
            for got, share in zip(counts, shares, strict=True)
        )
        assert all(got == share for got, share in zip(counts, shares, strict=True) if count == 100)
        assert all(share or not got for got, share in zip(counts, shares, strict=True))


def test_splits_depend_on_the_seed():
    personas = [f"p{i}" for i in range(50)]
    tests = [
        {p for p, split in identity_splits(personas, (80, 0, 20), seed).items() if split == "test"}
        for seed in (0, 1)
    ]
    assert tests[0] != tests[1] and len(tests[0]) == len(tests[1]) == 10
