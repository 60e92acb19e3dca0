"""The verb `reenact`: somebody in whole images of a generator's own, driven by a clip, by head poses or by sound."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console

from faceswap_jax.editing.control import Control
from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, mel
from faceswap_jax.faces.encode import OUTPUT_SUFFIXES
from faceswap_jax.faces.picture import PICTURE_SUFFIXES
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.inference import clip, painting, poses
from faceswap_jax.inference.batching import sound_window
from faceswap_jax.inference.clip import Count
from faceswap_jax.inference.trained import load
from faceswap_jax.inference.who import Source, check_who, faces_of, shown_in, who_is


def reenact(
    workdir: Path,
    sources: Sequence[Path],
    driving: Path | None = None,
    output: Path | None = None,
    *,
    persona: str | None = None,
    step: int | None = None,
    overlay: Path | None = None,
    embedded: Path | None = None,
) -> Count:
    """Lets somebody act as the largest face of a picture or a clip does, turn the head as a table says, or speak.

    Args:
        workdir: folder of a trained run.
        sources: pictures or clips of the person to show.
        driving: picture or clip of the performer; a table of head poses, see `inference.poses`; or a file of sound.
            None to write the embedded face alone.
        output: picture, or H.264 clip with the driving clip's frame rate and sound, of the generator's resolution.
        persona: in place of `sources`, one of the run's personas, if it knows some by name.
        step: which checkpoint to use, by its number of steps; the newest if not given.
        overlay: picture to paint on the embedded face, see `inference.painting`.
        embedded: picture to write: the embedded face, with the overlay.

    Raises:
        InputError: any of these cannot be used, or no frame shows a face. Nothing is written then.
    """
    # What is wrong is said before a run is read.
    check_who(persona, sources)
    suffix = driving.suffix.lower() if driving else ""
    by_poses = suffix == poses.SUFFIX
    by_sound = suffix in audio.SUFFIXES
    _check_files(driving, output, embedded, by_poses or by_sound)
    if (by_poses or by_sound) and not sources:
        raise InputError(f"{driving} moves the face of a picture; give one in place of --persona.")
    wanted = poses.read_poses(driving) if by_poses else None
    heard = _features(driving) if by_sound else None

    generator = load(workdir, step)
    if generator.placement != "whole":
        raise InputError(
            f"'{workdir}' makes faces that are blended into a clip; use 'faceswap swap'."
        )
    if overlay or embedded:
        painting.check_paintable(generator, workdir)
    painted = painting.load_overlay(overlay, generator) if overlay else None
    if by_poses or by_sound:
        control = Control.load(workdir)
        control.check(generator)
    if by_poses:
        control.check_poses(wanted, driving)
    if by_sound:
        control.check_sound(workdir)

    # Who is shown
    faces = faces_of(sources)
    who = shown_in(faces, generator) if faces else who_is(generator, persona, ())
    identity = generator.identity(who)
    if painted is not None:
        identity = painting.paint(generator, identity, painted)

    # What it does
    count = Count()
    source = min(faces, key=_turned) if faces else None
    if by_poses:
        shift = control.shift(wanted, head_pose(source[1].landmarks))
        count = clip.reenact_shifted(generator, identity, source, shift, poses.RATE, output)
    elif by_sound:
        # What a picture says is unknown: the mean of what is heard.
        shift = control.sound_shift(heard, heard.mean(0))
        count = clip.reenact_shifted(
            generator, identity, source, shift, poses.RATE, output, sound=driving
        )
    elif driving:
        count = clip.reenact_clip(generator, identity, driving, output)
    if embedded:
        painting.write_embedded(embedded, generator, identity)
        Console(stderr=True).print(
            f"{embedded}: the embedded face", highlight=False, markup=False, soft_wrap=True
        )
    return count


def _check_files(
    driving: Path | None, output: Path | None, embedded: Path | None, makes_clip: bool
) -> None:
    """Raises InputError unless there is something to do, and it can be written."""
    if driving is None and embedded is None:
        raise InputError("Say what to do: give --drive and --output, or --write_embedded.")
    if (driving is None) != (output is None):
        raise InputError("--drive and --output belong together; give both, or none of them.")
    if makes_clip:
        clip.check_file(output, OUTPUT_SUFFIXES)
    elif driving:
        clip.check_output(driving, output)
    if embedded:
        clip.check_file(embedded, sorted(PICTURE_SUFFIXES))


def _features(path: Path) -> Float[np.ndarray, "n k"]:
    """What is heard in each frame.

    Raises:
        InputError: the file cannot be read, or has no sound.
    """
    sound = audio.read_audio(path)
    if not len(sound):
        raise InputError(f"{path} has no sound; give another file.")
    count = max(1, math.floor(len(sound) / audio.RATE * poses.RATE))
    windows = [sound_window(sound, float(i / poses.RATE), mel.WINDOW) for i in range(count)]
    return mel.log_mel(np.stack(windows))


def _turned(source: Source) -> float:
    """How far a face is turned away from the camera, degrees."""
    _, face = source
    yaw, pitch, _ = np.abs(head_pose(face.landmarks))
    return float(yaw + pitch)
