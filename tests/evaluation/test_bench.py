"""The bench, with a truth and without."""

import json
import shutil

import numpy as np
import pytest

from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.evaluation.with_truth import PuppetBench
from faceswap_jax.evaluation.without_truth import ClipBench
from faceswap_jax.faces.picture import read_picture
from tests.support.generators import PixelGenerator
from tests.support.tiny_run import FRAMES, PERSONAS, RATE, SIZE

LARGE, SEEN = 192, 12  # pixels and frames of the clips that are measured closely


def puppets(size: int, frames: int, rate: float) -> PuppetClips:
    """One track of each of two puppets."""
    clips = (PuppetClip(f"{name}.mp4", name, p, 0, frames) for p, name in enumerate(PERSONAS))
    return PuppetClips(0, size, rate, tuple(clips))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Clips of two puppets, and the perfect swap of the second to the first."""
    folder = tmp_path_factory.mktemp("large")
    description = puppets(LARGE, SEEN, RATE)
    for clip in description.clips:
        write_clip(folder / clip.file, 0, clip.persona, clip.track, SEEN, LARGE, RATE)
    description.save(folder)
    perfect = tmp_path_factory.mktemp("perfect") / "ben_as_ada.mp4"
    write_clip(perfect, 0, 1, 0, SEEN, LARGE, RATE, show=0)
    return folder, perfect


@pytest.fixture(scope="module")
def generator():
    """Only how it cuts faces matters where the swapped clip is there already."""
    return PixelGenerator(np.copy, 64)


def mean(comparison, row, score):
    return float(np.nanmean(comparison.rows[row][score]))


def test_evaluate_writes_scores_and_pictures(run, clips, tmp_path, capsys, monkeypatch):
    workdir, data = (
        shutil.copytree(run, tmp_path / "run"),
        shutil.copytree(clips, tmp_path / "held_out"),
    )
    puppets(SIZE, FRAMES, RATE).save(data)
    config = configs.load(workdir / "config.json")
    config.run.wandb = "faces"
    configs.save(config, workdir / "config.json")
    monkeypatch.setenv("WANDB_MODE", "offline")
    output = evaluate(workdir, data, ("multiband", "none"))
    assert output == workdir / "evaluation" / "held_out" / "step_8"
    printed = capsys.readouterr().err
    assert all(str(output / name) in printed for name in ("grid.png", "clips", "scores.md"))

    scores = json.loads((output / "scores.json").read_text())
    shown = json.loads(
        next(
            (workdir / "wandb").glob("offline-run-*/files/media/table/bench/*.table.json")
        ).read_text()
    )
    assert shown["columns"] == ["score", *scores["overall"]]
    assert [row[0] for row in shown["data"]] == list(scores["scores"].values())
    for row, name in zip(shown["data"], scores["scores"], strict=True):
        assert row[1:] == pytest.approx(
            [means[name]["mean"] for means in scores["overall"].values()]
        )
    rows = ["do nothing", "swap", "swap --blend none", "ceiling", "ceiling --blend none", "truth"]
    assert list(scores["pairs"]) == ["ben as ada", "ada as ben"] and scores["step"] == 8
    for intervals in (scores["overall"], *scores["pairs"].values()):
        assert list(intervals) == rows
        assert intervals["truth"]["psnr"]["mean"] == 100 and intervals["truth"]["ssim"][
            "mean"
        ] == pytest.approx(1)
        assert (
            intervals["ceiling --blend none"]["ssim"]["mean"]
            > intervals["do nothing"]["ssim"]["mean"]
        )
    for row in rows:
        each = [pair[row]["psnr"]["mean"] for pair in scores["pairs"].values()]
        assert scores["overall"][row]["psnr"]["mean"] == pytest.approx(np.mean(each))
    lines = (output / "scores.md").read_text().splitlines()
    assert "## By pair: swap" in lines and sum(
        line.startswith("| ben as ada |") for line in lines
    ) == len(rows)
    height, width, _ = read_picture(output / "grid.png").shape
    assert height > 2 * 2 * 128 and width > 6 * 128  # with room for labels

    assert sorted(path.name for path in (output / "clips").iterdir()) == [
        f"{name}.mp4_as_{persona}_{method}.mp4"
        for name, persona in (("ada", "ben"), ("ben", "ada"))
        for method in ("multiband", "none")
    ]


def test_a_perfect_swap_against_the_truth(large, generator):
    folder, perfect = large
    bench = PuppetBench(folder, PuppetClips.load(folder))
    [(persona, clip)] = [pair for pair in bench.pairs(["ada", "eve"])]
    assert (persona, clip.persona) == ("ada", "ben")
    result = bench.compare("ada", clip, generator, {"multiband": perfect})
    assert result.images.shape == (2, 5, 128, 128, 3)
    assert mean(result, "swap", "psnr") > 33  # H.264 is all that is wrong
    assert mean(result, "swap", "ms_ssim") > 0.97
    assert mean(result, "swap", "sharpness") == pytest.approx(1, abs=0.1)
    assert mean(result, "swap", "identity") == 100 and mean(result, "do nothing", "identity") == 0
    assert mean(result, "swap", "distance") < mean(result, "do nothing", "distance") / 2
    assert mean(result, "do nothing", "seam") == 1
    for name in bench.floor:
        assert mean(result, "truth", name) < 3 * bench.floor[name]
        assert mean(result, "swap", name) == pytest.approx(
            mean(result, "truth", name), abs=bench.floor[name]
        )
    assert (
        len(result.rows["swap"]["flicker"]) == SEEN - 1 and len(result.rows["swap"]["psnr"]) == SEEN
    )


def test_a_wrong_performance_is_measured(large, generator):
    """The persona's own clip in place of the swap: right identity, other performance."""
    folder, _ = large
    bench = PuppetBench(folder, PuppetClips.load(folder))
    [(persona, clip)] = bench.pairs(["ada"])
    result = bench.compare(persona, clip, generator, {"multiband": folder / "ada.mp4"})
    for name, times in (("yaw", 3), ("mouth", 2), ("pitch", 1.5), ("lids", 1.3), ("gaze", 1.3)):
        assert mean(result, "swap", name) > times * mean(result, "truth", name), name
    assert mean(result, "swap", "psnr") < mean(result, "ceiling", "psnr")


