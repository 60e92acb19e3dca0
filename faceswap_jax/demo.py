"""The main job on embedded data: render clips of puppets, prepare, train, swap held-out clips, score against truth."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track

from data_pipelines.prepare import prepare
from data_pipelines.puppets import renderer as puppets
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.parameters import sample_persona, sample_scene
from data_pipelines.puppets.tracks import performance_track
from experiments import demo as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import report, scores
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.swap import blend_side, put_face, swap
from faceswap_jax.train import train

WORLD, PERSONAS = 0, ("ada", "ben", "cleo")
SIZE = 160  # pixels of a frame's side
# Few frames a second, so that few frames show much of what a face can do.
TRAINING_TRACKS, TRAINING_FRAMES, TRAINING_RATE = range(12), 25, 3.0  # of each persona; every track is another scene
HELD_OUT_TRACK, HELD_OUT_FRAMES, HELD_OUT_RATE = 12, 40, 8.0
RESOLUTION = 64
SHOWN, PICTURE = 2, 128  # faces of each pair in the grid, and their side in pixels

Frames = UInt8[np.ndarray, "frames h w 3"]


def demo(output: Path) -> None:
    """Does everything anew in `output`, and ends with the table of scores and the names of the pictures.

    Raises:
        InputError: `output` exists and was not made by a demo.
    """
    console, marker = Console(stderr=True), output / ".faceswap-demo"
    if marker.exists():
        shutil.rmtree(output)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"'{output}' exists and was not made by a demo; choose another --output.")
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()
    clips, held_out, swaps = (output / name for name in ("clips", "held_out", "swaps"))
    for folder in (held_out, swaps, *(clips / name for name in PERSONAS)):
        folder.mkdir(parents=True)

    console.rule("1 of 4: rendering clips")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(write_clip, path, WORLD, p, number, frames, SIZE, rate)
            for p, name in enumerate(PERSONAS)
            for path, number, frames, rate in (
                *(
                    (clips / name / f"{number:02}.mp4", number, TRAINING_FRAMES, TRAINING_RATE)
                    for number in TRAINING_TRACKS
                ),
                (held_out / f"{name}.mp4", HELD_OUT_TRACK, HELD_OUT_FRAMES, HELD_OUT_RATE),
            )
        ]
        for job in track(as_completed(jobs), "clips", len(jobs), console=console, transient=True):
            job.result()

    console.rule("2 of 4: preparing face tracks")
    prepare([clips / name for name in PERSONAS], output / "data", RESOLUTION)

    console.rule("3 of 4: training")
    config = experiment.get_config()
    config.data.path = str(output / "data")
    if not train(config, output / "run"):
        return

    console.rule("4 of 4: swapping held-out clips")
    pairs = [Pair(output, p, q) for p, q in itertools.permutations(range(len(PERSONAS)), 2)]
    for pair in pairs:
        swap(output / "run", PERSONAS[pair.persona], pair.target, pair.result)
    results = {f"{PERSONAS[pair.performer]} as {PERSONAS[pair.persona]}": pair.compare() for pair in pairs}

    scores_of = {name: result.scores for name, result in results.items()}
    grid, clip = output / "swaps.png", output / "swaps.mp4"
    report.save_grid(grid, np.concatenate([result.pictures for result in results.values()]) / 255)
    frames = np.concatenate([result.clip for result in results.values()], axis=1)
    video.write_video(clip, pairs[0].target, (video.Frame(f, i / HELD_OUT_RATE, i) for i, f in enumerate(frames)))
    report.save_table(output / "scores", scores_of)
    console.print(report.table(scores_of))
    for path, what in (
        (grid, "source, target, swap, truth, difference x 4"),
        (clip, "target, swap, truth of every pair"),
        (output / "scores.md", "the table; scores.json has all digits"),
    ):
        console.print(f"{path}: {what}", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Comparison:
    """One swapped clip beside its truth.

    Attributes:
        scores: of each row of the bench, each score.
        pictures: some aligned faces; columns: source, target, swap, truth, difference x 4.
        clip: frames with target, swap and truth side by side.
    """

    scores: dict[str, dict[str, float]]
    pictures: UInt8[np.ndarray, "rows 5 h w 3"]
    clip: Frames


@dataclass(frozen=True)
class Pair:
    """`persona`'s face for the performance of `performer`, by number."""

    output: Path
    persona: int
    performer: int

    @property
    def target(self) -> Path:
        """The held-out clip of the performer."""
        return self.output / "held_out" / f"{PERSONAS[self.performer]}.mp4"

    @property
    def result(self) -> Path:
        """The swapped clip."""
        return self.output / "swaps" / f"{PERSONAS[self.performer]}_as_{PERSONAS[self.persona]}.mp4"

    def truth(self) -> Iterator[puppets.Frame]:
        """The perfect swap, frame by frame: the persona with the performance and the scene of the target."""
        persona, scene = sample_persona(WORLD, self.persona), sample_scene(WORLD, self.performer, HELD_OUT_TRACK)
        for performance in performance_track(WORLD, self.performer, HELD_OUT_TRACK, HELD_OUT_FRAMES, HELD_OUT_RATE):
            yield puppets.render(persona, performance, scene, SIZE)

    def compare(self) -> Comparison:
        """Scores the swapped clip against the rendered truth."""
        source = _read(self.output / "held_out" / f"{PERSONAS[self.persona]}.mp4")
        target, swapped = _read(self.target), _read(self.result)
        with contextlib.closing(open_landmarker(self.target)) as landmarker:
            faces = [landmarker(image, i)[0].landmarks for i, image in enumerate(target)]
        rendered = list(self.truth())
        true = np.stack([frame.image for frame in rendered])
        rows = {
            "do nothing": target,
            "swap": swapped,
            "ceiling": np.stack([_perfect(*each) for each in zip(target, faces, rendered, strict=True)]),
        }
        mask = np.stack([align.polygon_mask(align.face_polygon(face), SIZE, SIZE) for face in faces])
        difference = np.clip(4 * np.abs(swapped.astype(np.int16) - true), 0, 255).astype(np.uint8)
        pictures = []
        for i in np.linspace(0, len(target) - 1, SHOWN + 2, dtype=int)[1:-1]:
            transform = align.alignment_transform(faces[i], PICTURE)
            shown = (source, target, swapped, true, difference)
            pictures.append(np.stack([align.crop(frames[i], transform, PICTURE) for frames in shown]))
        return Comparison(
            scores={name: scores.compare(frames, true, mask) for name, frames in rows.items()},
            pictures=np.stack(pictures),
            clip=np.concatenate([target, swapped, true], axis=2),
        )


def _perfect(
    image: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"], true: puppets.Frame
) -> UInt8[np.ndarray, "h w 3"]:
    """The target frame with the truth's face at the network's resolution, aligned and blended in like the network's."""
    face = align.crop(true.image, align.alignment_transform(true.landmarks, RESOLUTION), RESOLUTION)
    side = blend_side(align.alignment_transform(landmarks, RESOLUTION), RESOLUTION)
    return put_face(image, face, landmarks, side, "multiband")


def _read(path: Path) -> Frames:
    return np.stack([frame.image for frame in video.read_frames(path)])
