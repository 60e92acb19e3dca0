"""Frames per second of the puppet renderer on one core.

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.puppets [--frames 48] [--repeats 5]

Every frame shows another persona, so that glasses, beards and long hair count as often as they occur. The best of the
repeats is told, in time of the process and on the wall.
"""

import time
from collections.abc import Sequence

from absl import app, flags
from rich.console import Console
from rich.table import Table

from data_pipelines.puppets.tracks import render_frame

FRAMES = flags.DEFINE_integer("frames", 48, "Pictures of each size.")
REPEATS = flags.DEFINE_integer("repeats", 5, "The best of them counts.")
WORLD, SIZES, GOALS = 1, (64, 128, 256), {128: 40, 256: 12}


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    table = Table("size (px)", "frames/s, process", "frames/s, wall", "goal")
    _render(16)  # samples the tracks
    for size in SIZES:
        process, wall = [], []
        for _ in range(REPEATS.value):
            start = time.process_time(), time.perf_counter()
            _render(size)
            process.append(time.process_time() - start[0])
            wall.append(time.perf_counter() - start[1])
        rates = (f"{FRAMES.value / min(seconds):.1f}" for seconds in (process, wall))
        table.add_row(str(size), *rates, str(GOALS.get(size, "")))
    Console().print(table)


def _render(size: int) -> None:
    for persona in range(FRAMES.value):
        render_frame(WORLD, persona, 0, 5 + 37 * (persona % 16), size)


if __name__ == "__main__":
    app.run(main)