def test_a_perfect_swap_without_truth(large, generator, tmp_path):
    folder, perfect = large
    data = tmp_path / "data"
    for name in PERSONAS:  # one as a clip, one as a folder of clips
        (data / name if name == "ada" else data).mkdir(parents=True, exist_ok=True)
        shutil.copy(
            folder / f"{name}.mp4", data / name / "a.mp4" if name == "ada" else data / f"{name}.mp4"
        )
    bench = ClipBench(data)
    [(persona, clip)] = bench.pairs(["ada", "eve"])
    result = bench.compare(persona, clip, generator, {"multiband": perfect})
    assert list(result.rows) == ["do nothing", "swap", "persona"]
    assert result.images.shape == (2, 3, 192, 192, 3)
    assert mean(result, "do nothing", "found") > 80
    for name in ("yaw", "pitch", "roll"):
        assert mean(result, "do nothing", name) == 0
        assert mean(result, "swap", name) < 8
    assert mean(result, "swap", "identity") > mean(result, "do nothing", "identity")
    assert mean(result, "swap", "performer") < mean(result, "do nothing", "performer")
    assert mean(result, "persona", "identity") > mean(result, "do nothing", "identity")
    assert (
        mean(result, "do nothing", "mouth") == pytest.approx(1)
        and mean(result, "swap", "mouth") > 0.5
    )
    assert mean(result, "do nothing", "seam") == 1


def test_wrong_inputs_are_told(run, clips, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    others = shutil.copytree(clips, tmp_path / "others")
    PuppetClips(0, SIZE, RATE, (PuppetClip("ada.mp4", "eve", 5, 0, FRAMES),)).save(others)
    multiband, network = ("multiband",), tmp_path / "net.onnx"
    for arguments, message in (
        ((run, clips, multiband, network), "There is no file '.*net.onnx'"),
        (
            (run, others, multiband, network),
            "holds puppets, whose identity the oracle reads; leave --embedder out",
        ),
        ((run, tmp_path / "nowhere"), "nowhere' is no folder"),
        ((run, empty), "empty' holds no clip"),
        ((run, clips, ("paste",)), "no blending 'paste'; choose one of multiband, none, poisson"),
        ((tmp_path, clips), "holds no run"),
        ((run, others), "has no persona of .* beside a clip of somebody else"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(*arguments)
    assert not (run / "evaluation").exists()
