"""Data sets of everybody in every picture: their records, their table, a training on them."""

import csv
from dataclasses import replace

import ml_collections
import numpy as np
import pytest

from data_pipelines.datasets import open_data
from data_pipelines.prepare.tracks import face_record
from data_pipelines.prepare.verify import verify
from data_pipelines.records import SHARDS, Manifest, aligned_crop, decode, encode
from faceswap_jax.errors import InputError
from faceswap_jax.inference.clip import blend_side, put_face
from faceswap_jax.inference.generator import Faces, Who
from faceswap_jax.inference.who import faces_of, shown_in
from faceswap_jax.roles import synthesize as module
from faceswap_jax.roles.identities import distance
from faceswap_jax.roles.synthesize import synthesize
from faceswap_jax.roles.table import TABLE
from faceswap_jax.train import train
from tests.support import tiny_run
from tests.support.tiny_attribute import SIDE

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def inputs(stills, clips):
    """Two people, a clip and a picture."""
    return [stills], [clips / "ben.mp4", stills / "ada" / "7.png"]


@pytest.fixture(scope="module")
def made(lending, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "data"
    synthesize(lending, *inputs, folder)
    return folder


def records_of(folder, persona) -> list:
    described = {"kind": "tracks", "path": str(folder), "split": "train"}
    source = open_data(ml_collections.ConfigDict(described))[persona]
    return [source.read(i, decode) for i in range(len(source))]


def rows_of(folder) -> list[dict]:
    with (folder / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_a_data_set_of_everybody(made):
    manifest = Manifest.load(made)
    assert list(manifest.personas) == ["ada", "ben"]
    # The picture, and eight frames of the clip, which are a track
    assert manifest.personas["ada"].tracks == [1, 8]
    assert verify(made)


def test_a_record_is_the_picture_with_the_identity_that_was_lent(made, generator, stills):
    """What it shows lies where it lay."""
    (frame, face), *_ = faces_of([stills / "ada" / "7.png"])
    given = face_record(
        frame.image, face, SIDE, time=0, frame=0, persona="ben", clip="ben/7.png", track=0
    )
    record = records_of(made, "ben")[0]
    assert (record.persona, record.clip, record.frame) == ("ben", "ben/7.png", 0)
    np.testing.assert_array_equal(record.landmarks, given.landmarks)

    shown = shown_in(faces_of(sorted((stills / "ben").glob("*.png"))), generator)
    identity = generator.identity(Who(pictures=shown.pictures))
    crop = aligned_crop(given, SIDE, "eyes")
    (image,) = generator(identity, Faces(crops=crop[None]))
    side = blend_side([given.landmarks], "eyes", SIDE)
    whole = put_face(given.image, image, given.landmarks, "eyes", side, "multiband", "wide")
    assert np.abs(whole.astype(int) - given.image).max() > 10
    stored = decode(encode(replace(given, image=whole)))
    np.testing.assert_allclose(record.image, stored.image, atol=2)


def test_the_table_tells_what_each_record_was_made_of(made, generator, stills):
    rows = rows_of(made)
    assert [row["identity"] for row in rows] == ["ada"] * 9 + ["ben"] * 9
    assert [row["record"] for row in rows] == [str(i) for i in range(9)] * 2
    assert [row["attributes"] for row in rows[:9]] == ["7.png"] + ["ben.mp4"] * 8
    assert [int(row["frame"]) for row in rows[1:9]] == [0, 1, 2, 3, 5, 6, 7, 9]

    shown = shown_in(faces_of(sorted((stills / "ben").glob("*.png"))), generator)
    lent = generator.identity(Who(pictures=shown.pictures))["identity"]
    for row, record in zip(rows[9:], records_of(made, "ben"), strict=True):
        crop = aligned_crop(record, SIDE, "eyes")
        (told,) = generator.features("identity", crop[None])
        assert float(row["to_lent"]) == pytest.approx(float(distance(told, lent)), abs=1e-3)
    # Of SFace's own: a picture of Ben's beside others of his, and of Ada's
    assert float(rows[10]["sface_before"]) < float(rows[9]["sface_before"])


def test_a_training_takes_it(made, tmp_path):
    c = tiny_run.experiment(made)
    c.update(level_steps=(0, 0, 1))
    assert train(c, tmp_path / "run")


def test_an_interrupted_one_goes_on(lending, inputs, made, tmp_path, capfd, monkeypatch):
    def bytes_of(folder):
        return {path.name: path.read_bytes() for path in (folder / SHARDS).iterdir()}

    folder = tmp_path / "data"
    make = module.MadeClip.records

    def interrupted(clip, resolution):
        if clip.persona == "ben":
            raise KeyboardInterrupt
        return make(clip, resolution)

    monkeypatch.setattr(module.MadeClip, "records", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(lending, *inputs, folder)
    assert "1 of 2 shards are done; the same command goes on" in capfd.readouterr().err
    monkeypatch.undo()
    synthesize(lending, *inputs, folder)
    assert "1 done before" in capfd.readouterr().err
    assert bytes_of(folder) == bytes_of(made)
    assert (folder / TABLE).read_bytes() == (made / TABLE).read_bytes()

    # Started once more it has nothing to do, and after a change it makes all anew.
    before = (folder / TABLE).stat().st_mtime_ns
    synthesize(lending, *inputs, folder)
    assert (folder / TABLE).stat().st_mtime_ns == before
    synthesize(lending, *inputs, folder, "none")
    assert rows_of(folder) != rows_of(made)


def test_what_shows_no_face_is_left_out_or_refused(
    lending, run, clips, stills, faceless, tmp_path, capfd
):
    ada = [stills / "ada"]
    output = tmp_path / "data"
    table = tmp_path / "parts.csv"
    table.write_text("path\na.mp4\n")
    before = sorted(tmp_path.rglob("*"))
    for arguments, choices, message in (
        ((lending, [faceless], ada), {}, "faceless.png shows no face"),
        ((lending, ada, [faceless]), {}, "No picture or clip of --attributes shows a face"),
        ((lending, [table], ada), {}, "parts.csv is a table"),
        ((lending, [tmp_path / "gone"], ada), {}, "gone does not exist"),
        ((lending, ada, ada), {"resolution": 20}, "--resolution=20 cannot be used"),
        ((lending, ada, ada), {"method": "paste"}, "'paste'.* multiband"),
        ((run, ada, ada), {}, "does not tell identities as vectors"),
    ):
        with pytest.raises(InputError, match=message):
            synthesize(*arguments, output, **choices)
    assert sorted(tmp_path.rglob("*")) == before

    capfd.readouterr()
    synthesize(lending, ada, [faceless, *ada], output)
    assert "left out: " in capfd.readouterr().err and len(rows_of(output)) == 2
    with pytest.raises(InputError, match="holds ada too"):
        synthesize(lending, [stills / "ben"], ada, output)
