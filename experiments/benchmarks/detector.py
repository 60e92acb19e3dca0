"""Does a real detector see puppets as faces, and their features where they are drawn?

    python -m experiments.benchmarks.detector [--world 1] [--personas 20] [--frames 12] [--size 256] [--beta 0]

Random frames of every persona with |yaw| <= 30 degrees go to MediaPipe, whose landmarks are compared
with the rendered ones. Distances are fractions of the interocular distance: between the eye centres,
each the mean of its six landmarks, as in the alignment.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from absl import app, flags
from jaxtyping import Bool, Float

from data_pipelines.puppets.renderer import Frame
from data_pipelines.puppets.tracks import performance_track, render_frame
from experiments.benchmarks.measuring import print_table
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH, RIGHT_EYE
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker

WORLD = flags.DEFINE_integer("world", 1, "Seed of the personas.")
PERSONAS = flags.DEFINE_integer("personas", 20, "How many of them.")
FRAMES = flags.DEFINE_integer("frames", 12, "Of each persona.")
SIZE = flags.DEFINE_integer("size", 256, "Side of a picture, pixels.")
BETA = flags.DEFINE_float(
    "beta", 0.0, "Shift of the face box: 0 is the single pass, 0.05 the nine-fold one."
)

LONGEST_TRACK = 1000  # frames
MOST_YAW = 30.0  # degrees
OPEN_LID = 0.4  # irises are compared where the lid is open further
NEAR = 0.08  # interocular distances
EYES = [*RIGHT_EYE, *LEFT_EYE]


@dataclasses.dataclass(frozen=True)
class Offsets:
    """Detected minus rendered points of a frame, in interocular distances along and across the eyes."""

    landmarks: Float[np.ndarray, "68 2"]
    irises: Float[np.ndarray, "n 2"]  # where the lids are open


def main(_: Sequence[str]) -> None:
    """Measures and prints the tables."""
    landmarker = MediaPipeLandmarker(BETA.value)
    found = []
    frames = 0
    for persona in range(PERSONAS.value):
        for frame in random_frames(persona):
            frames += 1
            # Others are no faces, or not where the face is.
            hits = [face for face in landmarker(frame.image, 0) if holds(frame, face.landmarks)]
            if hits:
                found.append(compare(frame, hits[0]))
    print(f"{len(found) / frames:.1%} of {frames} frames found")

    offsets = np.array([each.landmarks for each in found])
    irises = np.concatenate([each.irises for each in found])
    print_regions(regions(offsets, irises))
    print_landmarks(offsets)


def random_frames(persona: int) -> list[Frame]:
    """Renders random frames of a persona, its head not turned too far."""
    rng = np.random.default_rng([WORLD.value, persona])
    frames = []
    while len(frames) < FRAMES.value:
        track = int(rng.integers(4))
        index = int(rng.integers(LONGEST_TRACK))
        performance = performance_track(WORLD.value, persona, track, index + 1)[index]
        if abs(performance.yaw) <= MOST_YAW:
            frames.append(render_frame(WORLD.value, persona, track, index, SIZE.value))
    return frames


def holds(frame: Frame, landmarks: Float[np.ndarray, "68 2"]) -> Bool[np.ndarray, ""]:
    """Tells whether a detected face is the rendered one: its middle lies in the face."""
    low = frame.polygon.min(0)
    high = frame.polygon.max(0)
    middle = landmarks.mean(0)
    return np.all((middle > low) & (middle < high))


def compare(frame: Frame, face: Face) -> Offsets:
    """Compares a detected face with the rendered one."""
    right = frame.landmarks[RIGHT_EYE].mean(0)
    left = frame.landmarks[LEFT_EYE].mean(0)
    # A unit vector along the eyes over their distance, and the same turned by 90 degrees.
    along = (left - right) / np.square(left - right).sum()
    turn = np.array([along, [-along[1], along[0]]]).T

    performance = frame.performance
    are_open = [performance.lid_left > OPEN_LID, performance.lid_right > OPEN_LID]
    irises = (face.irises - frame.irises) @ turn
    return Offsets((face.landmarks - frame.landmarks) @ turn, irises[are_open])


def regions(
    offsets: Float[np.ndarray, "n 68 2"], irises: Float[np.ndarray, "m 2"]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Returns the distances of each region, and those of its mean, where its own shape does not matter."""
    eyes = np.linalg.norm(offsets[:, EYES], axis=-1)
    mouth = np.linalg.norm(offsets[:, MOUTH], axis=-1)
    right_eye, left_eye, mouth_centre = (
        np.linalg.norm(offsets[:, list(part)].mean(1), axis=-1)
        for part in (RIGHT_EYE, LEFT_EYE, MOUTH)
    )
    return {
        "eyes 36-47": eyes,
        "mouth 48-67": mouth,
        "both": np.concatenate([eyes, mouth], axis=1),
        "centres of the eyes": np.concatenate([right_eye, left_eye]),
        "centre of the mouth": mouth_centre,
        "irises, lids open": np.linalg.norm(irises, axis=-1),
    }


def print_regions(distances: Mapping[str, Float[np.ndarray, "..."]]) -> None:
    """Prints how far each region is off."""
    rows = []
    for name, values in distances.items():
        quantiles = [f"{value:.1%}" for value in np.quantile(values, [0.5, 0.9, 0.95])]
        rows.append([name, *quantiles, f"{np.mean(values <= NEAR):.1%}"])
    columns = ("distance / interocular", "median", "p90", "p95", f"within {NEAR:.0%}")
    print_table(columns, rows)


def print_landmarks(offsets: Float[np.ndarray, "n 68 2"]) -> None:
    """Prints how far, and in which direction, each landmark of eyes and mouth is off."""
    rows = []
    for point in (*EYES, *MOUTH):
        distances = np.linalg.norm(offsets[:, point], axis=-1)
        median, high = np.quantile(distances, [0.5, 0.9])
        x, y = np.median(offsets[:, point], axis=0)
        near = np.mean(distances <= NEAR)
        rows.append(
            [str(point), f"{median:.1%}", f"{high:.1%}", f"{near:.1%}", f"{x:+.1%}", f"{y:+.1%}"]
        )
    columns = ("landmark", "median", "p90", f"within {NEAR:.0%}", "x", "y")
    print_table(columns, rows, title="offset detected - rendered")


if __name__ == "__main__":
    app.run(main)
