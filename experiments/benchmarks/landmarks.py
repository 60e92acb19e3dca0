"""Time and jitter of landmarks, single pass and nine-fold.

    python -m experiments.benchmarks.landmarks [CLIP ...] [--frames 150]

Rows are still puppets under sensor noise, then the clips. Times are medians per frame without
decoding; both kinds take turns. Jitter is in pixels of an aligned crop of 1024 px. For a still it is
the standard deviation of the landmarks. For a clip it is the deviation of white noise with the same
second differences over time, which leave little of a smooth motion (median over landmarks and
frames, so that blinks count little either).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from absl import app, flags
from jaxtyping import Float, UInt8

from data_pipelines.puppets.tracks import render_frame
from experiments.benchmarks.measuring import print_table, seconds_of
from faceswap_jax.faces import align, video
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker

FRAMES = flags.DEFINE_integer("frames", 150, "Most frames of a clip, and pictures of a still.")

PUPPETS = 4
SIZE = 480  # pixels of a still
NOISE = 4.0  # standard deviation in grey levels of 255
RESOLUTION = 1024  # of the crop that jitter is measured in
BETAS = (0.0, 0.05)  # single pass, nine-fold


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    landmarkers = [MediaPipeLandmarker(beta) for beta in BETAS]
    rows = []
    for persona in range(PUPPETS):
        rows.append(row(f"still puppet {persona}", landmarkers, still(persona), deviation))
    for name in argv[1:]:
        images = (frame.image for frame in video.read_frames(Path(name)))
        rows.append(row(Path(name).name, landmarkers, images, residual))

    columns = ("single (ms)", "nine-fold (ms)", "ratio", "single (px)", "nine-fold (px)", "ratio")
    print_table(("", *columns), rows)


def row(
    name: str,
    landmarkers: Sequence[MediaPipeLandmarker],
    images: Iterable[UInt8[np.ndarray, "h w 3"]],
    jitter: Callable[[Float[np.ndarray, "n 68 2"]], float],
) -> list[str]:
    """Returns the cells of a row: times, then jitter."""
    seconds, paths = run(landmarkers, itertools.islice(images, FRAMES.value))
    single, nine = np.median(seconds, axis=0) * 1e3
    # As rough as a single pass leaves the landmarks, as smooth as nine leave them.
    rough = jitter(paths[0])
    smooth = jitter(paths[1])
    times = [f"{single:.1f}", f"{nine:.1f}", f"{nine / single:.2f}"]
    return [name, *times, f"{rough:.2f}", f"{smooth:.2f}", f"{smooth / rough:.2f}"]


def still(persona: int) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
    """Yields the same picture with other noise every time."""
    image = render_frame(0, persona, 0, 0, SIZE).image
    rng = np.random.default_rng(persona)
    while True:
        noisy = image + rng.normal(0, NOISE, image.shape)
        yield np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def run(
    landmarkers: Sequence[MediaPipeLandmarker], images: Iterable[np.ndarray]
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "k n 68 2"]]:
    """Finds the largest face of every picture with every landmarker.

    Returns:
        Seconds, and landmarks at the scale of the crop, of the pictures where all found a face.
    """
    seconds = []
    landmarks = []
    for index, image in enumerate(images):
        found = []
        elapsed = [
            seconds_of(partial(find_largest, landmarker, image, index, found))
            for landmarker in landmarkers
        ]
        # Both must be judged on the same pictures.
        if len(found) == len(landmarkers):
            seconds.append(elapsed)
            landmarks.append(found)

    paths = np.swapaxes(landmarks, 0, 1)
    transforms = [align.alignment_transform(points, RESOLUTION, "eyes") for points in paths[0]]
    scales = [align.transform_scale(transform) for transform in transforms]
    return np.array(seconds), paths * np.median(scales)


def find_largest(
    landmarker: MediaPipeLandmarker, image: np.ndarray, index: int, found: list[np.ndarray]
) -> None:
    """Appends the landmarks of the largest face, if there is one."""
    found += [face.landmarks for face in landmarker(image, index)[:1]]


def deviation(path: Float[np.ndarray, "n 68 2"]) -> float:
    """Returns the standard deviation of the landmarks of a still."""
    return float(np.sqrt(path.var(0).mean()))


def residual(path: Float[np.ndarray, "n 68 2"]) -> float:
    """Returns the deviation of white noise with the same second differences."""
    # Second differences of white noise of deviation 1 have deviation sqrt(6); the median size of a
    # normal variable is 0.6745 deviations.
    differences = np.diff(path, n=2, axis=0)
    size = np.median(np.abs(differences))
    return float(size / 0.6745 / np.sqrt(6))


if __name__ == "__main__":
    app.run(main)
