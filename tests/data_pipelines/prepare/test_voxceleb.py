"""Tests of VoxCeleb's layouts on trees of empty files, with invented identities."""

import os
from pathlib import Path

import pytest

from data_pipelines.prepare.layouts import find_clips
from tests.support.trees import error_of, make, names

VOX2 = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ,\nid00012 ,n000012 ,m ,dev ,\nid00017 ,n000019 ,f ,test ,\n"
VOX1 = (
    "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    "id10001\tAnn_B._Bell\tf\tIreland\tdev\nid10002\tBob_Bell_Jr.\tm\tUK\tdev\n"
)


def vox2(root: Path) -> Path:
    for split, identity in (("dev", "id00012"), ("test", "id00017")):
        for name in ("21Uxsk56VDQ/00001", "21Uxsk56VDQ/00002", "_raOc3-IRsw/00110"):
            make(root, f"{split}/mp4/{identity}/{name}.mp4", f"{split}/aac/{identity}/{name}.m4a")
            make(root, f"{split}/txt/{identity}/{name}.txt")
    return root


def test_voxceleb2_from_any_of_its_levels(tmp_path):
    root = vox2(tmp_path / "vox2")
    whole = find_clips([root])
    assert whole.skipped == []
    assert [(clip.persona, clip.name, clip.video) for clip in whole.clips] == [
        (identity, f"{identity}/{name}.mp4", name.partition("/")[0])
        for identity in ("id00012", "id00017")
        for name in ("21Uxsk56VDQ/00001", "21Uxsk56VDQ/00002", "_raOc3-IRsw/00110")
    ]
    assert all(clip.path.is_file() for clip in whole.clips)
    for inputs in (
        ["dev", "test"],
        ["dev/mp4", "test/mp4"],
        ["dev/mp4/id00012", "test/mp4/id00017"],
    ):
        assert find_clips([root / name for name in inputs]) == whole
    (root / "vox2_meta.csv").write_text(VOX2)
    make(root, "README.md")
    assert find_clips([root]).clips == whole.clips and find_clips([root]).skipped == [
        root / "README.md"
    ]


def test_sound_alone_is_nothing(tmp_path):
    make(tmp_path, "dev/aac/id00012/21Uxsk56VDQ/00001.m4a")
    assert "holds no clip or picture" in error_of(tmp_path)


def test_vggface_names_stand_for_identifiers(tmp_path):
    """The layouts of VoxCeleb1's faces; some systems lose the dot at the end of a folder's name."""
    make(
        tmp_path,
        "faces/Ann_B._Bell/1.6/1zcIwhmdeo4/0000375.jpg",
        "faces/Bob_Bell_Jr/1.6/7gWzIy6yIIk/1/01.jpg",
    )
    (tmp_path / "vox1_meta.csv").write_text(VOX1)
    assert [(clip.persona, clip.name, clip.video) for clip in find_clips([tmp_path]).clips] == [
        ("id10001", "id10001/1.6/1zcIwhmdeo4/0000375.jpg", "1zcIwhmdeo4"),
        ("id10002", "id10002/1.6/7gWzIy6yIIk/1/01.jpg", "7gWzIy6yIIk"),
    ]
    (tmp_path / "vox1_meta.csv").write_text(
        VOX1.replace(" ID", "_ID").replace("\t", ",")
    )  # as others saved it
    assert len(find_clips([tmp_path]).clips) == 2
    make(
        tmp_path, "faces/id10003/1.6/abc/1.jpg"
    )  # known by its identifier, whatever the metadata hold
    assert len(find_clips([tmp_path]).clips) == 3
    make(tmp_path, "mp4/id10001/1zcIwhmdeo4/00001.mp4")
    assert "both give utterances of id10001" in error_of(tmp_path)
    make(tmp_path, "faces/Eve_Bell/1.6/abc/1.jpg")
    message = error_of(tmp_path)
    assert "Eve_Bell/1.6/abc/1.jpg lies among VoxCeleb data but belongs to no identity" in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lacks 'VoxCeleb ID'"),
        ("id00012,n000012\n", "lacks 'VoxCeleb ID'"),
        (VOX2 + "id18,n000020,m,dev\n", "'id18' in line 4 of"),
        (VOX2 + "id00018,n000012,m,dev\n", "gives the name n000012 to id00018 and id00012"),
    ],
)
def test_malformed_metadata(tmp_path, text, problem):
    root = vox2(tmp_path / "vox2")
    (root / "vox2_meta.csv").write_text(text)
    assert problem in error_of(root)


