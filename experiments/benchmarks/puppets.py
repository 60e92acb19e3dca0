"""Frames per second of the puppet renderer on one core.

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.puppets [--frames 48] [--repeats 5]

Every frame shows another persona, so that glasses, beards and long hair count as often as they occur.
The best of the repeats counts, in time of the process and on the wall.
"""

import time
from collections.abc import Sequence

from absl import app, flags

from data_pipelines.puppets.tracks import render_frame
from experiments.benchmarks.measuring import print_table

FRAMES = flags.DEFINE_integer("frames", 48, "Pictures of each size.")
REPEATS = flags.DEFINE_integer("repeats", 5, "The best of them counts.")

WORLD = 1
SIZES = (64, 128, 256)

GOALS = {128: 40, 256: 12}
"""Frames per second wanted at a size."""


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    render(16)  # samples the tracks, which later frames find done
    rows = []
    for size in SIZES:
        # Seconds of each repeat.
        process = []
        wall = []
        for _ in range(REPEATS.value):
            process_begin = time.process_time()
            wall_begin = time.perf_counter()
            render(size)
            process.append(time.process_time() - process_begin)
            wall.append(time.perf_counter() - wall_begin)
        in_process = f"{FRAMES.value / min(process):.1f}"
        on_the_wall = f"{FRAMES.value / min(wall):.1f}"
        rows.append([str(size), in_process, on_the_wall, str(GOALS.get(size, ""))])
    print_table(("size (px)", "frames/s, process", "frames/s, wall", "goal"), rows)


def render(size: int) -> None:
    """Renders a frame of each persona, each of another moment."""
    for persona in range(FRAMES.value):
        render_frame(WORLD, persona, 0, 5 + 37 * (persona % 16), size)


if __name__ == "__main__":
    app.run(main)
