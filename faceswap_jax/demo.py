"""The main job on embedded data: render clips of puppets, prepare, train, swap held-out clips, score against truth."""

import dataclasses
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console

from data_pipelines.prepare.prepare import prepare
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.dataset import PuppetClip, PuppetClips, write_clips
from data_pipelines.puppets.tracks import performance_track
from experiments import demo as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.video import Frame, read_frames
from faceswap_jax.train import train

WORLD = 0
PERSONAS = ("ada", "ben", "cleo")
SIZE = 160  # pixels of a frame's side
RESOLUTION = 64
PROCESSES = 2

# Clips such as a user has: 25 frames a second, a few shots of each persona, each in another scene
RATE = 25.0
SHOTS = 4
SHOT_FRAMES = 75
HELD_OUT_FRAMES = 50
MOST_YAW = 30.0
"""Degrees that the heads are turned by at most."""

METHODS = ("multiband", "none")


def demo(output: Path) -> None:
    """Does everything anew in `output`, and ends with the table of scores and the names of the files.

    Raises:
        InputError: `output` exists and was not made by a demo.
    """
    _empty(output)
    console = Console(stderr=True)

    console.rule("1 of 4: rendering clips")
    training, held_out = _clips()
    write_clips(output / "clips", training, PROCESSES)
    write_clips(output / "held_out", held_out, PROCESSES)

    console.rule("2 of 4: preparing face tracks")
    folders = [output / "clips" / name for name in PERSONAS]
    prepare(folders, output / "data", Settings(resolution=RESOLUTION), PROCESSES)

    console.rule("3 of 4: training")
    config = experiment.get_config()
    config.data.path = str(output / "data")
    if not train(config, output / "run"):
        return

    console.rule("4 of 4: swapping held-out clips and scoring them")
    evaluation = evaluate(output / "run", output / "held_out", METHODS)
    persona, target = PERSONAS[:2]
    clip = output / "side_by_side.mp4"
    shown = {
        persona: output / "held_out" / f"{persona}.mp4",
        target: output / "held_out" / f"{target}.mp4",
        f"{target} as {persona}": evaluation
        / "clips"
        / f"{target}.mp4_as_{persona}_{METHODS[0]}.mp4",
    }
    write_side_by_side(clip, shown)
    console.print(f"{clip}: source, target and result", highlight=False, soft_wrap=True)


def _empty(output: Path) -> None:
    """Makes the folder, or clears that of an earlier demo, which a hidden file marks.

    Raises:
        InputError: it holds something else.
    """
    marker = output / ".faceswap-demo"
    if marker.exists():
        shutil.rmtree(output)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"'{output}' exists and was not made by a demo; choose another --output.")
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _clips() -> tuple[PuppetClips, PuppetClips]:
    """Shots to train on, and one of each persona to swap."""
    training = []
    held_out = []
    for persona, name in enumerate(PERSONAS):
        tracks = _tracks(persona)
        for track in itertools.islice(tracks, SHOTS):
            file = f"{name}/{track:02}.mp4"
            training.append(PuppetClip(file, name, persona, track, SHOT_FRAMES))
        held_out.append(PuppetClip(f"{name}.mp4", name, persona, next(tracks), HELD_OUT_FRAMES))
    return (
        PuppetClips(WORLD, SIZE, RATE, tuple(training)),
        PuppetClips(WORLD, SIZE, RATE, tuple(held_out)),
    )


def _tracks(persona: int) -> Iterator[int]:
    """Numbers of the tracks in which a persona's head turns no further than MOST_YAW."""
    frames = max(SHOT_FRAMES, HELD_OUT_FRAMES)
    for track in itertools.count():
        performances = performance_track(WORLD, persona, track, frames, RATE)
        if max(abs(performance.yaw) for performance in performances) <= MOST_YAW:
            yield track


def write_side_by_side(path: Path, clips: Mapping[str, Path]) -> None:
    """Writes a clip in which others stand beside each other, with their names, as long as the shortest.

    Args:
        path: of the clip.
        clips: by name, of one frame size; times and audio are the second one's.
    """
    names = list(clips)

    def frames() -> Iterator[Frame]:
        for moment in zip(*map(read_frames, clips.values()), strict=False):
            cells = np.stack([frame.image for frame in moment])
            image = draw_grid(cells[None], columns=names)
            yield dataclasses.replace(moment[1], image=image)

    write_video(path, clips[names[1]], frames(), whole=True)
