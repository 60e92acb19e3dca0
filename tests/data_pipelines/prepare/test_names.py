"""Tests of the names that personas and clips may have."""

import itertools
import os
import unicodedata
from pathlib import Path

import pytest

from data_pipelines.prepare.layouts import find_clips
from tests.support.trees import error_of, make


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
