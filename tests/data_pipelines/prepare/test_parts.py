"""Tests of tables of parts."""

import math
import os
from pathlib import Path

import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from tests.support.trees import error_of, make


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
