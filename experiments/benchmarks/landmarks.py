"""Time and jitter of landmarks, single pass and nine-fold.

    python -m experiments.benchmarks.landmarks [CLIP ...] [--frames 150]

Rows are still puppets under sensor noise, then the clips. Times are medians per frame, decoding not included; both
kinds take turns. Jitter is told in pixels of an aligned crop of 1024 px: for a still, the standard deviation of the
landmarks; for a clip, that of white noise with the same second differences over time, which leave little of a smooth
motion (median over landmarks and frames, so that blinks count little either).
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.table import Table

from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.faces import align, video
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker

FRAMES = flags.DEFINE_integer("frames", 150, "Most frames of a clip, and pictures of a still.")
PUPPETS, SIZE, NOISE = 4, 480, 4.0  # pixels; standard deviation in grey levels of 255
RESOLUTION = 1024
BETAS = (0.0, 0.05)


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    landmarkers = [MediaPipeLandmarker(beta) for beta in BETAS]
    table = Table(
        "", "single (ms)", "nine-fold (ms)", "ratio", "single (px)", "nine-fold (px)", "ratio"
    )
    sources = [
        (f"still puppet {persona}", _still(persona), _deviation) for persona in range(PUPPETS)
    ]
    sources += [
        (Path(name).name, (frame.image for frame in video.read_frames(Path(name))), _residual)
        for name in argv[1:]
    ]
    for name, images, jitter in sources:
        seconds, paths = _run(landmarkers, itertools.islice(images, FRAMES.value))
        single, nine = np.median(seconds, axis=0) * 1e3
        rough, smooth = (jitter(path) for path in paths)
        table.add_row(
            name,
            f"{single:.1f}",
            f"{nine:.1f}",
            f"{nine / single:.2f}",
            f"{rough:.2f}",
            f"{smooth:.2f}",
            f"{smooth / rough:.2f}",
        )
    Console().print(table)


def _still(persona: int) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
    """The same picture with other noise every time."""
    image, rng = render_frame(0, persona, 0, 0, SIZE).image, np.random.default_rng(persona)
    while True:
        yield np.clip(np.round(image + rng.normal(0, NOISE, image.shape)), 0, 255).astype(np.uint8)


def _run(
    landmarkers: Sequence[MediaPipeLandmarker], images: Iterable[np.ndarray]
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "k n 68 2"]]:
    """Seconds, and landmarks at the scale of the crop, of the largest face of every picture that shows one."""
    seconds, landmarks = [], []
    for index, image in enumerate(images):
        elapsed, found = [], []
        for landmarker in landmarkers:
            start = time.perf_counter()
            faces = landmarker(image, index)
            elapsed.append(time.perf_counter() - start)
            found += [face.landmarks for face in faces[:1]]
        if len(found) == len(landmarkers):
            seconds.append(elapsed)
            landmarks.append(found)
    paths = np.swapaxes(landmarks, 0, 1)
    scales = [
        align.transform_scale(align.alignment_transform(points, RESOLUTION, "eyes"))
        for points in paths[0]
    ]
    return np.array(seconds), paths * np.median(scales)


def _deviation(path: Float[np.ndarray, "n 68 2"]) -> float:
    return float(np.sqrt(path.var(0).mean()))


def _residual(path: Float[np.ndarray, "n 68 2"]) -> float:
    # White noise of deviation 1 has second differences of deviation sqrt(6), whose median size is 0.6745 times that.
    return float(np.median(np.abs(np.diff(path, n=2, axis=0))) / 0.6745 / np.sqrt(6))


if __name__ == "__main__":
    app.run(main)
