"""The bench as a whole: what it writes, and what it refuses."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from data_pipelines.records import MANIFEST
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import bench
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.faces import mel
from faceswap_jax.faces.picture import read_picture
from tests.support.frozen import write_detector
from tests.support.generators import PosingGenerator
from tests.support.puppets import describe_clips
from tests.support.tiny_run import FRAMES, RATE, SIZE

METHODS = ("multiband", "none")
KINDS = ("self", "cross")
FEATURES = mel.STEPS * mel.BANDS
WHOLE_ROWS = [
    "copy",
    "nearest frame",
    "1 source",
    "3 sources",
    "8 sources",
    "ceiling",
    "truth",
    "control",
]
ROWS = ["do nothing", "swap", "swap --blend none", "ceiling", "ceiling --blend none", "truth"]


@pytest.fixture(scope="module")
def output(run, clips, tmp_path_factory):
    """What the bench has made of the tiny run, which is shown in W&B, and of its own clips."""
    folder = tmp_path_factory.mktemp("bench")
    workdir = shutil.copytree(run, folder / "run")
    data = shutil.copytree(clips, folder / "held_out")
    describe_clips(SIZE, FRAMES, RATE).save(data)
    config = configs.load(workdir / "config.json")
    config.run.wandb = "faces"
    configs.save(config, workdir / "config.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        made = evaluate(workdir, data, METHODS)
    assert made == workdir / "evaluation" / "held_out" / "step_8"
    return made


@pytest.fixture(scope="module")
def scores(output):
    return json.loads((output / "scores.json").read_text())


def test_every_pair_and_row_is_scored(scores):
    assert list(scores["pairs"]) == ["ben as ada", "ada as ben"] and scores["step"] == 8
    for means in (scores["overall"], *scores["pairs"].values()):
        assert list(means) == ROWS
        assert means["truth"]["psnr"]["mean"] == 100
        assert means["truth"]["ssim"]["mean"] == pytest.approx(1)
        ceiling, nothing = means["ceiling --blend none"], means["do nothing"]
        assert ceiling["ssim"]["mean"] > nothing["ssim"]["mean"]
    for row in ROWS:
        each = [pair[row]["psnr"]["mean"] for pair in scores["pairs"].values()]
        assert scores["overall"][row]["psnr"]["mean"] == pytest.approx(np.mean(each))


def test_tables_clips_and_grid_are_written(output):
    lines = (output / "scores.md").read_text().splitlines()
    assert "## By pair: swap" in lines
    assert sum(line.startswith("| ben as ada |") for line in lines) == len(ROWS)
    height, width, _ = read_picture(output / "grid.png").shape
    assert height > 2 * 2 * 128 and width > 6 * 128  # two faces of each pair, with room for labels
    assert sorted(path.name for path in (output / "clips").iterdir()) == [
        f"{name}.mp4_as_{persona}_{method}.mp4"
        for name, persona in (("ada", "ben"), ("ben", "ada"))
        for method in METHODS
    ]


def test_the_board_shows_the_table_of_means(output, scores):
    (table,) = (output.parents[2] / "wandb").glob("offline-run-*/files/media/table/bench/*.json")
    shown = json.loads(table.read_text())
    assert shown["columns"] == ["score", *scores["overall"]]
    assert [row[0] for row in shown["data"]] == list(scores["scores"].values())
    for row, name in zip(shown["data"], scores["scores"], strict=True):
        means = [means[name]["mean"] for means in scores["overall"].values()]
        assert row[1:] == pytest.approx(means)


def test_wrong_inputs_are_told(run, clips, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / MANIFEST).write_text("{}")
    others = shutil.copytree(clips, tmp_path / "others")
    PuppetClips(0, SIZE, RATE, (PuppetClip("ada.mp4", "eve", 5, 0, FRAMES),)).save(others)
    network = tmp_path / "net.onnx"
    for arguments, message in (
        ((run, clips, METHODS, network), f"{network}"),
        ((run, others, METHODS, network), f"{others}.* puppets.* --embedder"),
        (
            (run, others, METHODS, None, None, None, None, network),
            "puppets.* leave --inception out",
        ),
        ((run, tmp_path / "nowhere"), "nowhere' is no folder"),
        ((run, empty), f"{empty}.* no clip"),
        ((run, prepared), f"{prepared}.* prepared faces; give .*clips"),
        ((run, clips, ("paste",)), "'paste'.* multiband, none, poisson"),
        ((tmp_path, clips), f"{tmp_path}.* neither a run"),
        ((run, others), f"{others}.* no persona of .*{run}.*ada, ben"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(*arguments)
    assert not (run / "evaluation").exists()


def test_whole_images_are_driven_by_everybody(run, clips, monkeypatch, tmp_path):
    """A generator that shows the driving face, whoever is asked for."""
    workdir, data = tmp_path / "run", shutil.copytree(clips, tmp_path / "clips")
    workdir.mkdir()
    shutil.copy(run / "config.json", workdir)
    describe_clips(SIZE, FRAMES, RATE).save(data)
    generator = PosingGenerator(np.copy, 32, "box", "whole", personas=(), step=7)
    monkeypatch.setattr(bench, "load", lambda *_: generator)
    with pytest.raises(InputError, match=f"{workdir}.* whole images.* --blend"):
        evaluate(workdir, data, METHODS)
    write_detector(tmp_path / "detector")
    with pytest.raises(InputError, match=f"{workdir}.* whole images.* --detector"):
        evaluate(workdir, data, detector=tmp_path / "detector")
    assert bench._find_control(workdir, generator) is None
    control = generator.control(too_much=7)
    replace(control, digest="other").save(workdir)
    with pytest.raises(InputError, match=r"weights of step 7.*fit-control"):
        evaluate(workdir, data)
    replace(control, by_sound=np.zeros((FEATURES, 3)).tolist()).save(workdir)
    output = evaluate(workdir, data)
    assert output == workdir / "evaluation" / "clips" / "step_7"
    means = {kind: json.loads((output / kind / "scores.json").read_text()) for kind in KINDS}
    assert list(means["self"]["pairs"]) == ["ada driven by ada", "ben driven by ben"]
    assert list(means["cross"]["pairs"]) == ["ada driven by ben", "ben driven by ada"]
    for kind in KINDS:
        assert list(means[kind]["overall"]) == WHOLE_ROWS
        assert read_picture(output / kind / "grid.png").shape[1] > 7 * 128
    # Everybody drives the own face well.
    driven = means["self"]["overall"]
    for score in ("l1", "psnr", "ssim"):
        expected = driven["ceiling"][score]["mean"]
        assert driven["1 source"][score]["mean"] == pytest.approx(expected, rel=0.25)
    assert driven["1 source"]["l1"]["mean"] < driven["nearest frame"]["l1"]["mean"]
    assert driven["truth"]["l1"]["mean"] == 0
    assert means["cross"]["overall"]["1 source"]["l1"]["mean"] > driven["1 source"]["l1"]["mean"]
    told = driven["control"]
    assert told["yaw"]["mean"] == pytest.approx(7, abs=3) and told["roll"]["mean"] < 3
    assert told["l1"]["mean"] is None
    # Sound drives nothing here.
    spoken = json.loads((output / "sound" / "scores.json").read_text())
    assert len(spoken["pairs"]) == 4 and list(spoken["overall"])[1] == "by sound"