def describe(path: Path, first: int, last: int) -> None:
    """A text file as VoxCeleb has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{frame:06} \t223 \t80 \t130 \t130 \n" for frame in range(first, last + 1))
    head = f"Identity  : \t{path.parts[-3]}\nReference : \t{path.parts[-2]}\nOffset    : \t-1\nFV Conf   : \t17.997\n"
    path.write_text(f"{head}ASD Conf  : \t6.338\n\nFRAME \tX \tY \tW \tH \n{rows}\n\n")


@pytest.mark.parametrize("place", ["videos/{}.mp4", "txt/id10001/{}/{}.mp4", "id10001/{}.webm"])
def test_parts_of_full_videos(tmp_path, place):
    """The part holds exactly the frames of the table, wherever the video lies."""
    frames = {
        "1zcIwhmdeo4/00001": (85, 184),
        "1zcIwhmdeo4/00002": (1000, 1001),
        "gone-------/00001": (0, 9),
    }
    for name, (first, last) in frames.items():
        describe(tmp_path / "txt" / "id10001" / f"{name}.txt", first, last)
    make(tmp_path, place.format("1zcIwhmdeo4", "1zcIwhmdeo4"), "wav/id10001/1zcIwhmdeo4/00001.wav")
    found = find_clips([tmp_path])
    assert names(found.clips) == [
        ("id10001", "id10001/1zcIwhmdeo4/00001#t=3.4,7.4"),
        ("id10001", "id10001/1zcIwhmdeo4/00002#t=40,40.08"),
    ]
    assert found.skipped == [] and {clip.video for clip in found.clips} == {"1zcIwhmdeo4"}
    for clip, (first, last) in zip(found.clips, frames.values(), strict=False):
        assert clip.path.stem == "1zcIwhmdeo4" and clip.path.is_file()
        assert [n for n in range(2000) if clip.start <= n / 25 < clip.end] == list(
            range(first, last + 1)
        )


def test_texts_and_videos_that_do_not_fit(tmp_path):
    text = tmp_path / "txt" / "id10001" / "1zcIwhmdeo4" / "00001.txt"
    describe(text, 5, 9)
    assert (
        "none of their videos; add these, named by their identifiers, such as 1zcIwhmdeo4.mp4"
        in error_of(tmp_path)
    )
    make(tmp_path, "videos/1zcIwhmdeo4.mp4")
    for content, problem in {
        "Identity  : \tid10001\n": "it has no table of frames",
        "a\nFRAME \tX\n\n": "it has no table of frames",
        "a\nFRAME \tX\none \t2\n": "invalid literal",
        "a\nFRAME \tX\n9 \t2\n5 \t2\n": "it goes from frame 9 to 5",
    }.items():
        text.write_text(content)
        message = error_of(tmp_path)
        assert f"{text} does not describe an utterance" in message and problem in message
    describe(text, 5, 9)
    make(tmp_path, "txt/id10001/1zcIwhmdeo4/00001.mp4")
    folder = tmp_path / "txt" / "id10001"
    both = f"The clips in {folder} and the text files in {folder} both give utterances of id10001"
    assert both in error_of(tmp_path)
    os.remove(folder / "1zcIwhmdeo4" / "00001.mp4")
    make(tmp_path, "videos/1zcIwhmdeo4.webm")
    assert "are named as the same video" in error_of(tmp_path)
    os.rename(tmp_path / "videos/1zcIwhmdeo4.webm", tmp_path / "videos/another.webm")
    assert "another.webm lies among VoxCeleb data but belongs to no identity" in error_of(tmp_path)


def test_personas_that_are_named_like_identities(tmp_path):
    """Beside others they are personas; deeper in a tree that has others it is unclear what they are."""
    make(tmp_path, "people/id00001/monday/a.mp4", "people/id00002/b.mp4", "people/ann/c.mp4")
    assert names(find_clips([tmp_path / "people"]).clips) == [
        ("ann", "ann/c.mp4"),
        ("id00001", "id00001/monday/a.mp4"),
        ("id00002", "id00002/b.mp4"),
    ]
    assert "c.mp4 lies among VoxCeleb data" in error_of(tmp_path)
