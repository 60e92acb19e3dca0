"""The bench of systems that are lent features."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipelines.clips import Clip
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.dataset import PuppetClip
from faceswap_jax.evaluation.bench import SHOWN, _tell_of_known, evaluate
from faceswap_jax.faces.picture import read_picture
from faceswap_jax.inference.trained import load
from tests.support.frozen import write_detector
from tests.support.puppets import describe_clips
from tests.support.tiny_attribute import write_run
from tests.support.tiny_run import FRAMES, RATE, SIZE

METHOD = ("none",)


@pytest.fixture(scope="module")
def output(lending, clips, tmp_path_factory):
    """What the bench makes of a run with both roles, and of three puppets."""
    folder = tmp_path_factory.mktemp("roles")
    data = shutil.copytree(clips, folder / "held_out")
    write_clip(data / "eve.mp4", 0, 2, 0, FRAMES, SIZE, RATE)
    two = describe_clips(SIZE, FRAMES, RATE)
    third = PuppetClip("eve.mp4", "eve", 2, 0, FRAMES)
    replace(two, clips=(*two.clips, third)).save(data)
    write_detector(folder / "detector")
    return evaluate(lending, data, METHOD, output=folder, detector=folder / "detector")


@pytest.mark.parametrize(
    ("role", "pair", "clip"),
    [
        ("identity", "ada as ben", "ada.mp4_as_ben_none.mp4"),
        ("expression", "ada with expression of ben", "ada.mp4_with_expression_of_ben_none.mp4"),
        (
            "both",
            "ada as ben with expression of eve",
            "ada.mp4_as_ben_with_expression_of_eve_none.mp4",
        ),
    ],
)
def test_everybody_lends_each_role_to_everybody_else(output, role, pair, clip):
    scores = json.loads((output / role / "scores.json").read_text())
    assert pair in scores["pairs"] and len(scores["pairs"]) == 6 < SHOWN
    rows = scores["overall"]
    assert {"do nothing", "swap --blend none", "ceiling --blend none", "truth"} == rows.keys()
    assert {"attributes", "glasses", "identity"} <= rows["truth"].keys()
    assert all(0 <= scores["area"]["mean"] <= 1 for scores in rows.values())
    assert clip in {path.name for path in (output / role / "clips").iterdir()}
    columns = 6 if role == "both" else 5
    height, width, _ = read_picture(output / role / "grid.png").shape
    assert height > 12 * 128 and columns * 128 < width < (columns + 2) * 128


def test_a_role_changes_what_is_expected_of_a_face(output):
    """Of an expression that is lent, the target has the wrong one, and the right person."""
    tables = {}
    for role in ("identity", "expression"):
        rows = json.loads((output / role / "scores.json").read_text())["overall"]
        tables[role] = {score: interval["mean"] for score, interval in rows["do nothing"].items()}
    identity, expression = tables["identity"], tables["expression"]
    assert expression["identity"] > identity["identity"] + 30
    assert expression["mouth"] > identity["mouth"] + 2
    assert expression["yaw"] == pytest.approx(identity["yaw"], abs=1)


def test_roles_make_different_results(output):
    made = {path.read_bytes() for path in output.glob("*/clips/ada.mp4_*")}
    assert len(made) == 6


def test_people_who_may_have_been_trained_on_are_told(tmp_path, capfd):
    workdir = write_run(tmp_path / "run", identities=("ada", "ben"))
    for name, told in (("ada", "ada: people of these names were trained on"), ("eve", "")):
        clips = [Clip(Path("a.mp4"), name, "a"), Clip(Path("b.mp4"), "zoe", "b")]
        _tell_of_known(workdir, load(workdir), clips)
        said = capfd.readouterr().err
        assert said.startswith(told) and bool(said) == bool(told)
