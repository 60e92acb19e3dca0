"""Pictures and tables of results."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from faceswap_jax.evaluation.intervals import Interval, interval

FLOOR = "own error"


@dataclass(frozen=True)
class Score:
    """What a number means.

    Attributes:
        title: name and unit, for tables.
        better: "higher", "lower", or "1" for a ratio that should be 1.
        digits: after the point.
        range: least and largest value that there can be.
    """

    title: str
    better: str
    digits: int = 2
    range: tuple[float, float] = (0.0, math.inf)

    def text(self, value: float) -> str:
        """The number; a dash where it is not defined."""
        return "-" if np.isnan(value) else f"{value:.{self.digits}f}"

    def clipped(self, measured: Interval) -> Interval:
        """An interval without what cannot be: the bootstrap widens it past the range where there are few values."""
        return Interval(measured.mean, *np.clip(measured[1:], *self.range).tolist())


Values = Mapping[str, Float[np.ndarray, "n"]]
"""Of each score, its value in every frame, in every pair of frames, or once for a clip; NaN where it is not defined."""


@dataclass(frozen=True)
class Comparison:
    """One clip with one persona's face, scored.

    Attributes:
        rows: the values of every row of the table: references such as "do nothing", and the swaps.
        seconds: how long the clip is; values a second apart are taken as independent.
        pictures: some aligned faces of the clip, one line each.
    """

    rows: Mapping[str, Values]
    seconds: float
    pictures: UInt8[np.ndarray, "lines columns h w 3"]


Intervals = dict[str, dict[str, Interval]]
"""Of each row of the table ("do nothing", "swap", ...), of each score."""


@dataclass(frozen=True)
class Summary:
    """Means of all scores with their 95 % confidence intervals.

    Attributes:
        step: of training at which the run was evaluated.
        scores: what the numbers mean.
        overall: means over the pairs of personas, each counting the same.
        pairs: means of each pair, by name ("ben as ada").
        floor: what the measure itself gets wrong on average, of those scores where that is known.
    """

    step: int
    scores: Mapping[str, Score]
    overall: Intervals
    pairs: Mapping[str, Intervals]
    floor: Mapping[str, float]

    def save(self, path: Path) -> None:
        """Writes `path`.json with all digits (null where a number is not defined), and `path`.md for people."""
        content = _without_nan(
            {**asdict(self), "scores": {name: score.title for name, score in self.scores.items()}}
        )
        path.with_suffix(".json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        floor = [FLOOR] if self.floor else []
        lines = [
            [
                score.title,
                score.better,
                *(_with_interval(score, row[name]) for row in self.overall.values()),
            ]
            + [score.text(self.floor.get(name, np.nan)) for _ in floor]
            for name, score in self.scores.items()
        ]
        text = [
            f"# Scores after {self.step:,} steps",
            "Means with 95 % confidence intervals.",
            "## All pairs",
        ]
        text.append(_markdown(["score", "better", *self.overall, *floor], lines))
        for row in self.overall:
            lines = [
                [
                    pair,
                    *(
                        _with_interval(score, rows[row][name])
                        for name, score in self.scores.items()
                    ),
                ]
                for pair, rows in self.pairs.items()
            ]
            text += [
                f"## By pair: {row}",
                _markdown(["pair", *(s.title for s in self.scores.values())], lines),
            ]
        path.with_suffix(".md").write_text("\n\n".join(text) + "\n")

    def means(self) -> tuple[list[str], list[list[str | float | None]]]:
        """Heads and rows of a table of the means over all pairs; None where a number is not defined."""
        rows = [
            [score.title, *(_without_nan(row[name].mean) for row in self.overall.values())]
            for name, score in self.scores.items()
        ]
        return ["score", *self.overall], rows

    def table(self) -> Table:
        """For the terminal: the means over all pairs."""
        columns = [*self.overall, *([FLOOR] if self.floor else [])]
        heads = [
            Column(name, justify="right", min_width=max(map(len, name.split()))) for name in columns
        ]
        result = Table("", *heads, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
        result.columns[0].no_wrap = True
        for name, score in self.scores.items():
            means = [row[name].mean for row in self.overall.values()]
            means += [self.floor.get(name, np.nan)] if self.floor else []
            result.add_row(score.title, *map(score.text, means))
        return result


def summarise(
    results: Mapping[str, Sequence[Comparison]],
    scores: Mapping[str, Score],
    floor: Mapping[str, float],
    step: int,
) -> Summary:
    """Means and intervals of the clips of every pair of personas, by the pair's name."""
    rows = next(iter(results.values()))[0].rows
    pairs = {
        pair: {
            row: {name: _of_pair(clips, row, name, score) for name, score in scores.items()}
            for row in rows
        }
        for pair, clips in results.items()
    }
    overall = {
        row: {
            name: score.clipped(
                interval([np.array([means[row][name].mean]) for means in pairs.values()], block=1)
            )
            for name, score in scores.items()
        }
        for row in rows
    }
    return Summary(step, scores, overall, pairs, floor)


def _of_pair(clips: Sequence[Comparison], row: str, name: str, score: Score) -> Interval:
    values = [clip.rows[row][name] for clip in clips]
    per_second = np.isfinite(values[0]).sum() / clips[0].seconds
    return score.clipped(interval(values, max(1, round(per_second))))


def _without_nan(content: Any) -> Any:
    """The same with None for every NaN, which JSON does not know; intervals become {"mean", "low", "high"}."""
    if isinstance(content, Interval):
        content = content._asdict()
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    return None if isinstance(content, float) and math.isnan(content) else content


def _with_interval(score: Score, measured: Interval) -> str:
    text = score.text(measured.mean)
    return (
        text
        if np.isnan(measured.low)
        else f"{text} ({score.text(measured.low)} to {score.text(measured.high)})"
    )


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
