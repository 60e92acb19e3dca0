"""The demo, much smaller."""

import json
from pathlib import Path

import pytest

from faceswap_jax import demo
from faceswap_jax.errors import InputError
from faceswap_jax.faces.video import probe, read_frames
from tests.support.tiny_run import experiment


@pytest.mark.slow
def test_demo_makes_what_it_names(tmp_path, monkeypatch, capsys):
    def tiny():
        c = experiment()
        c.update(level_steps=(0, 0, 2), batch=8)
        return c

    monkeypatch.setattr(demo.experiment, "get_config", tiny)
    values = {
        "SIZE": 96,
        "RESOLUTION": 16,
        "SHOTS": 1,
        "SHOT_FRAMES": 10,
        "HELD_OUT_FRAMES": 4,
    }
    for name, value in values.items():
        monkeypatch.setattr(demo, name, value)
    demo.demo(tmp_path / "demo")
    last_lines = capsys.readouterr().err.splitlines()[-4:]
    named = [Path(line.split(":")[0]) for line in last_lines]
    output = tmp_path / "demo" / "run" / "evaluation" / "held_out" / "step_2"
    clip = tmp_path / "demo" / "side_by_side.mp4"
    assert named == [*(output / name for name in ("grid.png", "clips", "scores.md")), clip]
    # Three frames beside each other, with a line of names
    info = probe(clip)
    assert info.width >= 3 * 96 and info.height > 96
    assert len(list(read_frames(clip))) == 4
    assert len(list((output / "clips").glob("*.mp4"))) == 12
    scores = json.loads((output / "scores.json").read_text())
    assert len(scores["pairs"]) == 6
    for rows in scores["pairs"].values():
        # Perfect faces beat the untouched clip whatever the network has learned.
        assert rows["ceiling"]["ssim"]["mean"] > rows["do nothing"]["ssim"]["mean"]
        assert rows["ceiling --blend none"]["psnr"]["mean"] > rows["do nothing"]["psnr"]["mean"]


def test_demo_deletes_nothing_of_others(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="was not made by a demo"):
        demo.demo(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
