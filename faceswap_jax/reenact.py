"""The verb `reenact`: somebody in whole images of a generator's own, driven by a clip, by head poses or by sound."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceswap_jax.artifacts.models import load
from faceswap_jax.editing.control import Control
from faceswap_jax.editing.driving import RATE, SUFFIXES, open_drive
from faceswap_jax.errors import InputError
from faceswap_jax.faces.encode import OUTPUT_SUFFIXES, check_codec
from faceswap_jax.faces.picture import PICTURE_SUFFIXES
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.inference import clip, painting
from faceswap_jax.inference.clip import AS_TOLD, Coding, Count
from faceswap_jax.inference.generator import Generator, Who
from faceswap_jax.inference.who import Source, check_who, faces_of, shown_in, who_is


def reenact(
    workdir: Path,
    sources: Sequence[Path],
    driving: Path | None = None,
    output: Path | None = None,
    *,
    persona: str | None = None,
    random: int | None = None,
    step: int | None = None,
    overlay: Path | None = None,
    embedded: Path | None = None,
    restores_mouth: bool = False,
    coding: Coding = AS_TOLD,
) -> Count:
    """Lets somebody act as the largest face of a picture or a clip does, turn the head as a table says, or speak.

    Args:
        workdir: folder of a trained run, or of an artifact.
        sources: pictures or clips of the person to show.
        driving: picture or clip of the performer; or what `editing.driving` knows, head poses or sound.
            None to write the embedded face alone.
        output: picture, or clip with the driving clip's frame rate and sound, of the generator's resolution.
        persona: in place of `sources`, one of the run's personas, if it knows some by name.
        random: in place of both, a number that decides who is drawn, somebody who does not exist.
        step: which checkpoint to use, by its number of steps; the newest if not given.
        overlay: picture to paint on the embedded face, see `inference.painting`.
        embedded: picture to write: the embedded face, with the overlay.
        restores_mouth: whether an open mouth's inside is the performer's, see `faces.mouth`.
        coding: of clips.

    Raises:
        InputError: any of these cannot be used, or no frame shows a face. Nothing is written then.
    """
    # What is wrong is said before a run is read.
    if random is None:
        check_who(persona, sources)
    elif persona or sources:
        raise InputError("--random draws somebody; leave out pictures and --persona.")
    _check_files(sources, driving, output, embedded, coding)
    if restores_mouth and (driving is None or _is_no_performer(driving)):
        raise InputError(
            "--restore_mouth takes the mouth of a performer; give --drive a picture or clip, or leave it out."
        )
    drive = open_drive(driving)
    generator = _load(workdir, step, paints=bool(overlay or embedded))
    painted = painting.load_overlay(overlay, generator) if overlay else None
    if drive:
        if generator.relative:
            raise InputError(
                f"'{workdir}' adds how a performer differs from a face at rest; give --drive a clip of one."
            )
        control = Control.load(workdir)
        control.check(generator)
        drive.check(control, workdir)

    # Who is shown
    faces = faces_of(sources)
    if random is not None:
        who = _drawn(generator, random, workdir)
    elif faces:
        who = shown_in(faces, generator)
    else:
        who = who_is(generator, persona, ())
    identity = generator.identity(who)
    if painted is not None:
        identity = painting.paint(generator, identity, painted)

    # What it does
    count = Count()
    if drive:
        source = min(faces, key=_turned)
        shift = drive.shift(control, source[1])
        count = clip.reenact_shifted(
            generator, identity, source, shift, RATE, output, drive.sound, coding.codec
        )
    elif driving:
        count = clip.reenact_clip(generator, identity, driving, output, restores_mouth, coding)
    if embedded:
        painting.write_embedded(embedded, generator, identity)
    return count


def _load(workdir: Path, step: int | None, paints: bool) -> Generator:
    """The generator of a run that makes whole images, and has an embedded face if somebody paints."""
    generator = load(workdir, step)
    if generator.placement != "whole":
        raise InputError(
            f"'{workdir}' makes faces that are blended into a clip; use 'faceswap swap'."
        )
    if paints:
        painting.check_paintable(generator, workdir)
    return generator


def _drawn(generator: Generator, seed: int, workdir: Path) -> Who:
    """Somebody who does not exist, as the generator draws them."""
    if not generator.samples:
        raise InputError(f"'{workdir}' draws nobody; leave out --random, and give pictures.")
    return Who(pictures=[generator.sampled(seed)])


def _check_files(
    sources: Sequence[Path],
    driving: Path | None,
    output: Path | None,
    embedded: Path | None,
    coding: Coding,
) -> None:
    """Raises InputError unless there is something to do, and it can be written."""
    if driving is None and embedded is None:
        raise InputError("Say what to do: give --drive and --output, or --write_embedded.")
    if (driving is None) != (output is None):
        raise InputError("--drive and --output belong together; give both, or none of them.")
    if driving and _is_no_performer(driving):
        if not sources:
            raise InputError(f"{driving} moves a picture's face; give a picture of somebody.")
        clip.check_file(output, OUTPUT_SUFFIXES)
        check_codec(output, coding.codec)
    elif driving:
        clip.check_output(driving, output, whole=True, coding=coding)
    if embedded:
        clip.check_file(embedded, sorted(PICTURE_SUFFIXES))


def _is_no_performer(driving: Path) -> bool:
    """Whether a file is a table of poses, or sound."""
    return driving.suffix.lower() in SUFFIXES


def _turned(source: Source) -> float:
    """How far a face is turned away from the camera, degrees."""
    _, face = source
    yaw, pitch, _ = np.abs(head_pose(face.landmarks))
    return float(yaw + pitch)
