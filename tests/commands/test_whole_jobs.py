"""Commands that build on each other, from clips to a swapped clip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from faceswap_jax.faces.picture import write_picture
from tests.support.tiny_run import FRAMES, SIZE


def test_from_puppets_to_a_swapped_clip(faceswap, experiment, tmp_path, monkeypatch):
    """Every command can use what the others made. Only results are on stdout."""
    monkeypatch.chdir(tmp_path)
    puppets = "puppets --personas=2 --tracks=1 --frames=8 --rate=8 --first_persona=3 --processes=1"

    # Clips, which can be prepared. The same command again changes nothing.
    clips = [*puppets.split(), "--output=clips", "--size=64"]
    for _ in range(2):
        code, out, err = faceswap(*clips)
        assert (code, out) == (0, "") and "clips/contact_sheet.png" in err
    assert "2 done before" in err
    assert {p.name for p in Path("clips").iterdir()} >= {"puppet003", "puppet004", "puppets.json"}
    people = ["clips/puppet003", "clips/puppet004"]
    code, out, err = faceswap("prepare", *people, "--output=data", "--resolution=16")
    assert (code, out) == (0, "") and "2 in all" in err
    code, _, err = faceswap(*clips, "--size=32")
    assert code == 2 and "clips holds other puppets" in err

    # Records, which can be trained on.
    records = [*puppets.split(), "--output=records", "--format=records"]
    code, out, err = faceswap(*records, "--resolution=16")
    assert (code, out) == (0, "") and " 16 │   16 " in err
    code, _, err = faceswap(*records)
    assert code == 2 and "records" in err
    for folder in ("data", "records"):
        assert faceswap("verify", folder)[0] == 0

    # A run, in two goes.
    train = f"train --config={experiment} --workdir=w --config.data.path=records".split()
    train += ["--config.level_steps=(0,0,2)", "--config.run.log", "1"]
    code, out, err = faceswap(*train)
    assert (code, out) == (0, "") and "Finished: 'w' is at step 2." in err and "nan" not in err
    assert faceswap(*train)[0] == 0
    code, _, err = faceswap(*train, "--config.batch=16")
    assert code == 2 and "'w'" in err and "batch: 8 -> 16" in err
    code, out, _ = faceswap("status", "w")
    assert code == 0 and "finished" in out and "step 2 of 2 (100 %)" in out and "eval/psnr" in out

    # Its swap.
    clip = next(Path("clips/puppet004").glob("*.mp4"))
    swap = ["swap", clip, "--workdir=w", "--persona=puppet003", "--output=out.mp4"]
    assert faceswap(*swap) == (0, "", "out.mp4: 8 frames\n")
    assert {p.name for p in Path().iterdir()} == {"clips", "data", "records", "out.mp4", "w"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wall.png", "ben.mp4"])
def test_a_real_process_is_quiet_and_ends(run, clips, tmp_path, name):
    """With MediaPipe on a picture without a face, or with the landmarks of a clip."""
    write_picture(tmp_path / "wall.png", np.full((SIZE, SIZE, 3), 90, np.uint8))
    for file in ("ben.mp4", "ben.mp4.landmarks.csv"):
        shutil.copy(clips / file, tmp_path / file)
    output = f"out_{name}"
    swap = ["swap", name, "--workdir", run, "--persona", "ada", "--output", output]
    result = subprocess.run(
        [sys.executable, "-m", "faceswap_jax.cli", *swap],
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert (tmp_path / output).exists() == (name == "ben.mp4")
    if name == "ben.mp4":
        assert (result.returncode, result.stderr) == (0, f"{output}: {FRAMES} frames\n")
    else:
        assert result.returncode == 2 and "wall.png shows no face" in result.stderr
