"""The protocol of a thesis on transfer: its columns, its rows, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import acting, protocol
from faceswap_jax.evaluation.acting import read_actor
from faceswap_jax.evaluation.protocol import PUBLISHED, WARNING, evaluate_transfer, score_transfer
from faceswap_jax.evaluation.whole_without_truth import WholeClips
from faceswap_jax.faces.picture import read_picture
from tests.evaluation.test_action_units import write_network
from tests.support.bench import LARGE, SEEN
from tests.support.generators import PixelGenerator, SidedGenerator
from tests.support.tiny_run import RATE

OWN = ["copy", "nearest frame", "driving"]


class Telling(PixelGenerator):
    """Keeps what it is told of people."""

    def identity(self, who):
        self.told = len(who.pictures)


class TellingSides(SidedGenerator, Telling):
    """The same, whose latents count from a face at rest."""


def whole(kind=Telling, **changes):
    """Shows the driving face, whoever is asked for."""
    return kind(np.copy, 64, "box", "whole", personas=(), **changes)


@pytest.fixture
def systems(run, tmp_path, monkeypatch):
    """Folders of runs, and what makes the images of each."""
    found = {"transfer": whole(step=7), "inversion": whole(TellingSides, step=5)}
    for name in found:
        (tmp_path / name).mkdir()
        shutil.copy(run / "config.json", tmp_path / name)
    monkeypatch.setattr(protocol, "load", lambda folder, step: found[folder.name])
    # Networks take their time.
    monkeypatch.setattr(acting, "DRIVING", 3)
    return found


def test_puppets_and_systems_are_rows_beside_those_of_the_thesis(large, systems, tmp_path):
    data, _ = large
    workdir = tmp_path / "transfer"
    config = configs.load(workdir / "config.json")
    config.identities = ("ben", "eve")
    configs.save(config, workdir / "config.json")
    folder = evaluate_transfer(workdir, data, [tmp_path / "inversion"])
    assert folder == workdir / "evaluation" / data.name / "step_7" / "transfer"
    rows = [*OWN, "transfer, step 7", "inversion, step 5", "ceiling", "truth"]

    scores = json.loads((folder / "scores.json").read_text())
    assert list(scores["pairs"]) == ["ada driven by ben", "ben driven by ada"]
    assert list(scores["overall"]) == rows
    means = {
        row: {name: interval["mean"] for name, interval in of_row.items()}
        for row, of_row in scores["overall"].items()
    }
    # Both systems show the driver: the pose is right, the person wrong.
    assert means["truth"]["pose"] < 5 and means["truth"]["aspects"] == pytest.approx(1)
    assert means["transfer, step 7"]["pose"] < means["copy"]["pose"]
    assert means["transfer, step 7"]["identity"] < means["copy"]["identity"]
    # Puppets have no cosines, and no action units.
    assert all(row["cosine"] is None and row["units"] is None for row in means.values())
    assert read_picture(folder / "grid.png").shape[1] > 6 * 128

    text = (folder / "table.md").read_text()
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    heads, _, *table = lines
    assert [head.split(" (")[0] for head in heads[1:5]] == [
        "pose",
        "aspect ratios",
        "action units",
        "identity",
    ]
    assert [line[0].removeprefix("| ") for line in table] == [*rows, *PUBLISHED]
    assert table[-1][1:5] == ["7.673", "0.620", "0.142", "0.801"]
    assert WARNING in text
    assert "transfer was trained on people of these names" in text and "out: ben." in text


def test_who_is_shown_is_told_by_one_picture_or_as_a_face_at_rest(large, systems, tmp_path):
    data, _ = large
    evaluate_transfer(tmp_path / "transfer", data, [tmp_path / "inversion"], output=tmp_path / "o")
    assert systems["transfer"].told == 1
    # A third of the clip, which has fewer frames than would be taken.
    assert systems["inversion"].told == SEEN // 3
    assert all(edit is not None for edit in systems["inversion"].edits)


def test_real_people_have_cosines_and_with_a_network_action_units(large, systems, tmp_path):
    data, _ = large
    units = protocol.ActionUnits(write_network(tmp_path / "units.onnx"))
    judge = WholeClips(data, units=units)
    actors = [read_actor(clip, "box", 128) for clip in judge.clips()]
    scored = score_transfer(judge, {"transfer": systems["transfer"]}, actors)
    assert scored.scores["cosine"].title == "identity (CSIM, SFace)"
    assert list(scored.results) == ["ada driven by ben", "ben driven by ada"]
    (compared,) = scored.results["ada driven by ben"]
    means = {
        row: {name: np.nanmean(value) for name, value in values.items()}
        for row, values in compared.rows.items()
    }
    assert list(means) == [*OWN, "transfer"]
    assert means["driving"]["pose"] == 0 and means["driving"]["aspects"] == pytest.approx(1)
    assert means["driving"]["units"] == pytest.approx(1)
    assert means["copy"]["units"] < means["transfer"]["units"]
    assert means["copy"]["cosine"] > means["driving"]["cosine"]
    assert means["transfer"]["cosine"] < means["copy"]["cosine"]
    assert means["copy"]["pose"] > means["transfer"]["pose"]


def test_what_cannot_be_compared_is_told(large, systems, tmp_path):
    data, _ = large
    workdir, other = tmp_path / "transfer", tmp_path / "inversion"
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in data.glob("ada*"):
        shutil.copy(path, alone)
    PuppetClips(0, LARGE, RATE, (PuppetClip("ada.mp4", "ada", 0, 0, SEEN),)).save(alone)
    network = write_network(tmp_path / "units.onnx")
    with pytest.raises(InputError, match=f"{alone}' shows ada alone.* two or more"):
        evaluate_transfer(workdir, alone)
    with pytest.raises(InputError, match=f"{data}' holds puppets.* leave --action_units out"):
        evaluate_transfer(workdir, data, units=network)
    with pytest.raises(InputError, match=f"be called 'transfer, step 7', as '{workdir}' is"):
        evaluate_transfer(workdir, data, [workdir])
    for changes, message in (
        ({"placement": "blended"}, f"'{other}' makes faces for others' frames"),
        ({"alignment": "eyes"}, "cut faces as 'box' and as 'eyes'"),
        ({"inputs": ("sound",)}, "this run hears"),
    ):
        systems["inversion"] = whole()
        for name, value in changes.items():
            setattr(systems["inversion"], name, value)
        with pytest.raises(InputError, match=message):
            evaluate_transfer(workdir, data, [other])
    assert not (workdir / "evaluation").exists()
