"""Does a real detector see puppets as faces, and their features where they are drawn?

    python -m experiments.benchmarks.detector [--world 1] [--personas 20] [--frames 12] [--size 256] [--beta 0]

Random frames with |yaw| <= 30 degrees of every persona go to MediaPipe, whose landmarks are compared with the rendered
ones. Distances are shares of the interocular distance: between the eye centres, each the mean of its six landmarks, as
in the alignment.
"""

from collections.abc import Sequence

import numpy as np
from absl import app, flags
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table

from data_pipelines.puppets.renderer import Frame
from data_pipelines.puppets.tracks import performance_track, render_frame
from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH, RIGHT_EYE
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker

WORLD = flags.DEFINE_integer("world", 1, "Seed of the personas.")
PERSONAS = flags.DEFINE_integer("personas", 20, "How many of them.")
FRAMES = flags.DEFINE_integer("frames", 12, "Of each persona.")
SIZE = flags.DEFINE_integer("size", 256, "Side of a picture, pixels.")
BETA = flags.DEFINE_float(
    "beta", 0.0, "Shift of the face box: 0 is the single pass, 0.05 the nine-fold one."
)
LONGEST_TRACK, MOST_YAW, NEAR = 1000, 30.0, 0.08


def main(argv: Sequence[str]) -> None:
    """Measures and prints the tables."""
    landmarker = MediaPipeLandmarker(BETA.value)
    found, offsets, irises = [], [], []
    for persona in range(PERSONAS.value):
        for frame in _frames(persona):
            faces = landmarker(frame.image, 0)
            hit = [face for face in faces if _holds(frame, face.landmarks)]
            found.append(bool(hit))
            if hit:
                right, left = (frame.landmarks[eye].mean(0) for eye in (RIGHT_EYE, LEFT_EYE))
                axis = (left - right) / np.square(
                    left - right
                ).sum()  # along the eyes, over the interocular distance
                turn = np.array([axis, [-axis[1], axis[0]]]).T
                offsets.append((hit[0].landmarks - frame.landmarks) @ turn)
                open_eyes = [frame.performance.lid_left > 0.4, frame.performance.lid_right > 0.4]
                irises.append(((hit[0].irises - frame.irises) @ turn)[open_eyes])
    offsets = np.array(offsets)
    print(f"{np.mean(found):.1%} of {len(found)} frames found")
    console, eyes = Console(), [*RIGHT_EYE, *LEFT_EYE]
    table = Table("distance / interocular", "median", "p90", "p95", f"within {NEAR:.0%}")
    distances = np.linalg.norm(offsets, axis=-1)
    rows = {"eyes 36-47": distances[:, eyes], "mouth 48-67": distances[:, MOUTH]}
    rows["both"] = np.concatenate([rows["eyes 36-47"], rows["mouth 48-67"]], axis=1)
    # The mean over each region: its own shape does not matter.
    centres = [
        np.linalg.norm(offsets[:, list(part)].mean(1), axis=-1)
        for part in (RIGHT_EYE, LEFT_EYE, MOUTH)
    ]
    rows["centres of the eyes"], rows["centre of the mouth"] = (
        np.concatenate(centres[:2]),
        centres[2],
    )
    rows["irises, lids open"] = np.linalg.norm(np.concatenate(irises), axis=-1)
    for name, values in rows.items():
        quantiles = (f"{value:.1%}" for value in np.quantile(values, [0.5, 0.9, 0.95]))
        table.add_row(name, *quantiles, f"{np.mean(values <= NEAR):.1%}")
    console.print(table)
    table = Table(
        "landmark",
        "median",
        "p90",
        f"within {NEAR:.0%}",
        "x",
        "y",
        title="offset detected - rendered",
    )
    for point in (*eyes, *MOUTH):
        values, (x, y) = distances[:, point], np.median(offsets[:, point], axis=0)
        median, high = np.quantile(values, [0.5, 0.9])
        table.add_row(
            str(point),
            f"{median:.1%}",
            f"{high:.1%}",
            f"{np.mean(values <= NEAR):.1%}",
            f"{x:+.1%}",
            f"{y:+.1%}",
        )
    console.print(table)


def _frames(persona: int) -> list[Frame]:
    """Frames of random tracks of a persona, its head not turned too far."""
    rng, frames = np.random.default_rng([WORLD.value, persona]), []
    while len(frames) < FRAMES.value:
        track, index = int(rng.integers(4)), int(rng.integers(LONGEST_TRACK))
        if abs(performance_track(WORLD.value, persona, track, index + 1)[index].yaw) <= MOST_YAW:
            frames.append(render_frame(WORLD.value, persona, track, index, SIZE.value))
    return frames


def _holds(frame: Frame, landmarks: Float[np.ndarray, "68 2"]) -> Bool[np.ndarray, ""]:
    """Whether a detected face is the rendered one: its middle lies in the face."""
    low, high = frame.polygon.min(0), frame.polygon.max(0)
    middle = landmarks.mean(0)
    return np.all((middle > low) & (middle < high))


if __name__ == "__main__":
    app.run(main)
