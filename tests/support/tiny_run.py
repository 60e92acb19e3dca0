"""A comb network and an experiment so small that a test can train them."""

import json
from pathlib import Path

import ml_collections

from experiments import comb
from faceswap_jax.reporting.reporter import METRICS, TIMES

PERSONAS = ("ada", "ben")
SIZE, FRAMES, RATE = 96, 10, 12.5  # of their clips
RESOLUTION = 16


def experiment(data: Path | str = "data") -> ml_collections.ConfigDict:
    """Four steps at 8 px and four at 16 px."""
    c = comb.get_config()
    c.data.path = str(data)
    c.data.warp = 0.02
    c.data.jitter.update(rotation=3.0, scale=0.03, shift=0.02)
    c.augment.update(brightness=0.05, contrast=0.05, saturation=0.1, hue=0.02)
    c.model.update(width=1 / 64, latent=8)
    c.update(level_steps=(0, 4, 4), final_steps=0, batch=8, learning_rate=1e-3)
    c.mesh.cpu_devices = 8
    c.run.update(log=2, preview=4, checkpoint=3)
    return c


def all_rows(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl, without the times, which differ from one run to the next."""
    lines = map(json.loads, (workdir / METRICS).read_text().splitlines())
    return [{name: row[name] for name in row if name not in TIMES} for row in lines]


def rows(workdir: Path, evaluation: bool = False) -> list[dict]:
    """Those of training steps, or of evaluations."""
    return [row for row in all_rows(workdir) if ("phase" in row) is not evaluation]
