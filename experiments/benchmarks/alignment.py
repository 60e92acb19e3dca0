"""What the alignments do with faces that turn: size and place of the face in the crop, and the best possible swap.

    python -m experiments.benchmarks.alignment
    python -m experiments.benchmarks.alignment --face    # the mean face of faceswap_jax/faces/neutral.py

Takes two minutes on two cores. Three tables, on puppets that no constant was made from:
- enlargement of the crop when the head turns, relative to the frontal view;
- standard deviation of the landmarks in the crop over tracks of all poses and expressions, % of the crop's side; how
  much the enlargement varies; how many landmarks leave the crop;
- the ceiling of the bench by yaw: the truth's own face at the network's resolution, aligned and put into the target,
  against the truth. What a perfect network would reach.

Expected: at a yaw of 40 degrees `eyes` enlarges by 1.38, `stable` by 0.96. All in all `stable` reaches 21.8 dB and SSIM
0.758, `eyes` 21.2 and 0.743; at 40 degrees 21.0 and 20.0 dB. Outside the crop lie 2.0 % of the landmarks by `eyes`,
0.3 % by `stable`.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.table import Table

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, Persona, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.evaluation import scores
from faceswap_jax.faces import align
from faceswap_jax.faces.ibug import JAW, MIRROR, MOUTH
from faceswap_jax.inference.clip import blend_side, put_face

FACE = flags.DEFINE_bool("face", False, "Print the mean neutral face and measure nothing.")

WORLD = 7
FACE_WORLD, FACES = 21, 96  # of the mean face
PERSONAS, STEP, TRACK = 16, 10, 250
YAWS = (-40, -30, -20, -10, 0, 10, 20, 30, 40)
SIZE, RESOLUTION = 256, 64  # of frame and network, pixels
METHOD = "none"  # of blending: multi-band keeps the light of the target, whatever the alignment
CEILINGS = ("eyes", "stable", "ffhq")


def main(argv: Sequence[str]) -> None:
    """Prints the tables, or the face."""
    if FACE.value:
        print_face()
        return
    console = Console()
    console.print(enlargements())
    console.print(spreads())
    console.print(ceilings())


def landmarks_of(persona: Persona, performance: Performance) -> Float[np.ndarray, "68 2"]:
    """Exact landmarks, in a frame of SIZE pixels."""
    anatomy = build(persona, performance)
    return Camera(SIZE).project(anatomy.pose.to_world(head_points(anatomy)))


def enlargement(landmarks: Float[np.ndarray, "68 2"], alignment: str) -> float:
    """Crop pixels per frame pixel."""
    return align.transform_scale(align.alignment_transform(landmarks, RESOLUTION, alignment))


def enlargements() -> Table:
    """By yaw, mean over puppets at rest."""
    table = Table("enlargement at yaw", *map(str, YAWS))
    personas = [sample_persona(WORLD, p) for p in range(PERSONAS)]
    for alignment in align.ALIGNMENTS:
        found = [
            [enlargement(landmarks_of(p, Performance(yaw=yaw)), alignment) for yaw in YAWS]
            for p in personas
        ]
        relative = np.array(found) / np.array(found)[:, [YAWS.index(0)]]
        table.add_row(alignment, *(f"{value:.2f}" for value in relative.mean(0)))
    return table


def spreads() -> Table:
    """Where landmarks lie in the crop, over tracks."""
    table = Table("spread (% of side)", "all", "jaw", "mouth", "enlargement", "outside (%)")
    faces = [
        landmarks_of(sample_persona(WORLD, p), performance)
        for p in range(PERSONAS)
        for performance in performance_track(WORLD, p, 0, TRACK)[::STEP]
    ]
    for alignment in align.ALIGNMENTS:
        transforms = [align.alignment_transform(face, 1, alignment) for face in faces]
        moved = map(align.transform_points, faces, transforms)
        points = np.stack(list(moved)) + 0.5  # in the unit square
        spread = 100 * np.sqrt(points.var(0).sum(-1))
        sizes = np.array(list(map(align.transform_scale, transforms)))
        outside = 100 * ((points < 0) | (points > 1)).any(-1).mean()
        numbers = (spread.mean(), spread[JAW].mean(), spread[MOUTH].mean())
        variation = 100 * sizes.std() / sizes.mean()
        table.add_row(alignment, *(f"{n:.2f}" for n in (*numbers, variation, outside)))
    return table


def ceilings() -> Table:
    """Scores of the truth's own face, by yaw."""
    names = ("psnr", "ssim", "ms_ssim", "sharpness")
    groups = {"0, 10": (0, 10), "20, 30": (20, 30), "40": (40,), "all": (0, 10, 20, 30, 40)}
    table = Table("ceiling, yaw ±", "alignment", *names)
    cases = list(itertools.product(range(6), YAWS))
    found: dict[str, list[list[float]]] = {alignment: [] for alignment in CEILINGS}
    for p, yaw in cases:
        # The performer's expressions, turned.
        act = vars(performance_track(WORLD, p, 0, TRACK)[STEP * abs(yaw) // 2])
        performance = Performance(**act | {"yaw": float(yaw)})
        scene = sample_scene(WORLD, p, 0)
        target = render(sample_persona(WORLD, p), performance, scene, SIZE)
        truth = render(sample_persona(WORLD, p + 1), performance, scene, SIZE).image
        mask = align.polygon_mask(align.face_polygon(target.landmarks), SIZE, SIZE)
        for alignment in CEILINGS:
            swapped = perfect_swap(target.image, truth, target.landmarks, alignment)
            score = scores.compare(swapped[None], truth[None], mask[None])
            found[alignment].append([float(score[name][0]) for name in names])
    yaws = np.abs([yaw for _, yaw in cases])
    for group, members in groups.items():
        for alignment, values in found.items():
            mean = np.array(values)[np.isin(yaws, members)].mean(0)
            table.add_row(group, alignment, *(f"{value:.3f}" for value in mean))
        table.add_section()
    return table


def perfect_swap(
    target: UInt8[np.ndarray, "h w 3"],
    truth: UInt8[np.ndarray, "h w 3"],
    landmarks: Float[np.ndarray, "68 2"],
    alignment: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """The target with the truth's face, which has passed a crop of RESOLUTION pixels."""
    transform = align.alignment_transform(landmarks, RESOLUTION, alignment)
    generated = align.crop(truth, transform, RESOLUTION)
    side = blend_side([landmarks], alignment, RESOLUTION)
    return put_face(target, generated, landmarks, alignment, side, METHOD, "hull")


def print_face() -> None:
    """Mean of puppets at rest, symmetric, in interocular distances from the point amid the eye centres."""
    total = np.zeros((68, 2))
    for p in range(FACES):
        points = landmarks_of(sample_persona(FACE_WORLD, p), Performance())
        transform = align.alignment_transform(points, 1, "eyes")
        places = align.transform_points(points, transform) + 0.5
        total += (places - align.EYE_MIDPOINT) / align.INTEROCULAR
    mean = total / FACES
    symmetric = (mean + mean[MIRROR] * [-1, 1]) / 2
    for i, (x, y) in enumerate(symmetric.round(3) + 0.0):
        if i <= MIRROR[i]:
            print(f"{i}: ({x:.3f}, {y:.3f})")


if __name__ == "__main__":
    app.run(main)
