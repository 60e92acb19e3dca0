"""Tables of scores."""

import json

import numpy as np
import pytest
from rich.console import Console

from faceswap_jax.evaluation import report
from faceswap_jax.evaluation.report import Comparison, Score, Scored

SCORES = {"psnr": Score("PSNR (dB)", "higher"), "hits": Score("hits (%)", "higher", 1, (0, 100))}


def test_the_table_of_a_full_bench_fits_too():
    from faceswap_jax.evaluation.with_truth import PuppetBench

    names = ["do nothing", "swap", "swap --blend none", "ceiling", "ceiling --blend none", "truth"]
    rows = {name: {score: np.full(4, 1.2) for score in PuppetBench.scores} for name in names}
    clip = Comparison(rows, 4.0, np.zeros((1, 2, 4, 4, 3), np.uint8))
    scored = Scored({"pair": [clip]}, PuppetBench.scores, {"yaw": 43.21}, columns=())
    summary = report.summarise(scored, step=1)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(summary.table())
    text = capture.get()
    assert "…" not in text and "43.21" in text and text.count("1.2") == 6 * len(PuppetBench.scores)


def comparison(psnr, hits, seconds=4.0):
    """A clip whose untouched target has scores of its own."""
    rows = {
        "do nothing": {"psnr": np.full(len(psnr), 10.0), "hits": np.full(1, np.nan)},
        "swap": {"psnr": np.array(psnr, float), "hits": np.array(hits, float)},
    }
    return Comparison(rows, seconds, np.zeros((1, 2, 4, 4, 3), np.uint8))


@pytest.fixture
def summary():
    results = {
        "ben as ada": [comparison([20, 22] * 4, [100] * 8)],
        "ada as ben": [comparison([30] * 8, [0, 100] * 4), comparison([32] * 2, [0] * 2)],
    }
    return report.summarise(Scored(results, SCORES, {"psnr": 0.5}, columns=()), step=1234)


def test_means_of_pairs_and_over_pairs(summary):
    mean = {pair: rows["swap"]["psnr"].mean for pair, rows in summary.pairs.items()}
    # Each clip counts the same, then each pair.
    assert mean == {"ben as ada": 21.0, "ada as ben": 31.0}
    assert summary.overall["swap"]["psnr"].mean == 26
    assert summary.overall["swap"]["hits"].mean == 62.5
    assert np.isnan(summary.overall["do nothing"]["hits"].mean)


def test_intervals_hold_the_mean_and_stay_in_their_range(summary):
    for rows in (summary.overall, *summary.pairs.values()):
        for row in rows.values():
            for name, (mean, low, high) in row.items():
                least, most = SCORES[name].range
                assert np.isnan(low) or least <= low <= mean <= high <= most
    low, high = summary.overall["swap"]["hits"][1:]
    assert low == 0 and high == 100  # of two pairs, nothing can be told


def test_table_files(summary, tmp_path):
    summary.save(tmp_path / "scores")
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert stored["overall"]["do nothing"]["hits"] == {"mean": None, "low": None, "high": None}
    assert stored["step"] == 1234 and stored["floor"] == {"psnr": 0.5}
    assert stored["pairs"]["ben as ada"]["swap"]["psnr"]["mean"] == 21
    lines = (tmp_path / "scores.md").read_text().splitlines()
    assert lines[0] == "# Scores after 1,234 steps"
    assert "| score | better | do nothing | swap | own error |" in lines
    assert any(
        line.startswith("| hits (%) | higher | - | 62.5 (0.0 to 100.0) | - |") for line in lines
    )
    assert sum(line.startswith("| ben as ada |") for line in lines) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.json", "scores.md"]


def test_table_of_the_terminal_fits_80_characters(summary):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(summary.table())
    text = capture.get()
    assert all(
        cell in text for cell in ("do nothing", "swap", "PSNR (dB)", "26.00", "10.00", "62.5")
    )
