"""The main job on embedded data: render clips of puppets, prepare, train, swap held-out clips, score against truth."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track

from data_pipelines.prepare import prepare
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.tracks import truth
from experiments import demo as experiment
from faceswap_jax.evaluation import report, scores
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.swap import blend_side, put_face, swap
from faceswap_jax.train import train

WORLD, PERSONAS = 0, ("ada", "ben", "cleo")
SIZE = 160  # pixels of a frame's side
TRAINING_TRACKS, TRAINING_FRAMES = (0, 1, 2), 100  # of each persona: three scenes, hundred frames of each
HELD_OUT_TRACK, HELD_OUT_FRAMES = 3, 40  # another scene, another performance
RESOLUTION = 64

Frames = UInt8[np.ndarray, "frames h w 3"]


def demo(output: Path) -> None:
    """Does everything anew in `output`, and ends with the table of scores and the names of the pictures."""
    console = Console(stderr=True)
    shutil.rmtree(output, ignore_errors=True)
    clips, held_out, swaps = (output / name for name in ("clips", "held_out", "swaps"))
    for folder in (held_out, swaps, *(clips / name for name in PERSONAS)):
        folder.mkdir(parents=True)

    console.rule("1 of 4: rendering clips")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(write_clip, path, WORLD, p, track, frames, SIZE)
            for p, name in enumerate(PERSONAS)
            for path, track, frames in (
                *((clips / name / f"{track}.mp4", track, TRAINING_FRAMES) for track in TRAINING_TRACKS),
                (held_out / f"{name}.mp4", HELD_OUT_TRACK, HELD_OUT_FRAMES),
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
    table, pictures, rows = {}, [], []
    for p, q in itertools.permutations(range(len(PERSONAS)), 2):
        target, pair = held_out / f"{PERSONAS[q]}.mp4", f"{PERSONAS[q]} as {PERSONAS[p]}"
        swap(output / "run", PERSONAS[p], target, swaps / f"{pair.replace(' ', '_')}.mp4")
        original, swapped = _read(target), _read(swaps / f"{pair.replace(' ', '_')}.mp4")
        rendered = [truth(WORLD, p, q, HELD_OUT_TRACK, i, SIZE) for i in range(HELD_OUT_FRAMES)]
        true = np.stack([frame.image for frame in rendered])
        ceiling = np.stack(list(_ceiling(target, rendered)))
        mask = _masks(target, SIZE)
        table[pair] = {
            name: scores.compare(frames, true, mask)
            for name, frames in (("do nothing", original), ("swap", swapped), ("ceiling", ceiling))
        }
        rows.append(np.concatenate([original, swapped, true], axis=2))
        difference = np.clip(4 * np.abs(swapped.astype(np.int16) - true), 0, 255).astype(np.uint8)
        source = _read(held_out / f"{PERSONAS[p]}.mp4")
        pictures += [
            np.stack([f[i] for f in (source, original, swapped, true, difference)])
            for i in (HELD_OUT_FRAMES // 4, 3 * HELD_OUT_FRAMES // 4)
        ]

    grid, clip = output / "swaps.png", output / "swaps.mp4"
    report.save_grid(grid, np.stack(pictures) / 255)
    frames = np.concatenate(rows, axis=1)
    video.write_video(clip, target, (video.Frame(f, i / 25, i) for i, f in enumerate(frames)))
    report.save_table(output / "scores", table)
    console.print(report.table(table))
    console.print(f"{grid}: source, target, swap, truth, difference x 4", highlight=False)
    console.print(f"{clip}: target, swap, truth of every pair", highlight=False)
    console.print(f"{output / 'scores.md'}, {output / 'scores.json'}: this table", highlight=False)


def _read(path: Path) -> Frames:
    return np.stack([frame.image for frame in video.read_frames(path)])


def _ceiling(target: Path, rendered) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The target with perfect faces: those of the truth, at the network's resolution, blended in like the network's."""
    with contextlib.closing(open_landmarker(target)) as landmarker:
        for frame, true in zip(video.read_frames(target), rendered, strict=True):
            face = landmarker(frame.image, frame.index)[0]
            transform = align.alignment_transform(true.landmarks, RESOLUTION)
            perfect = align.crop(true.image, transform, RESOLUTION)
            side = blend_side(align.alignment_transform(face.landmarks, RESOLUTION), RESOLUTION)
            yield put_face(frame.image, perfect, face.landmarks, side, "multiband")


def _masks(target: Path, size: int):
    """The part of each frame [frames, h, w] that a swap may change: the target's face."""
    with contextlib.closing(open_landmarker(target)) as landmarker:
        faces = [landmarker(frame.image, frame.index)[0] for frame in video.read_frames(target)]
    return np.stack([align.polygon_mask(align.face_polygon(face.landmarks), size, size) for face in faces])
