"""Tables and grids of pictures."""

import json

import cv2
import numpy as np
import pytest
from rich.console import Console

from faceswap_jax.evaluation import report

SCORES = {
    "ben as ada": {"do nothing": {"psnr": 14.126, "ssim": 0.5}, "swap": {"psnr": 21.0, "ssim": 0.70049}},
    "ada as ben": {"do nothing": {"psnr": 13.0, "ssim": 0.25}, "swap": {"psnr": 20.5, "ssim": 0.625}},
}


def test_table_files(tmp_path):
    report.save_table(tmp_path / "scores", SCORES)
    assert json.loads((tmp_path / "scores.json").read_text()) == SCORES
    assert (tmp_path / "scores.md").read_text().splitlines() == [
        "| PSNR (dB) / SSIM | do nothing | swap |",
        "| --- | ---: | ---: |",
        "| ben as ada | 14.13 / 0.500 | 21.00 / 0.700 |",
        "| ada as ben | 13.00 / 0.250 | 20.50 / 0.625 |",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.json", "scores.md"]


def test_table_of_the_terminal_fits_80_characters():
    rows = {f"row {i}": {"psnr": 14.126 + i, "ssim": 0.5} for i in range(5)}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report.table({"cleo as ada": rows}))
    text = capture.get()
    assert all(cell in text for cell in (*rows, "cleo as ada", "14.13/0.500", "18.13/0.500"))


@pytest.mark.parametrize(("side", "factor"), [(4, 24), (64, 1), (96, 1), (100, 1)])
def test_grid(tmp_path, side, factor):
    pictures = np.random.default_rng(0).random((2, 3, side, side, 3))
    pictures[0, 0, 0, 0] = (1.5, -0.5, 0.5)  # beyond black and white
    path = tmp_path / "new" / "grid.png"
    report.save_grid(path, pictures)
    grid = cv2.imread(str(path))[..., ::-1]
    assert grid.shape == (2 * side * factor, 3 * side * factor, 3)
    assert list(grid[0, 0]) == [255, 0, 128]
    expected = np.round(np.clip(pictures[1, 2], 0, 1) * 255)
    np.testing.assert_array_equal(grid[side * factor :: factor, 2 * side * factor :: factor], expected)
