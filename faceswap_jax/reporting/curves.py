"""Curves of a run's metrics, in characters."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotext

WIDTH, HEIGHT = 78, 12  # of a curve, characters
Y_TICKS = 4
LEAST_GAP = 0.12  # between the labels of two steps, of the width

Points = list[tuple[int, float]]


def curves_of(rows: Sequence[Mapping]) -> dict[str, Points]:
    """(step, value) of every loss, then of every score, by name; not of parts of these, such as "eval/motion/eyes"."""
    losses: dict[str, Points] = {}
    scores: dict[str, Points] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith("eval/") and name.count("/") == 1:
                scores.setdefault(name, []).append((row["step"], value))
            elif name.startswith("loss") and "/" not in name:
                losses.setdefault(name, []).append((row["step"], value))
    return losses | scores


def marks_of(rows: Sequence[Mapping]) -> dict[str, int]:
    """The step after which each phase began, by its name, of the phases that rows were logged in."""
    marks, before = {}, 0
    for row in rows:
        # Rows of evaluations have no phase.
        phase = row.get("phase")
        if phase is not None and phase not in marks:
            marks[phase] = before
        before = row["step"]
    return marks


def plot(name: str, points: Points, marks: Sequence[int]) -> str:
    """One curve, with a vertical line at each of the steps `marks`."""
    steps, values = zip(*points, strict=True)
    inner = [mark for mark in marks if steps[0] < mark < steps[-1]]

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(WIDTH, HEIGHT)
    plotext.title(f"{name}: {plain(values[-1])}")
    plotext.plot(steps, values, marker="braille")
    for mark in inner:
        plotext.vline(mark)

    # Plain numbers, where plotext would write 1e-05.
    ticks = _apart([steps[0], *inner, steps[-1]])
    plotext.xticks(ticks, [f"{step:,}" for step in ticks])
    heights = np.linspace(min(values), max(values), Y_TICKS).tolist()
    if heights[0] < heights[-1]:
        plotext.yticks(heights, [plain(height, 3) for height in heights])
    return "\n" + plotext.uncolorize(plotext.build()).rstrip()


def plain(value: float, digits: int = 4) -> str:
    """A number in so many digits, without an exponent: 0.0007, not 7e-4."""
    return np.format_float_positional(value, digits, fractional=False, trim="-")


def _apart(steps: Sequence[int]) -> list[int]:
    """The steps whose labels do not meet; the last one always."""
    gap = LEAST_GAP * (steps[-1] - steps[0])
    chosen = [steps[0]]
    for step in steps[1:-1]:
        if step - chosen[-1] >= gap and steps[-1] - step >= gap:
            chosen.append(step)
    return chosen if len(steps) == 1 else [*chosen, steps[-1]]
