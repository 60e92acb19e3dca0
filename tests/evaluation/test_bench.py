"""The bench as a whole: what it writes, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from data_pipelines.records import MANIFEST
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import bench
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.faces.picture import read_picture
from tests.support.generators import PixelGenerator
from tests.support.puppets import describe_clips
from tests.support.tiny_run import FRAMES, RATE, SIZE

METHODS = ("multiband", "none")
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
        ((run, tmp_path / "nowhere"), "nowhere' is no folder"),
        ((run, empty), f"{empty}.* no clip"),
        ((run, prepared), f"{prepared}.* prepared faces; give .*clips"),
        ((run, clips, ("paste",)), "'paste'.* multiband, none, poisson"),
        ((tmp_path, clips), f"{tmp_path}.* no run"),
        ((run, others), f"{others}.* no persona of .*{run}.*ada, ben"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(*arguments)
    assert not (run / "evaluation").exists()


def test_whole_images_are_refused(run, clips, monkeypatch):
    monkeypatch.setattr(bench, "load", lambda _: PixelGenerator(np.copy, 64, placement="whole"))
    with pytest.raises(InputError, match=f"{run}.* whole images"):
        evaluate(run, clips)
