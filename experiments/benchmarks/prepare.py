"""Frames per second of `faceswap prepare`, all in: decoding, landmarks, tracks, crops, quality, JPEG, shards.

    python -m experiments.benchmarks.prepare [CLIP ...] [--repeats 3]

One and two processes, single-pass and nine-fold landmarks, in turns. Without clips it takes rendered ones, enlarged to
480 px. The time of starting processes and loading MediaPipe is told apart: a first run of one frame per clip.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

from data_pipelines.prepare.prepare import prepare
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.tracks import render_frame

REPEATS = flags.DEFINE_integer("repeats", 3, "Runs of each kind; the fastest counts.")
CLIPS, FRAMES, RENDERED, SIZE = 4, 150, 192, 480
KINDS = {
    "single pass, one process": (0.0, 1),
    "single pass, two processes": (0.0, 2),
    "nine-fold, one process": (0.05, 1),
    "nine-fold, two processes": (0.05, 2),
}


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = [Path(name) for name in argv[1:]] or [
            _write_clip(folder / f"{p}.mp4", p) for p in range(CLIPS)
        ]
        seconds = {kind: [] for kind in KINDS}
        for _ in range(REPEATS.value):
            for kind, (beta, processes) in KINDS.items():
                for frames in (1, 0):  # of each clip; 0 is all
                    settings = Settings(beta=beta, frames=frames, clips_per_shard=1)
                    start = time.perf_counter()
                    manifest = prepare(clips, folder / f"data{frames}", settings, processes)
                    seconds[kind].append(time.perf_counter() - start)
                    for path in sorted((folder / f"data{frames}").rglob("*"), reverse=True):
                        path.unlink() if path.is_file() else path.rmdir()
        seen = sum(persona.counts.seen for persona in manifest.personas.values())
    table = Table("", "start-up (s)", "work (s)", "frames/s", "ratio", title=f"{seen} frames")
    base = None
    for kind, values in seconds.items():
        startup, whole = (min(values[i::2]) for i in (0, 1))
        rate = seen / (whole - startup)
        base = base or rate
        table.add_row(
            kind, f"{startup:.1f}", f"{whole - startup:.1f}", f"{rate:.0f}", f"{rate / base:.2f}"
        )
    Console().print(table)


def _write_clip(path: Path, persona: int) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame in range(FRAMES):
            image = cv2.resize(render_frame(0, persona, 0, frame, RENDERED).image, (SIZE, SIZE))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image))))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    app.run(main)
