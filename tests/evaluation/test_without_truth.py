"""Swaps whose perfect result nobody knows."""

import shutil

import pytest

from faceswap_jax.evaluation.without_truth import ClipBench
from tests.support.bench import mean


def test_a_perfect_swap_without_truth(large, generator, tmp_path):
    folder, perfect = large
    data = tmp_path / "data"
    # One person as a folder of clips, one as a clip
    (data / "ada").mkdir(parents=True)
    shutil.copy(folder / "ada.mp4", data / "ada" / "a.mp4")
    shutil.copy(folder / "ben.mp4", data)
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
    assert mean(result, "do nothing", "mouth") == pytest.approx(1)
    assert mean(result, "swap", "mouth") > 0.5
    assert mean(result, "do nothing", "seam") == 1
