"""Pictures and tables of results."""

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

CELL = 96  # pixels; smaller pictures are enlarged, so that early growth levels can be seen


def save_grid(path: Path, pictures: Float[np.ndarray, "rows columns h w 3"]) -> None:
    """Writes a grid of pictures in [0, 1] as PNG."""
    rows, columns, h, w, _ = pictures.shape
    grid = np.round(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    factor = max(1, CELL // h)
    grid = grid.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    grid = cv2.resize(grid, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), grid[..., ::-1])


Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Of each pair of personas, of each row of the bench ("do nothing", "swap", "ceiling"), each score."""


def table(scores: Scores) -> Table:
    """For the terminal: a line per pair, PSNR / SSIM in every column; fits into 80 characters."""
    columns = [Column(name, justify="right") for name in next(iter(scores.values()))]
    result = Table("pair", *columns, title="PSNR (dB) / SSIM in the face", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for pair, rows in scores.items():
        result.add_row(pair, *(_cell(row).replace(" ", "") for row in rows.values()))
    return result


def save_table(path: Path, scores: Scores) -> None:
    """Writes `path`.json with all digits, and `path`.md for people."""
    path.with_suffix(".json").write_text(json.dumps(scores, indent=2) + "\n")
    columns = list(next(iter(scores.values())))
    lines = [["PSNR (dB) / SSIM", *columns], ["---"] + ["---:"] * len(columns)]
    lines += [[pair, *(_cell(rows[name]) for name in columns)] for pair, rows in scores.items()]
    path.with_suffix(".md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))


def _cell(score: Mapping[str, float]) -> str:
    return f"{score['psnr']:.2f} / {score['ssim']:.3f}"
