"""The main job on embedded data: render clips of puppets, prepare, train, swap held-out clips, score against truth."""

import contextlib
import shutil
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
from data_pipelines.puppets.tracks import truth
from data_pipelines.settings import Settings
from experiments import demo as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import report, scores
from faceswap_jax.faces import align, video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.swap import blend_side, load_model, put_face, swap_clip
from faceswap_jax.train import train

WORLD, PERSONAS = 0, ("ada", "ben", "cleo")
SIZE = 160  # pixels of a frame's side
# Few frames a second, so that few frames show much of what a face can do.
TRAINING_TRACKS, TRAINING_FRAMES, TRAINING_RATE = range(12), 25, 3.0  # of each persona; every track is another scene
HELD_OUT_TRACK, HELD_OUT_FRAMES, HELD_OUT_RATE = 12, 40, 8.0
RESOLUTION = 64
PROCESSES = 2
SHOWN, PICTURE = 2, 128  # faces of each pair in the grid, and their side in pixels

Frames = UInt8[np.ndarray, "frames h w 3"]
Landmarks = Float[np.ndarray, "68 2"]


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
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
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
    prepare([clips / name for name in PERSONAS], output / "data", Settings(resolution=RESOLUTION), PROCESSES)

    console.rule("3 of 4: training")
    config = experiment.get_config()
    config.data.path = str(output / "data")
    if not train(config, output / "run"):
        return

    console.rule("4 of 4: swapping held-out clips")
    results = {}
    for p, name in enumerate(PERSONAS):
        model = load_model(output / "run", name)
        for pair in (Pair(output, p, q) for q in range(len(PERSONAS)) if q != p):
            for method, result in pair.results.items():
                swap_clip(model, pair.target, result, method)
            results[f"{PERSONAS[pair.performer]} as {name}"] = pair.compare()

    scores_of = {name: result.scores for name, result in results.items()}
    grid, clip = output / "swaps.png", output / "swaps.mp4"
    report.save_grid(grid, np.concatenate([result.pictures for result in results.values()]) / 255)
    frames = np.concatenate([result.clip for result in results.values()], axis=1)
    write_video(clip, pair.target, (video.Frame(f, i / HELD_OUT_RATE, i) for i, f in enumerate(frames)))
    report.save_table(output / "scores", scores_of)
    console.print(report.table(scores_of))
    for path, what in (
        (grid, "source, target, swap, swap with --blend none, truth, difference x 4"),
        (clip, "target, swap, truth of every pair"),
        (output / "scores.md", "the table; scores.json has all digits"),
    ):
        console.print(f"{path}: {what}", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Comparison:
    """One swapped clip beside its truth.

    Attributes:
        scores: of each row of the bench, each score.
        pictures: some aligned faces; columns: source, target, swap, swap with --blend none, truth, difference x 4.
        clip: frames with target, swap and truth side by side.
    """

    scores: dict[str, dict[str, float]]
    pictures: UInt8[np.ndarray, "rows 6 h w 3"]
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
    def results(self) -> dict[str, Path]:
        """The swapped clips, by method of blending."""
        name = f"{PERSONAS[self.performer]}_as_{PERSONAS[self.persona]}"
        return {method: self.output / "swaps" / f"{name}_{method}.mp4" for method in ("multiband", "none")}

    def compare(self) -> Comparison:
        """Scores the swapped clip against the rendered truth."""
        source_clip = self.output / "held_out" / f"{PERSONAS[self.persona]}.mp4"
        source, target = _read(source_clip), _read(self.target)
        source_faces, faces = _faces(source_clip, source), _faces(self.target, target)
        swapped, alpha = (_read(self.results[method]) for method in ("multiband", "none"))
        rendered = [
            truth(WORLD, self.persona, self.performer, HELD_OUT_TRACK, i, SIZE, HELD_OUT_RATE)
            for i in range(len(target))
        ]
        true = np.stack([frame.image for frame in rendered])
        rows = {
            "do nothing": target,
            "swap": swapped,
            "ceiling": _perfect(target, faces, rendered, "multiband"),
            "swap, --blend none": alpha,
            "ceiling, --blend none": _perfect(target, faces, rendered, "none"),
        }
        mask = np.stack([align.polygon_mask(align.face_polygon(face), SIZE, SIZE) for face in faces])
        difference = np.clip(4 * np.abs(swapped.astype(np.int16) - true), 0, 255).astype(np.uint8)
        pictures = []
        for i in np.linspace(0, len(target) - 1, SHOWN + 2, dtype=int)[1:-1]:
            shown = [(source, source_faces)] + [
                (frames, faces) for frames in (target, swapped, alpha, true, difference)
            ]
            pictures.append(np.stack([_face(frames[i], landmarks[i], PICTURE) for frames, landmarks in shown]))
        return Comparison(
            scores={name: scores.compare(frames, true, mask) for name, frames in rows.items()},
            pictures=np.stack(pictures),
            clip=np.concatenate([target, swapped, true], axis=2),
        )


def _read(path: Path) -> Frames:
    return np.stack([frame.image for frame in video.read_frames(path)])


def _faces(path: Path, frames: Frames) -> list[Landmarks]:
    with contextlib.closing(open_landmarker(path)) as landmarker:
        return [landmarker(image, i)[0].landmarks for i, image in enumerate(frames)]


def _face(image: UInt8[np.ndarray, "h w 3"], landmarks: Landmarks, side: int) -> UInt8[np.ndarray, "side side 3"]:
    return align.crop(image, align.alignment_transform(landmarks, side), side)


def _perfect(target: Frames, faces: list[Landmarks], rendered: list[puppets.Frame], method: str) -> Frames:
    """The target with the truth's faces at the network's resolution, aligned and blended in like the network's."""
    frames = []
    for image, landmarks, true in zip(target, faces, rendered, strict=True):
        side = blend_side(align.alignment_transform(landmarks, RESOLUTION), RESOLUTION)
        frames.append(put_face(image, _face(true.image, true.landmarks, RESOLUTION), landmarks, side, method))
    return np.stack(frames)
