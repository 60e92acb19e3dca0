"""What x264's presets cost and keep: why results are encoded as `faces/encode.py` does it.

    python -m experiments.benchmarks.encoder [CLIP ...] [--frames 60]

CPU time and bytes of a frame, and how close frames are to what was encoded: PSNR over a clip's planes, and of its worst
frame. Psychovisual optimisation, which the slower presets do, costs them a few tenths of a dB. Without clips it takes a
filmed puppet in 1080p.
"""

import itertools
import math
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from absl import app, flags

from experiments.benchmarks.filmed import film
from experiments.benchmarks.measuring import print_table
from faceswap_jax.faces import video

FRAMES = flags.DEFINE_integer("frames", 60, "Of each clip.", 1)

CHOICES = [
    ("medium", 16),
    ("fast", 16),
    ("faster", 15),
    ("veryfast", 15),
    ("veryfast", 14),
    ("superfast", 14),
]
"""Presets and constant rate factors."""


def main(argv: Sequence[str]) -> None:
    """Measures and prints a table for each clip."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = [Path(name) for name in argv[1:]]
        if not clips:
            clips = [film(folder / "1080p.mp4", 1080, FRAMES.value)]
        for clip in clips:
            frames = decoded(clip)
            rows = [row(frames, folder / "out.mp4", *choice) for choice in CHOICES]
            columns = ("preset", "CRF", "CPU ms", "KiB", "PSNR", "worst")
            print_table(columns, rows, title=clip.name)


def decoded(clip: Path) -> list[av.VideoFrame]:
    """The first frames of a clip as encoders take them."""
    frames = itertools.islice(video.read_frames(clip), FRAMES.value)
    return [av.VideoFrame.from_ndarray(frame.image).reformat(format="yuv420p") for frame in frames]


def row(frames: Sequence[av.VideoFrame], path: Path, preset: str, crf: int) -> list[str]:
    """What one choice makes of the frames."""
    begin = time.process_time()
    with av.open(path, "w") as container:
        options = {"crf": str(crf), "preset": preset, "mbtree": "0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    spent = time.process_time() - begin

    with av.open(path) as container:
        results = [frame.to_ndarray() for frame in container.decode(video=0)]
    errors = [
        np.mean((result.astype(np.float32) - frame.to_ndarray()) ** 2)
        for result, frame in zip(results, frames, strict=True)
    ]
    kibibytes = path.stat().st_size / len(frames) / 1024
    numbers = (psnr(np.mean(errors)), psnr(max(errors)))
    each = 1000 * spent / len(frames)
    return [
        preset,
        str(crf),
        f"{each:.1f}",
        f"{kibibytes:.1f}",
        *(f"{number:.1f}" for number in numbers),
    ]


def psnr(error: float) -> float:
    """Of a mean squared error of 255, dB."""
    return 10 * math.log10(255**2 / error)


if __name__ == "__main__":
    app.run(main)
