"""Frames per second of `faceswap prepare`: decoding, landmarks, tracks, crops, quality, JPEG, shards.

    python -m experiments.benchmarks.prepare [CLIP ...] [--repeats 3] [--frames 150]

One and two processes, single-pass and nine-fold landmarks, in turns. Without clips it takes rendered
ones, enlarged to 480 px. Starting processes and loading MediaPipe are measured by a first run of one
frame per clip.
"""

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from absl import app, flags

from data_pipelines.prepare.prepare import prepare
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import Manifest
from experiments.benchmarks.measuring import in_turns, print_table

REPEATS = flags.DEFINE_integer("repeats", 3, "Runs of each kind; the fastest counts.")
FRAMES = flags.DEFINE_integer("frames", 150, "Of each rendered clip.")

CLIPS = 4
RENDERED = 192  # pixels
SIZE = 480  # pixels

KINDS = {
    "single pass, one process": (0.0, 1),
    "single pass, two processes": (0.0, 2),
    "nine-fold, one process": (0.05, 1),
    "nine-fold, two processes": (0.05, 2),
}
"""Shift of the face box (--beta) and processes."""


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = [Path(name) for name in argv[1:]]
        if not clips:
            clips = [write_clip(folder / f"{p}.mp4", p) for p in range(CLIPS)]

        acts = {}
        for kind, (beta, processes) in KINDS.items():
            # One frame of each clip: what is left is starting up.
            start = Settings(beta=beta, clips_per_shard=1, frames=1)
            whole = Settings(beta=beta, clips_per_shard=1)
            acts[f"start {kind}"] = partial(run, clips, folder / "data", start, processes)
            acts[kind] = partial(run, clips, folder / "data", whole, processes)
        seconds = in_turns(acts, REPEATS.value)
        manifest = run(clips, folder / "data", Settings(beta=0.0, clips_per_shard=1), 1)
        seen = sum(persona.counts.seen for persona in manifest.personas.values())

    rows = []
    rates = []
    for kind in KINDS:
        startup = min(seconds[f"start {kind}"])
        work = min(seconds[kind]) - startup
        rates.append(seen / work)
        ratio = rates[-1] / rates[0]
        rows.append([kind, f"{startup:.1f}", f"{work:.1f}", f"{rates[-1]:.0f}", f"{ratio:.2f}"])
    columns = ("", "start-up (s)", "work (s)", "frames/s", "ratio")
    print_table(columns, rows, title=f"{seen} frames")


def run(clips: Sequence[Path], folder: Path, settings: Settings, processes: int) -> Manifest:
    """Prepares a data set and removes it."""
    manifest = prepare(clips, folder, settings, processes)
    shutil.rmtree(folder)
    return manifest


def write_clip(path: Path, persona: int) -> Path:
    """Writes a clip of a puppet, enlarged: rendering SIZE pixels would take long."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.width = SIZE
        stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame in range(FRAMES.value):
            rendered = render_frame(0, persona, 0, frame, RENDERED).image
            image = cv2.resize(rendered, (SIZE, SIZE))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image))))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    app.run(main)
