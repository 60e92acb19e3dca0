"""Scores of clips, and the tables that they make."""

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
from faceswap_jax.files import write_json

FLOOR = "own error"


@dataclass(frozen=True)
class Score:
    """What a number means.

    Attributes:
        title: name and unit, for tables.
        better: "higher", "lower", or what it should be, such as "1" of a ratio.
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
        ends = np.clip([measured.low, measured.high], *self.range)
        return Interval(measured.mean, *ends.tolist())


Values = Mapping[str, Float[np.ndarray, "n"]]
"""Of each score, its value in every frame, in every pair of frames, or once for a clip; NaN where it is not defined."""


@dataclass(frozen=True)
class Comparison:
    """One clip with one persona's face, scored.

    Attributes:
        rows: the values of every row of the table: references such as "do nothing", and the swaps.
        seconds: how long the clip is; values a second apart are taken as independent.
        images: some aligned faces of the clip, one line each.
    """

    rows: Mapping[str, Values]
    seconds: float
    images: UInt8[np.ndarray, "lines columns h w 3"]


@dataclass(frozen=True)
class Scored:
    """Everything that is scored alike.

    Attributes:
        results: of each pair of personas, by its name ("ben as ada"), its clips.
        scores: what the numbers mean.
        floor: what the measure itself gets wrong on average, of those scores where that is known.
        columns: what the images of the comparisons show.
    """

    results: Mapping[str, Sequence[Comparison]]
    scores: Mapping[str, Score]
    floor: Mapping[str, float]
    columns: Sequence[str]


def join_values(chunks: Sequence[Mapping[str, Values]]) -> dict[str, dict[str, np.ndarray]]:
    """The values of a clip, row by row, from those of its chunks."""
    joined = {}
    for row, values in chunks[0].items():
        joined[row] = {}
        for name in values:
            parts = [chunk[row][name] for chunk in chunks]
            joined[row][name] = np.concatenate(parts)
    return joined


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
        content = asdict(self)
        content["scores"] = {name: score.title for name, score in self.scores.items()}
        write_json(path.with_suffix(".json"), without_nan(content))

        sections = [
            f"# Scores after {self.step:,} steps",
            "Means with 95 % confidence intervals.",
            "## All pairs",
            self._overall_table(),
        ]
        for row in self.overall:
            sections += [f"## By pair: {row}", self._pairs_table(row)]
        path.with_suffix(".md").write_text("\n\n".join(sections) + "\n")

    def _overall_table(self) -> str:
        """A line for each score, a column for each row that was scored."""
        lines = []
        for name, score in self.scores.items():
            cells = [_with_interval(score, row[name]) for row in self.overall.values()]
            if self.floor:
                cells.append(self._floor_text(name))
            lines.append([score.title, score.better, *cells])
        return markdown(["score", "better", *self._columns()], lines)

    def _columns(self) -> list[str]:
        """The rows that were scored, and the measure's own error where that is known: columns of the tables."""
        return [*self.overall, FLOOR] if self.floor else list(self.overall)

    def _floor_text(self, name: str) -> str:
        return self.scores[name].text(self.floor.get(name, math.nan))

    def _pairs_table(self, row: str) -> str:
        """A line for each pair, a column for each score."""
        lines = []
        for pair, rows in self.pairs.items():
            measured = rows[row]
            cells = [_with_interval(s, measured[name]) for name, s in self.scores.items()]
            lines.append([pair, *cells])
        titles = [score.title for score in self.scores.values()]
        return markdown(["pair", *titles], lines)

    def means(self) -> tuple[list[str], list[list[str | float | None]]]:
        """Heads and rows of a table of the means over all pairs; None where a number is not defined."""
        rows = []
        for name, score in self.scores.items():
            means = [without_nan(row[name].mean) for row in self.overall.values()]
            rows.append([score.title, *means])
        return ["score", *self.overall], rows

    def table(self, title: str = "") -> Table:
        """For the terminal: the means over all pairs."""
        heads = []
        for name in self._columns():
            # Words are not broken.
            width = max(map(len, name.split()))
            heads.append(Column(name, justify="right", min_width=width))
        titles = Column(no_wrap=True)
        result = Table(titles, *heads, title=title or None, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
        for name, score in self.scores.items():
            cells = [score.text(row[name].mean) for row in self.overall.values()]
            if self.floor:
                cells.append(self._floor_text(name))
            result.add_row(score.title, *cells)
        return result


def summarise(scored: Scored, step: int) -> Summary:
    """Means and intervals of the clips of every pair of personas, by the pair's name."""
    scores = scored.scores
    pairs = {pair: _of_pair(clips, scores) for pair, clips in scored.results.items()}
    overall: Intervals = {}
    # The rows are those of any pair.
    for row in next(iter(pairs.values())):
        overall[row] = {}
        for name, score in scores.items():
            means = [rows[row][name].mean for rows in pairs.values()]
            # Every pair counts as a clip of one frame.
            clips = [np.array([mean]) for mean in means]
            overall[row][name] = score.clipped(interval(clips, block=1))
    return Summary(step, scores, overall, pairs, scored.floor)


def _of_pair(clips: Sequence[Comparison], scores: Mapping[str, Score]) -> Intervals:
    """Means and intervals of all rows and scores over the clips of a pair."""
    result = {}
    for row in clips[0].rows:
        result[row] = {name: _over_clips(clips, row, name, scores[name]) for name in scores}
    return result


def _over_clips(clips: Sequence[Comparison], row: str, name: str, score: Score) -> Interval:
    values = [clip.rows[row][name] for clip in clips]
    # Blocks of a second are taken as independent.
    per_second = np.isfinite(values[0]).sum() / clips[0].seconds
    block = max(1, round(per_second))
    return score.clipped(interval(values, block))


def without_nan(content: Any) -> Any:
    """The same with None for every NaN, which JSON does not know; intervals become {"mean", "low", "high"}."""
    if isinstance(content, Interval):
        content = content._asdict()
    if isinstance(content, dict):
        return {name: without_nan(value) for name, value in content.items()}
    undefined = isinstance(content, float) and math.isnan(content)
    return None if undefined else content


def _with_interval(score: Score, measured: Interval) -> str:
    text = score.text(measured.mean)
    if np.isnan(measured.low):
        return text
    return f"{text} ({score.text(measured.low)} to {score.text(measured.high)})"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    numbers = len(header) - 1
    rule = ["---", *["---:"] * numbers]
    rows = [" | ".join(line) for line in (header, rule, *lines)]
    return "\n".join(f"| {row} |" for row in rows)
