"""The main job on embedded data: render clips of puppets, prepare, train, swap held-out clips, score against truth."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from data_pipelines.prepare.prepare import prepare
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.dataset import PuppetClip, PuppetClips, write_clips
from experiments import demo as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.train import train

WORLD = 0
PERSONAS = ("ada", "ben", "cleo")
SIZE = 160  # pixels of a frame's side
RESOLUTION = 64
PROCESSES = 2

# Of each persona; every track is another scene. Few frames a second: so few frames show much of what a face can do.
TRAINING_TRACKS = range(12)
TRAINING_FRAMES = 25
TRAINING_RATE = 3.0
HELD_OUT_TRACK = 12
HELD_OUT_FRAMES = 40
HELD_OUT_RATE = 8.0


def demo(output: Path) -> None:
    """Does everything anew in `output`, and ends with the table of scores and the names of the files.

    Raises:
        InputError: `output` exists and was not made by a demo.
    """
    _empty(output)
    console = Console(stderr=True)

    console.rule("1 of 4: rendering clips")
    training = _clips(TRAINING_TRACKS, TRAINING_FRAMES, TRAINING_RATE)
    held_out = _clips([HELD_OUT_TRACK], HELD_OUT_FRAMES, HELD_OUT_RATE)
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
    evaluate(output / "run", output / "held_out", ("multiband", "none"))


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


def _clips(tracks: Iterable[int], frames: int, rate: float) -> PuppetClips:
    """The same tracks of every persona."""
    clips = (
        PuppetClip(f"{name}/{track:02}.mp4", name, persona, track, frames)
        for persona, name in enumerate(PERSONAS)
        for track in tracks
    )
    return PuppetClips(WORLD, SIZE, rate, tuple(clips))
